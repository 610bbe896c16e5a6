"""File names in a patch bank's folder; `rgan_tf.bank.patch_bank` describes their contents."""

from __future__ import annotations

from rgan_tf.storage.manifest import ManifestKind

ADVICE = "restore it, or make the bank again"
BANK = ManifestKind(
    "rgan_patch_bank",
    3,
    "a patch bank",
    advice=ADVICE,
    renew="make the bank again (prepare the data again)",
    seal="optional",
)
MANIFEST = BANK.file
VOCABULARY = "vocabulary.json"
CROPS = "crops.npy"
FEATURES = "features.npy"
TABLE = "table.jsonl"
COLUMNS = "columns.npy"
GRAPH_OBJECTS = "graph_objects.npy"
GRAPH_TRIPLES = "graph_triples.npy"
GRAPH_ENDS = "graph_ends.npy"
FILES = (
    VOCABULARY,
    CROPS,
    FEATURES,
    TABLE,
    COLUMNS,
    GRAPH_OBJECTS,
    GRAPH_TRIPLES,
    GRAPH_ENDS,
)
