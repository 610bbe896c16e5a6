"""Names in a patch bank's folder; `rgan_tf.bank.patch_bank` says what they hold."""

from __future__ import annotations

KIND = "rgan_patch_bank"
VERSION = 3
MANIFEST = "manifest.json"
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
