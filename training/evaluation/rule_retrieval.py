"""Retrieval metrics of any retriever, from its choices alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rgan_tf.data.prepared import PreparedData
from rgan_tf.metrics.retrieval import cooccurrence_distance, style_agreement
from rgan_tf.progress import followed
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.retrieval.patch_library import PatchLibrary
from rgan_tf.retrieval.patches import chosen_rows
from rgan_tf.retrieval.retriever import Retriever, choose_patches
from rgan_tf.retrieval.rules import OWN
from rgan_tf.retrieval.selection import Options
from rgan_tf.seeds import Purpose, derive_row_seeds
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
    chosen = [
        batch["patch_rows"].numpy() if is_own else _chosen(retriever, batch, seed, library, repeats)
        for batch in followed(scenes, "retrieval")
    ]
    ids = np.concatenate(chosen)  # [G, O]
    mask = ids >= 0  # [G, O]
    name = f"retrieval/{system_name(retriever.name)}"
    metrics: dict[str, float] = {}
    styles = np.asarray((data.truth(split) if is_own else data.bank).styles)
    if len(styles) and all(styles):
        metrics[f"{name}/style_agreement"] = style_agreement(styles[np.maximum(ids, 0)], mask)
    if not is_own:
        vectors = table.cooccurrence[np.maximum(ids, 0)]  # [G, O, Dc]
        metrics[f"{name}/cooccurrence_distance"] = cooccurrence_distance(vectors, mask)
    metrics[f"{name}/distinct_patches"] = distinct_share(ids, mask)
    metrics[f"{name}/repeated_patches"] = repeated_share(ids, mask)
    return metrics


def _chosen(
    retriever: Retriever, batch: Batch, seed: int, library: PatchLibrary | None, repeats: bool
) -> np.ndarray:
    """[B, O] bank rows, -1 = none, as chosen by `synthesise` for this seed."""
    seeds = derive_row_seeds(row_seeds(batch, seed), Purpose.GUMBEL_NOISE)  # [B, 2]
    candidates = retriever.candidates_of(batch, library)
    options = Options(seeds=seeds, repeats=repeats)
    choice = choose_patches(retriever, candidates, options).choice  # [B, O]
    return chosen_rows(candidates.ids, choice).numpy()
