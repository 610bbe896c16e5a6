"""Retrieval figures of runs that choose by a rule (`retrieval.choice` other than learned)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rgan_tf.data.prepared import PreparedData
from rgan_tf.metrics.retrieval import cooccurrence_distance, style_agreement
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.retrieval.choice import NOISE, OWN, fixed_slots
from rgan_tf.retrieval.selector import chosen_rows
from rgan_tf.seeds import Purpose, derive_row_seeds
from training.evaluation.names import NAMES
from training.evaluation.retrieval import distinct_share, repeated_share
from training.evaluation.systems import Batch, row_seeds


def rule_metrics(
    rule: str,
    scenes: Iterable[Batch],
    data: PreparedData,
    split: str,
    table: CandidateSource,
    *,
    seed: int,
) -> dict[str, float]:
    """Style agreement and co-occurrence distance of the patches that the generator is given.

    Args:
      rule: the run's `retrieval.choice`, not learned.
      scenes: batches of the split with candidates.
      data, split: what is evaluated.
      table: the candidates of the split.
      seed: of the random choice.

    Returns:
      name -> value; empty for a rule without patches. Styles are known on the procedural world
      only, and a scene's own patches are not in the table, so what is not known is left out.
    """
    if rule == NOISE:
        return {}
    ids = np.concatenate([_chosen(rule, batch, seed) for batch in scenes])  # [G, O]
    mask = ids >= 0  # [G, O]
    name = f"retrieval/{NAMES[rule]}"
    metrics: dict[str, float] = {}
    styles = np.asarray((data.truth(split) if rule == OWN else data.bank).styles)
    if len(styles) and all(styles):
        metrics[f"{name}/style_agreement"] = style_agreement(styles[np.maximum(ids, 0)], mask)
    if rule != OWN:
        vectors = table.cooccurrence[np.maximum(ids, 0)]  # [G, O, Dc]
        metrics[f"{name}/cooccurrence_distance"] = cooccurrence_distance(vectors, mask)
    metrics[f"{name}/distinct_patches"] = distinct_share(ids, mask)
    metrics[f"{name}/repeated_patches"] = repeated_share(ids, mask)
    return metrics


def _chosen(rule: str, batch: Batch, seed: int) -> np.ndarray:
    """[B, O] bank rows, -1 = none; those that `synthesise` takes for this seed."""
    if rule == OWN:
        return batch["patch_rows"].numpy()
    seeds = derive_row_seeds(row_seeds(batch, seed), Purpose.GUMBEL_NOISE)  # [B, 2]
    slots = fixed_slots(rule, batch["candidate_valid"], seeds)  # [B, O]
    return chosen_rows(batch["candidate_ids"], slots).numpy()
