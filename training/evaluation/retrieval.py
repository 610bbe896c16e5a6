"""Retrieval: are the chosen patches compatible, compared with simpler selections?

Every metric is given for five selections among the same candidates: `learned` (the group
retrieval), `untrained` (φ as it was before training), `backbone` (Algorithm 1 on standardised
frozen features), `graph_nearest` (the pre-filter's nearest) and `random`. The first three run
Algorithm 1 twice at the learned distance scale: with Gumbel noise, as for a user's samples, and
without it (`..._without_noise`), from the same first patches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from rgan_tf.data.prepared import PreparedData
from rgan_tf.metrics.boxes import shared_share
from rgan_tf.metrics.retrieval import (
    cooccurrence_distance,
    ground_truth_recall_at_1,
    locked_style_match,
    style_agreement,
)
from rgan_tf.progress import followed
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.retrieval.embedding import PatchEmbedding
from rgan_tf.retrieval.patch_library import PatchLibrary
from rgan_tf.retrieval.patches import chosen_rows
from rgan_tf.retrieval.selection import Candidates, Options, choose_by_group, nearest_in_turn
from rgan_tf.seeds import Purpose, derive_row_seeds
from training.evaluation.locks import Locks
from training.evaluation.systems import Batch, row_seeds

SELECTIONS = ("learned", "untrained", "backbone", "graph_nearest", "random")
EMBEDDED = SELECTIONS[:3]
_WITHOUT_NOISE = "_without_noise"
OVERLAPS = {
    "": 0.0,
    "_sharing_0_to_0.25": 0.25,
    "_sharing_0.25_to_0.75": 0.75,
    "_sharing_0.75_to_1": 1.0,
}
"""Classes of pairs by `shared_share`: suffix of their metrics' names, and highest share."""


def retrieval_metrics(
    embedding: PatchEmbedding,
    scenes: Iterable[Batch],
    data: PreparedData,
    table: CandidateSource,
    *,
    seed: int,
    library: PatchLibrary | None = None,
    repeats: bool = True,
) -> dict[str, float]:
    """Style agreement, locked style match, ground-truth recall and co-occurrence distance.

    `gt_recall@1` counts the objects that share no pixel with the object whose own patch is the
    query: patches of overlapping boxes show the same pixels, but candidates of other images never
    do. `gt_recall@1_sharing_...` counts those that do, by the shared part of the smaller box,
    `gt_recall@1_all` counts all.

    Styles are only known in the procedural world; elsewhere their metrics are left out.

    Args:
      embedding: the trained φ.
      scenes: batches of a split with candidates.
      data: the prepared data; its bank has the styles.
      table: the candidates of the split.
      seed: of the random retrieval and of the locked patches.
      library: for batches without the candidates' features.
      repeats: whether objects of a scene may get the same patch while others are free; does not
        affect `random`.
    """
    locks = Locks(seed)
    select = _Selector(embedding, library, seed, repeats)
    blocks = [_select_all(select, batch, seed, locks) for batch in followed(scenes, "retrieval")]
    parts = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    styles = np.asarray(data.bank.styles)
    has_styles = bool(len(styles)) and all(styles)
    pairs = _pairs_to_count(parts)
    metrics: dict[str, float] = {}
    for name in SELECTIONS:
        figures = _figures_of_choice(name, parts, styles if has_styles else None, table)
        if name in EMBEDDED:
            quiet = _figures_of_choice(
                name + _WITHOUT_NOISE, parts, styles if has_styles else None, table
            )
            figures |= {f"{figure}{_WITHOUT_NOISE}": value for figure, value in quiet.items()}
            own = np.zeros(parts["mask"].shape, np.int32)  # the own patch is in slot 0
            figures |= {
                f"gt_recall@1{suffix}": ground_truth_recall_at_1(
                    parts[f"{name}/scores"], parts["valid"], own, counted
                )
                for suffix, counted in pairs.items()
            }
        metrics |= {f"retrieval/{name}/{figure}": value for figure, value in figures.items()}
    chances = 1.0 / np.maximum(parts["valid"].sum(axis=2), 1)  # [G, O]
    for suffix, counted in pairs.items():
        chance = float(np.mean(chances[counted])) if counted.any() else float("nan")
        metrics[f"retrieval/random/gt_recall@1{suffix}"] = chance
        metrics[f"retrieval/pairs{suffix or '_disjoint'}"] = int(counted.sum())
    return metrics


