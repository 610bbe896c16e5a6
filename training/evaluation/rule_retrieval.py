"""Retrieval metrics of any retriever, from its choices alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from rgan_tf.data.prepared import PreparedData
from rgan_tf.metrics.retrieval import (
    cooccurrence_distance,
    locked_style_match,
    style_agreement,
)
from rgan_tf.progress import followed
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.retrieval.patch_library import PatchLibrary
from rgan_tf.retrieval.patches import chosen_rows
from rgan_tf.retrieval.retriever import Retriever, choose_patches
from rgan_tf.retrieval.rules import OWN
from rgan_tf.retrieval.selection import Options
from rgan_tf.seeds import Purpose, derive_row_seeds
from training.evaluation.locks import Locks
from training.evaluation.names import system_name
from training.evaluation.retrieval import distinct_share, repeated_share
from training.evaluation.systems import Batch, row_seeds


def rule_metrics(
    retriever: Retriever,
    scenes: Iterable[Batch],
    data: PreparedData,
    split: str,
    table: CandidateSource,
    *,
    seed: int,
    library: PatchLibrary | None = None,
    repeats: bool = True,
) -> dict[str, float]:
    """Style agreement and co-occurrence distance of the patches given to the generator.

    And how often the others follow a patch to which one object is locked, the same as for the
    learned choice (`retrieval_metrics`).

    Args:
      retriever: chooses, bound to the evaluated networks.
      scenes: batches of the split with candidates.
      data, split: the evaluated data.
      table: the candidates of the split.
      seed: of the random choice.
      library: by this retriever, for batches without the candidates' features.
      repeats: whether objects of a scene may get the same patch while others are free.

    Returns:
      name -> value; empty if the retriever takes no patch. What is unknown is left out: styles
      outside the procedural world, and anything about a scene's own patches.
    """
    is_own = retriever.name == OWN
    if not (retriever.takes_candidates or is_own):
        return {}
    locks = Locks(seed)
    blocks = [
        {"ids": batch["patch_rows"].numpy()}
        if is_own
        else _chosen(retriever, batch, seed, library, repeats, locks)
        for batch in followed(scenes, "retrieval")
    ]
    parts = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    ids = parts["ids"]  # [G, O]
    mask = ids >= 0  # [G, O]
    name = f"retrieval/{system_name(retriever.name)}"
    metrics: dict[str, float] = {}
    styles = np.asarray((data.truth(split) if is_own else data.bank).styles)
    if len(styles) and all(styles):
        metrics[f"{name}/style_agreement"] = style_agreement(styles[np.maximum(ids, 0)], mask)
        if not is_own:
            locked = parts["locked_ids"]  # [G, O]
            metrics[f"{name}/locked_style_match"] = locked_style_match(
                styles[np.maximum(locked, 0)], locked >= 0, parts["lock_object"]
            )
    if not is_own:
        vectors = table.cooccurrence[np.maximum(ids, 0)]  # [G, O, Dc]
        metrics[f"{name}/cooccurrence_distance"] = cooccurrence_distance(vectors, mask)
    metrics[f"{name}/distinct_patches"] = distinct_share(ids, mask)
    metrics[f"{name}/repeated_patches"] = repeated_share(ids, mask)
    return metrics


def _chosen(
    retriever: Retriever,
    batch: Batch,
    seed: int,
    library: PatchLibrary | None,
    repeats: bool,
    locks: Locks,
) -> dict[str, np.ndarray]:
    """Bank rows [B, O], -1 = none: as chosen by `synthesise` for this seed, and with a lock.

    `lock_object` [B] is the object that is locked, -1 in a scene without candidates.
    """
    seeds = derive_row_seeds(row_seeds(batch, seed), Purpose.GUMBEL_NOISE)  # [B, 2]
    candidates = retriever.candidates_of(batch, library)
    valid = candidates.valid.numpy()  # [B, O, K]
    lock_object, locked, _ = locks.draw(valid)  # [B], [B, O]

    def rows(lock: np.ndarray | None) -> np.ndarray:
        options = Options(seeds=seeds, repeats=repeats, locked=lock)
        choice = choose_patches(retriever, candidates, options).choice  # [B, O]
        return chosen_rows(candidates.ids, choice).numpy()

    return {
        "ids": rows(None),
        "locked_ids": rows(tf.constant(locked)),
        "lock_object": np.where(valid.any(axis=(1, 2)), lock_object, -1),
    }
