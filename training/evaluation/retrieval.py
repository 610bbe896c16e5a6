"""Retrieval: are the chosen patches compatible, beside simpler ways of choosing?

Every figure is given for four selections among the same candidates: `learned` (the group
retrieval), `graph_nearest` (the pre-filter's first), `backbone` (Algorithm 1 on standardised
frozen features) and `random`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from rgan_tf.data.pipeline import CandidateTable
from rgan_tf.data.prepared import PreparedData
from rgan_tf.metrics.retrieval import (
    cooccurrence_distance,
    ground_truth_recall_at_1,
    locked_style_match,
    style_agreement,
)
from rgan_tf.model.networks import RetrievalNetworks
from rgan_tf.retrieval.selector import GroupRetrieval
from rgan_tf.seeds import Purpose, derive_row_seeds
from training.evaluation.systems import Batch, row_seeds

_DECIDED = 1000.0  # distance scale at which frozen features outweigh the noise


def retrieval_metrics(
    networks: RetrievalNetworks,
    scenes: Iterable[Batch],
    data: PreparedData,
    table: CandidateTable,
    *,
    seed: int,
) -> dict[str, float]:
    """Style agreement, locked style match, ground-truth recall and co-occurrence distance.

    Styles are known on the procedural world only; elsewhere their figures are left out.

    Args:
      networks: trained stage-3 networks.
      scenes: batches of a split with candidates.
      data: the prepared data; its bank knows the styles.
      table: the candidates of the split.
      seed: of the random retrieval and of the locked patches.
    """
    styles = np.asarray(data.bank.styles)
    has_styles = bool(len(styles)) and all(styles)
    retrieval = GroupRetrieval()
    generator = np.random.default_rng([seed, 1])
    mean = networks.embedding.statistics[0]
    deviation = networks.embedding.statistics[1]

    @tf.function(reduce_retracing=True)
    def embed(batch: Batch):
        standard = [
            tf.math.l2_normalize((batch[key] - mean) / deviation, axis=-1)
            for key in ("candidate_features", "patch_features")
        ]
        learned = [
            networks.embedding(batch[key]) for key in ("candidate_features", "patch_features")
        ]
        return {"learned": learned, "backbone": standard}

    @tf.function(reduce_retracing=True)
    def select(embeddings, valid, seeds, scale, locked):
        return retrieval(embeddings, valid, seeds, scale=scale, locked=locked).choice

    collected: dict[str, list[np.ndarray]] = {}

    def collect(name: str, value: np.ndarray) -> None:
        collected.setdefault(name, []).append(np.asarray(value))

    for batch in scenes:
        valid = batch["candidate_valid"].numpy()  # [B, O, K]
        mask = valid.any(axis=2)  # [B, O]
        ids = batch["candidate_ids"].numpy()  # [B, O, K]
        seeds = derive_row_seeds(row_seeds(batch, seed), Purpose.GUMBEL_NOISE)
        lock_object, lock_choice = _draw_locks(valid, generator)  # [B], [B]
        locked = np.full(mask.shape, -1, np.int32)
        rows = np.arange(len(locked))
        locked[rows, lock_object] = lock_choice
        embedded = embed(batch)
        scales = {"learned": networks.embedding.scale, "backbone": tf.constant(_DECIDED)}
        free = tf.fill(tf.shape(locked), -1)
        random = _random_choice(valid, generator)  # [B, O]
        choices = {"graph_nearest": (np.zeros_like(random),) * 2, "random": (random,) * 2}
        for name in ("learned", "backbone"):
            candidates = embedded[name][0]
            choices[name] = tuple(
                select(candidates, batch["candidate_valid"], seeds, scales[name], lock).numpy()
                for lock in (free, tf.constant(locked))
            )
            own, scores, slots = _recall_inputs(embedded[name], mask, lock_object)
            collect(f"{name}/scores", scores)
            collect("recall_mask", own) if name == "learned" else None
            collect("recall_valid", np.concatenate([mask[..., None], valid], axis=2)) if (
                name == "learned"
            ) else None
            collect("slots", slots) if name == "learned" else None
        collect("mask", mask)
        collect("lock_object", np.where(mask[rows, lock_object], lock_object, -1))
        for name, (chosen, chosen_locked) in choices.items():
            chosen_locked = np.where(locked >= 0, locked, chosen_locked)
            collect(f"{name}/ids", _pick(ids, chosen))
            collect(f"{name}/locked_ids", _pick(ids, chosen_locked))
    parts = {name: np.concatenate(blocks) for name, blocks in collected.items()}

    metrics: dict[str, float] = {}
    mask = parts["mask"]
    for name in ("learned", "graph_nearest", "backbone", "random"):
        chosen = parts[f"{name}/ids"]
        vectors = table.cooccurrence[np.maximum(chosen, 0)]  # [G, O, Dc]
        metrics[f"retrieval/{name}/cooccurrence_distance"] = cooccurrence_distance(vectors, mask)
        metrics[f"retrieval/{name}/distinct_patches"] = _distinct(chosen, mask)
        if has_styles:
            locked_styles = styles[np.maximum(parts[f"{name}/locked_ids"], 0)]
            metrics[f"retrieval/{name}/style_agreement"] = style_agreement(
                styles[np.maximum(chosen, 0)], mask
            )
            metrics[f"retrieval/{name}/locked_style_match"] = locked_style_match(
                locked_styles, mask, parts["lock_object"]
            )
    for name in ("learned", "backbone"):
        metrics[f"retrieval/{name}/gt_recall@1"] = ground_truth_recall_at_1(
            parts[f"{name}/scores"], parts["recall_valid"], parts["slots"], parts["recall_mask"]
        )
    group_sizes = parts["recall_valid"].sum(axis=2)[parts["recall_mask"]]
    metrics["retrieval/random/gt_recall@1"] = float(np.mean(1.0 / group_sizes))
    return metrics


def _draw_locks(valid: np.ndarray, generator: np.random.Generator):
    """One object per scene and one of its candidates: [B] and [B] int."""
    mask = valid.any(axis=2)  # [B, O]
    scores = np.where(mask, generator.random(mask.shape), -1.0)
    chosen = scores.argmax(axis=1)  # [B]
    rows = np.arange(len(chosen))
    slots = np.where(valid[rows, chosen], generator.random(valid.shape[::2]), -1.0)  # [B, K]
    return chosen, np.where(mask[rows, chosen], slots.argmax(axis=1), -1)


def _random_choice(valid: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return np.where(valid, generator.random(valid.shape), -1.0).argmax(axis=2)


def _recall_inputs(embedded, mask: np.ndarray, anchor: np.ndarray):
    """Distance of own patch (slot 0) and candidates to the anchor's own patch."""
    candidates, own = (part.numpy() for part in embedded)  # [B, O, K, D], [B, O, D]
    rows = np.arange(len(anchor))
    query = own[rows, anchor]  # [B, D]
    everything = np.concatenate([own[:, :, None], candidates], axis=2)  # [B, O, 1 + K, D]
    scores = -np.linalg.norm(everything - query[:, None, None], axis=-1)  # [B, O, 1 + K]
    counted = mask & (np.arange(mask.shape[1]) != anchor[:, None])  # [B, O]
    return counted, scores, np.zeros(mask.shape, np.int32)


def _pick(ids: np.ndarray, choice: np.ndarray) -> np.ndarray:
    """Bank rows of the chosen candidates: [B, O, K], [B, O] -> [B, O]."""
    picked = np.take_along_axis(ids, np.maximum(choice, 0)[..., None], axis=2)[..., 0]
    return np.where(choice >= 0, picked, -1)


def _distinct(ids: np.ndarray, mask: np.ndarray) -> float:
    """Different patches over patches chosen: low when few patches are used again and again."""
    return float(len(np.unique(ids[mask])) / max(mask.sum(), 1))