def _pairs_to_count(parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Suffix of the recall's name -> [G, O] bool: objects to count, by shared pixels."""
    shared, lowest = parts["shared"], -1.0
    pairs = {"_all": parts["counted"]}
    for name, highest in OVERLAPS.items():
        pairs[name] = parts["counted"] & (shared > lowest) & (shared <= highest)
        lowest = highest
    return {name: counted for name, counted in pairs.items() if counted.any() or not name}


def _figures_of_choice(
    name: str,
    parts: dict[str, np.ndarray],
    styles: np.ndarray | None,
    table: CandidateSource,
) -> dict[str, float]:
    """Metrics of one selection, without and with a locked patch."""
    mask, chosen = parts["mask"], parts[f"{name}/ids"]  # [G, O] each
    vectors = table.cooccurrence[np.maximum(chosen, 0)]  # [G, O, Dc]
    figures = {
        "cooccurrence_distance": cooccurrence_distance(vectors, mask),
        "distinct_patches": distinct_share(chosen, mask),
        "repeated_patches": repeated_share(chosen, mask),
    }
    if styles is not None:
        free = styles[np.maximum(chosen, 0)]
        locked = styles[np.maximum(parts[f"{name}/locked_ids"], 0)]
        figures["style_agreement"] = style_agreement(free, mask)
        figures["locked_style_match"] = locked_style_match(locked, mask, parts["lock_object"])
    return figures


def chosen_patches(
    embedding: PatchEmbedding,
    scenes: Iterable[Batch],
    *,
    seed: int,
    library: PatchLibrary | None = None,
) -> Iterator[tuple[Batch, dict[str, np.ndarray]]]:
    """The choices of every selection, with nothing locked.

    Args:
      embedding, scenes, seed, library: see `retrieval_metrics`.

    Yields:
      Each batch, and name in `SELECTIONS` -> [B, O] integer rows of the bank, -1 for no object.
    """
    locks = Locks(seed)
    select = _Selector(embedding, library, seed, repeats=True)
    for batch in followed(scenes, "retrieval"):
        parts = _select_all(select, batch, seed, locks)
        yield batch, {name: parts[f"{name}/ids"] for name in SELECTIONS}


class _Selector:
    """Algorithm 1 on the learned embedding and on frozen backbone features."""

    def __init__(
        self,
        embedding: PatchEmbedding,
        library: PatchLibrary | None,
        seed: int,
        repeats: bool,
    ):
        self._repeats = repeats
        self._embedding = embedding
        self._untrained = embedding.untrained(seed)
        self._library = library

    def embed(self, batch: Batch) -> dict[str, list[tf.Tensor]]:
        """Both kinds of embedding of the candidates [B, O, K, D] and own patches [B, O, D]."""
        if self._library is None:
            candidates = batch["candidate_features"]  # [B, O, K, Dx]
        else:
            candidates = self._library.reader.features(batch["candidate_ids"])  # [B, O, K, Dx]
        return self._embed(candidates, batch["patch_features"])

    @tf.function(reduce_retracing=True, autograph=False)
    def _embed(self, candidates: tf.Tensor, own: tf.Tensor) -> dict[str, list[tf.Tensor]]:
        features = [candidates, own]
        frozen = [tf.math.l2_normalize(self._embedding.standardise(x), -1) for x in features]
        return {
            "learned": [self._embedding(x) for x in features],
            "untrained": [self._untrained(x) for x in features],
            "backbone": frozen,
        }

    @tf.function(autograph=False)
    def choose(self, embeddings, valid, seeds, locked, noise, ids) -> tf.Tensor:
        """[B, O] int32 candidate of every object; `noise` multiplies the Gumbel noise."""
        temperature = tf.fill(tf.shape(valid)[:1], noise)  # [B]
        options = Options(seeds, temperature=temperature, locked=locked, repeats=self._repeats)
        candidates = Candidates(ids, valid, None, embeddings)
        return choose_by_group(candidates, options, scale=self._embedding.scale).choice

    @tf.function(autograph=False)
    def nearest(self, valid, locked, ids) -> tf.Tensor:
        """[B, O] int32: the nearest candidate of every object that is not locked."""
        options = Options(locked=locked, repeats=self._repeats)
        return nearest_in_turn(Candidates(ids, valid, None, embeddings=None), options).choice


def _select_all(
    selector: _Selector, batch: Batch, seed: int, locks: Locks
) -> dict[str, np.ndarray]:
    """Every selection on one batch, without and with a locked patch, and the recall's inputs."""
    valid = batch["candidate_valid"].numpy()  # [B, O, K]
    ids = batch["candidate_ids"].numpy()  # [B, O, K]
    mask = valid.any(axis=2)  # [B, O]
    seeds = derive_row_seeds(row_seeds(batch, seed), Purpose.GUMBEL_NOISE)  # [B, 2]
    lock_object, locked, random = locks.draw(valid)  # [B], [B, O], [B, O]
    embedded = selector.embed(batch)
    boxes = batch["boxes"].numpy()  # [B, O, 4]

    inputs = batch["candidate_valid"], batch["candidate_ids"]
    locks = [tf.constant(lock) for lock in (np.full_like(locked, -1), locked)]
    nearest = [selector.nearest(inputs[0], lock, inputs[1]).numpy() for lock in locks]
    choices = {"graph_nearest": nearest, "random": [random] * 2}
    parts = {
        "mask": mask,
        "lock_object": np.where(mask.any(axis=1), lock_object, -1),
        "counted": mask & (np.arange(mask.shape[1]) != lock_object[:, None]),
        "shared": shared_share(boxes[np.arange(len(boxes)), lock_object][:, None], boxes),  # [B, O]
        "valid": np.concatenate([mask[..., None], valid], axis=2),  # [B, O, 1 + K]
    }
    for name, (candidates, own) in embedded.items():
        for suffix, noise in (("", 1.0), (_WITHOUT_NOISE, 0.0)):
            choices[name + suffix] = [
                selector.choose(
                    candidates, inputs[0], seeds, lock, tf.constant(noise), inputs[1]
                ).numpy()
                for lock in locks
            ]
        parts[f"{name}/scores"] = _scores(candidates.numpy(), own.numpy(), lock_object)
    for name, (free, with_lock) in choices.items():
        parts[f"{name}/ids"] = chosen_rows(ids, free).numpy()
        with_lock = np.where(locked >= 0, locked, with_lock)  # [B, O]
        parts[f"{name}/locked_ids"] = chosen_rows(ids, with_lock).numpy()
    return parts


def _scores(candidates: np.ndarray, own: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Negative distance to the anchor's own patch: [B, O, 1 + K], own patches in slot 0."""
    query = own[np.arange(len(anchor)), anchor]  # [B, D]
    everything = np.concatenate([own[:, :, None], candidates], axis=2)  # [B, O, 1 + K, D]
    return -np.linalg.norm(everything - query[:, None, None], axis=-1)


def distinct_share(ids: np.ndarray, mask: np.ndarray) -> float:
    """Distinct patches over chosen patches; low if few patches are used again and again."""
    return float(len(np.unique(ids[mask])) / max(mask.sum(), 1))


def repeated_share(ids: np.ndarray, mask: np.ndarray) -> float:
    """Share of the objects whose patch an earlier object of the scene also has.

    Args:
      ids: [G, O] integer rows of the bank.
      mask: [G, O] bool, objects to count.
    """
    earlier = np.tri(ids.shape[1], k=-1, dtype=bool)  # [O, O]
    same = (ids[:, :, None] == ids[:, None]) & mask[:, None] & earlier  # [G, O, O]
    return float((same.any(axis=2) & mask).sum() / max(mask.sum(), 1))
