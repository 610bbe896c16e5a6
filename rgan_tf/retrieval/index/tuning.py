"""Tunes the approximate index on the bank itself and decides whether to use it."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rgan_tf.arguments import real_number
from rgan_tf.config import Config
from rgan_tf.errors import BadInput
from rgan_tf.retrieval.index.exact import PADDING_CATEGORY, CandidateIndex, ExactIndex, SearchResult
from rgan_tf.retrieval.index.scann_index import ScannIndex, ScannSettings, default_leaves

BATCH = 64  # queries per timed search
_SHARES_OF_LEAVES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_REPETITIONS = 5
LARGE_BANK = 50_000  # rows; below that the exact search takes milliseconds and is always used


@dataclasses.dataclass(frozen=True)
class Tuning:
    """The tuner's result.

    Attributes:
      index: the ScaNN index with the chosen settings.
      recall: of the chosen settings, on the tuner's queries.
      seconds: time for a batch of 64 queries with these settings.
      exact_seconds: the same with the exact search.
      reached: whether the required recall was reached.
      trials: one dict per tried setting: leaves_to_search, recall, seconds.
    """

    index: ScannIndex
    recall: float
    seconds: float
    exact_seconds: float
    reached: bool
    trials: tuple[dict[str, Any], ...]

    @property
    def pays(self) -> bool:
        """Whether the index has enough recall and is faster than the exact search."""
        return self.reached and self.seconds < self.exact_seconds

    def report(self) -> dict[str, Any]:
        """Everything but the index, as JSON."""
        return {
            "settings": dataclasses.asdict(self.index.settings),
            "recall": round(self.recall, 5),
            "seconds_batch64": self.seconds,
            "exact_seconds_batch64": self.exact_seconds,
            "reached": self.reached,
            "pays": self.pays,
            "trials": list(self.trials),
        }


def kind_of_index(config: Config) -> str:
    """The kind of index of a run's candidates: `retrieval.index`; exact for a repeatable `auto`.

    `auto` measures time, so another run, or this one resumed, might search otherwise, which
    `training.deterministic` promises not to happen.
    """
    kind = config.retrieval.index
    return "exact" if kind == "auto" and config.training.deterministic else kind


def check_recall(recall: float) -> None:
    """Refuses a share of found patches that no index can have.

    Raises:
      BadInput: names the option.
    """
    if not 0 < real_number(recall, "--recall") <= 1:
        raise BadInput(f"--recall {recall:g}: must be above 0 and at most 1")


def tune_scann(
    features: np.ndarray,
    categories: np.ndarray,
    image_ids: np.ndarray,
    *,
    k: int,
    recall: float = 0.99,
    queries: int = 512,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Tuning:
    """Builds a ScaNN index and finds the fastest settings with the required recall.

    The queries are patches of the bank that exclude their own image, as in training. The size of
    the bank fixes the number of leaves; the number of leaves searched trades time for recall and is
    raised until the recall is reached.

    Args:
      features, categories, image_ids: see `ExactIndex`.
      k: candidates per query.
      recall: required share of the true candidates, above 0, at most 1.
      queries: number of test queries.
      seed: of the choice of queries.
      progress: called with a line after each trial.

    Returns:
      `Tuning` with the fewest searched leaves that reach the recall, or all leaves.

    Raises:
      BadInput: if a number is out of range; or see `ScannIndex`.
    """
    check_recall(recall)
    if queries < 1 or k < 1:
        raise BadInput(f"tuning: queries {queries} and k {k} must be at least 1")
    exact = ExactIndex(features, categories, image_ids)
    searchable = np.flatnonzero(exact.categories != PADDING_CATEGORY)
    if not len(searchable):
        raise BadInput("tuning: the bank has no searchable patch")
    chosen = np.random.default_rng(seed).permutation(searchable)[:queries]
    test_queries = (exact.features[chosen], exact.categories[chosen], exact.image_ids[chosen])
    truth = exact.search(*test_queries, k)
    leaves = default_leaves(len(searchable))
    index = ScannIndex(features, categories, image_ids, ScannSettings(leaves, leaves))
    trials: list[dict[str, Any]] = []
    for searched in sorted({max(1, round(share * leaves)) for share in _SHARES_OF_LEAVES}):
        index.settings = ScannSettings(leaves, searched)
        found = recall_of(index.search(*test_queries, k), truth)
        seconds = batch_seconds(index, test_queries, k)
        trials.append({"leaves_to_search": searched, "recall": found, "seconds": seconds})
        if progress is not None:
            progress(f"{searched} of {leaves} leaves: recall {found:.4f}, {seconds * 1e3:.1f} ms")
        if found >= recall:
            break
    best = trials[-1]
    index.fallback_queries = 0
    return Tuning(
        index=index,
        recall=best["recall"],
        seconds=best["seconds"],
        exact_seconds=batch_seconds(exact, test_queries, k),
        reached=best["recall"] >= recall,
        trials=tuple(trials),
    )


def build_index(
    kind: str,
    features: np.ndarray,
    categories: np.ndarray,
    image_ids: np.ndarray,
    *,
    k: int,
    recall: float = 0.99,
    progress: Callable[[str], None] | None = None,
) -> CandidateIndex:
    """Builds the index of a bank.

    Args:
      kind: "exact"; "scann", tuned; or "auto", which takes ScaNN for a bank of 50,000 rows and more
        if it reaches the recall and is faster than the exact search on this machine.
      features, categories, image_ids: see `ExactIndex`.
      k: candidates per query, for the tuner.
      recall: for the tuner.
      progress: called with lines about tuning and choice.

    Raises:
      BadInput: see the indices; or `kind` is "scann" and its recall is too low.
    """
    if kind == "exact" or (kind == "auto" and len(features) < LARGE_BANK):
        return ExactIndex(features, categories, image_ids)
    tuning = tune_scann(features, categories, image_ids, k=k, recall=recall, progress=progress)
    uses_scann = takes_scann(kind, tuning.report(), recall, progress=progress)
    return tuning.index if uses_scann else tuning.index.exact


def takes_scann(
    kind: str,
    report: dict[str, Any],
    recall: float,
    *,
    progress: Callable[[str], None] | None = None,
) -> bool:
    """Decides by the tuner's report whether to use ScaNN.

    Args:
      kind: "scann" or "auto".
      report: of `Tuning.report`.
      recall: the required one.
      progress: called with a line about the choice and its reason.

    Raises:
      BadInput: if `kind` is "scann" and its recall is too low.
    """
    if kind == "scann" and not report["reached"]:
        raise BadInput(
            f"retrieval.index scann: reaches a recall of {report['recall']:.4f} instead of "
            f"{recall} even with all leaves; use exact"
        )
    uses_scann = kind == "scann" or bool(report["pays"])
    if progress is not None:
        progress(
            f"index: {'ScaNN' if uses_scann else 'exact'}; a batch of {BATCH} takes "
            f"{report['seconds_batch64'] * 1e3:.1f} ms by ScaNN at recall "
            f"{report['recall']:.4f}, {report['exact_seconds_batch64'] * 1e3:.1f} ms exactly"
        )
    return uses_scann


def recall_of(found: SearchResult, truth: SearchResult) -> float:
    """Share of the true candidates that were found; one as near as the last true one counts.

    1 if there are none.
    """
    limit = np.where(truth.valid, truth.distances, -np.inf).max(axis=1, initial=-np.inf)  # [Q]
    near = found.valid & (found.distances <= limit[:, None] * (1 + 1e-5) + 1e-6)  # [Q, k]
    near |= (found.ids[:, :, None] == truth.ids[:, None]).any(axis=2) & found.valid  # [Q, k]
    wanted = truth.valid.sum(axis=1)  # [Q]
    hits = np.minimum(near.sum(axis=1), wanted)  # [Q]
    return float(hits.sum() / wanted.sum()) if wanted.any() else 1.0


def batch_seconds(index: CandidateIndex, test_queries: tuple[np.ndarray, ...], k: int) -> float:
    """Median time of a search for a batch of 64 of the queries, or all if fewer."""
    batch = tuple(part[:BATCH] for part in test_queries)
    index.search(*batch, k)  # the first search also traces
    times = []
    for _ in range(_REPETITIONS):
        start = time.perf_counter()
        index.search(*batch, k)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
