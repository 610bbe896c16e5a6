"""Features of whole splits and banks, computed with trained networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.data.patch_bank import PatchBank
from rgan_tf.data.pipeline import CandidateTable
from rgan_tf.data.prepared import PreparedData
from rgan_tf.model.graph_features import graph_features
from rgan_tf.model.networks import GraphNetworks
from rgan_tf.retrieval.embedding import CooccurrenceEmbedding
from rgan_tf.retrieval.index import CandidateIndex
from rgan_tf.retrieval.index_tuning import build_index
from rgan_tf.vocabulary import PADDING

_ROWS_PER_BATCH = 4096


def searchable_categories(bank: PatchBank, features: np.ndarray) -> np.ndarray:
    """Category of every bank row, 0 (never found) for those that no graph had room for: [N]."""
    return np.where(np.any(features != 0, axis=1), bank.category_ids, PADDING)


def embed_rows(layer: tf.keras.layers.Layer, features: np.ndarray) -> np.ndarray:
    """Applies an embedding to backbone features in blocks: [N, Dx] -> [N, D] float32."""
    embed = tf.function(layer, input_signature=[tf.TensorSpec([None, features.shape[1]])])
    blocks = [
        embed(tf.cast(features[start : start + _ROWS_PER_BATCH], tf.float32)).numpy()
        for start in range(0, len(features), _ROWS_PER_BATCH)
    ]
    return np.concatenate(blocks) if blocks else np.zeros([0, 0], np.float32)


def prefilter(
    config: Config,
    data: PreparedData,
    splits: Iterable[str],
    sg2im: GraphNetworks,
    cooccurrence: CooccurrenceEmbedding,
    progress: Callable[[str], None] | None = None,
) -> dict[str, CandidateTable]:
    """Candidates of every object of the splits, by the stage-1 graph feature (method §2.3).

    Args:
      config: the experiment.
      data: the prepared data; its bank holds the retrievable patches.
      splits: whose objects to find candidates for.
      sg2im: trained stage-1 networks.
      cooccurrence: trained stage-2 embedding.
      progress: called with lines of text where an index is tuned.

    Returns:
      split -> candidates, row-aligned with the split's own patches.
    """
    features = {
        split: graph_features(sg2im, data.truth(split), config) for split in {"train", *splits}
    }
    categories = searchable_categories(data.bank, features["train"])
    index = build_index(
        config.retrieval.index,
        features["train"],
        categories,
        data.bank.image_ids,
        k=config.retrieval.candidates,
        progress=progress,
    )
    embedded = embed_rows(cooccurrence, data.bank.features)
    return {
        split: candidate_table(
            index, features[split], data.truth(split), embedded, config.retrieval.candidates
        )
        for split in splits
    }


def candidate_table(
    index: CandidateIndex,
    queries: np.ndarray,
    scenes: PatchBank,
    cooccurrence: np.ndarray,
    k: int,
) -> CandidateTable:
    """Candidates of every object of a split.

    Args:
      index: over the retrievable bank.
      queries: [N, width], graph features of the split's objects.
      scenes: the split's own patches, row-aligned with `queries`.
      cooccurrence: [rows of the bank, Dc], co-occurrence embedding of the bank.
      k: candidates per object.
    """
    found = index.search(queries.astype(np.float32), scenes.category_ids, scenes.image_ids, k)
    return CandidateTable(
        ids=np.where(found.valid, found.ids, -1).astype(np.int32), cooccurrence=cooccurrence
    )
