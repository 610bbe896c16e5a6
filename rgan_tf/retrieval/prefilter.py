"""Runs the pre-filter over whole splits with trained networks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import tensorflow as tf

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.config import Config
from rgan_tf.retrieval.candidates import IndexedCandidates, without_category
from rgan_tf.retrieval.embedding import CooccurrenceEmbedding
from rgan_tf.retrieval.index.bank_search import BankSearch
from rgan_tf.retrieval.index.graph_features import ReadsGraphs
from rgan_tf.retrieval.index.tuning import kind_of_index

_ROWS_PER_BATCH = 4096
_SHOWN = 6  # categories named per line


class SplitBanks(Protocol):
    """The part of prepared data that the pre-filter reads."""

    @property
    def bank(self) -> PatchBank:
        """The retrievable patches."""

    def truth(self, split: str) -> PatchBank:
        """The patches of a split's own objects."""


def embed_rows(layer: tf.keras.layers.Layer, features: np.ndarray) -> np.ndarray:
    """Applies an embedding to backbone features in blocks: [N, Dx] -> [N, D] float32."""
    embed = tf.function(
        layer, autograph=False, input_signature=[tf.TensorSpec([None, features.shape[1]])]
    )
    blocks = [
        embed(tf.cast(features[start : start + _ROWS_PER_BATCH], tf.float32)).numpy()
        for start in range(0, len(features), _ROWS_PER_BATCH)
    ]
    return np.concatenate(blocks) if blocks else np.zeros([0, 0], np.float32)


def prefilter(
    config: Config,
    data: SplitBanks,
    splits: Iterable[str],
    sg2im: ReadsGraphs,
    cooccurrence: CooccurrenceEmbedding,
    *,
    encoder: str | None = None,
    remembers: bool = True,
    progress: Callable[[str], None] | None = None,
    masks_others: bool = False,
) -> dict[str, IndexedCandidates]:
    """Candidates of every object of the splits, by the stage-1 graph feature (method §2.3).

    The search runs on demand. Objects whose category has no allowed patch get patches of other
    categories; their number is logged.

    Args:
      config: the experiment.
      data: the prepared data; its bank holds the retrievable patches.
      splits: whose objects to find candidates for.
      sg2im: trained stage-1 networks.
      cooccurrence: trained stage-2 embedding.
      encoder: sha256 of the weights of `sg2im`; features and index are then kept with the banks.
      remembers: whether to cache search results.
      progress: called with lines about the index and missing categories; None logs them.
      masks_others: whether the caller leaves out patches of other categories; for those lines.

    Returns:
      split -> candidates, row-aligned with the split's own patches.
    """
    progress = progress or logging.getLogger(__name__).info
    bank, k = data.bank, config.retrieval.candidates
    search = BankSearch(bank, sg2im, encoder, config, progress=progress)
    index = search.index(kind_of_index(config), k=k)
    embedded = embed_rows(cooccurrence, bank.features)
    found = {}
    for split in splits:
        own = data.truth(split)
        queries = (
            search if own is bank else BankSearch(own, sg2im, encoder, config, progress=progress)
        )
        found[split] = IndexedCandidates(
            index,
            queries.features,
            own.category_ids,
            own.image_ids,
            embedded,
            k=k,
            remembers=remembers,
        )
        outcome = "have no candidates" if masks_others else "get patches of other categories"
        rows = data.scenes(split, config.data).patch_rows
        _report_missing(split, foreign_objects(own, bank, rows), outcome, progress)
    return found


def _report_missing(
    split: str, missing: dict[str, int], outcome: str, progress: Callable[[str], None]
) -> None:
    if missing:
        shown = ", ".join(f"{name} ({n})" for name, n in list(missing.items())[:_SHOWN])
        more = f" and {len(missing) - _SHOWN} more categories" if len(missing) > _SHOWN else ""
        progress(
            f"{split}: {sum(missing.values())} objects {outcome}, because the bank has none of "
            f"theirs from another image: {shown}{more}"
        )


def foreign_objects(own: PatchBank, bank: PatchBank, rows: np.ndarray) -> dict[str, int]:
    """How many objects of some scenes only get patches of other categories, by category.

    Args:
      own: the patches of the objects of the scenes' split.
      bank: the retrievable patches.
      rows: [N, O] integer rows of `own`, -1 for padding: the objects that the scenes hold. A config
        may have room for fewer than were prepared (`data.max_objects`).

    Returns:
      Name -> number, largest first; empty if the bank has all categories.
    """
    rows = np.unique(rows[rows >= 0])  # [objects]
    categories, images = np.asarray(own.category_ids)[rows], np.asarray(own.image_ids)[rows]
    missing = without_category(categories, images, bank.category_ids, bank.image_ids)
    ids, counts = np.unique(categories[missing], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {own.vocabulary.object_name(int(ids[i])): int(counts[i]) for i in order}
