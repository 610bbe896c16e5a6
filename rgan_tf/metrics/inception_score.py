"""Inception score: how certain a classifier is of every image, and how varied its answers are.

A number is named after the network that made the probabilities, as in `metrics.frechet`.
"""

from __future__ import annotations

import numpy as np

from rgan_tf.metrics.frechet import short_count

_SUM_TOLERANCE = 1e-3  # of the sum of float32 or float16 probabilities


def score_name(backbone: str, count: int, splits: int, split: str) -> str:
    """The score's name with its protocol, such as `cs_mobilenet_v2_1k_10splits_val`.

    Args:
      backbone: the network; only "inception_v3" makes it `is`, others a class score, `cs`.
      count: generated samples.
      splits: number of parts into which the samples were divided.
      split: of the scene graphs.
    """
    stem = "is" if backbone == "inception_v3" else f"cs_{backbone}_"
    return f"{stem}{short_count(count)}_{splits}splits_{split}"


class ScoreStatistics:
    """exp(E KL(p(y|x) || p(y))) of probabilities that arrive in batches, in constant memory.

    Salimans et al., NeurIPS 2016, section 4. Per split only the sums of the probabilities and of
    their negative entropies are kept, in float64: the mean divergence of a split is its mean
    negative entropy minus the negative entropy of its mean. Split i of S holds the samples from
    floor(i N / S) on, in the order in which they are added.

    Args:
      classes: C, at least 1.
      splits: S, at least 1.
      total: N, total number of samples, at least S.

    Raises:
      ValueError: if an argument is out of range.

    Attributes:
      count: samples so far.
    """

    def __init__(self, classes: int, splits: int, total: int):
        if classes < 1 or splits < 1:
            raise ValueError(f"classes and splits must be at least 1, got {classes} and {splits}")
        if total < splits:
            raise ValueError(f"total must be at least splits = {splits}, got {total}")
        self.count = 0
        self._total = total
        self._ends = np.arange(1, splits + 1) * total // splits  # [S]
        self._sums = np.zeros([splits, classes])
        self._negative_entropies = np.zeros(splits)

    def add(self, probabilities: np.ndarray) -> None:
        """Adds [N, C] class probabilities; every row is divided by its sum.

        Raises:
          ValueError: if the width differs, a value is negative or not finite, a row's sum differs
            from 1 by more than 0.001, or there are more than `total` rows; then nothing is added.
        """
        rows = self._checked(probabilities)  # [N, C]
        positions = np.arange(self.count, self.count + len(rows))  # [N]
        owners = np.searchsorted(self._ends, positions, side="right")  # [N]
        negative_entropies = _negative_entropy(rows)  # [N]
        for owner in np.unique(owners):
            self._sums[owner] += rows[owners == owner].sum(axis=0)
            self._negative_entropies[owner] += negative_entropies[owners == owner].sum()
        self.count += len(rows)

    def score(self) -> tuple[float, float]:
        """Mean and standard deviation (normalised by S, as customary) of the splits' scores.

        Returns:
          The mean, from 1 to C, and the deviation, which is 0 for one split. The deviation is not a
          standard error of the score of all samples, because each split is smaller.

        Raises:
          ValueError: if not all samples have been added.
        """
        if self.count != self._total:
            raise ValueError(f"{self._total} samples were announced, {self.count} were added")
        sizes = np.diff(self._ends, prepend=0)  # [S]
        marginal = self._sums / sizes[:, None]  # [S, C]
        divergence = self._negative_entropies / sizes - _negative_entropy(marginal)  # [S]
        scores = np.exp(np.maximum(divergence, 0.0))  # [S]
        return float(scores.mean()), float(scores.std())

    def _checked(self, probabilities: np.ndarray) -> np.ndarray:
        rows = np.asarray(probabilities, np.float64)
        classes = self._sums.shape[1]
        if rows.ndim != 2 or rows.shape[1] != classes:
            raise ValueError(f"probabilities must be [N, {classes}], got {list(rows.shape)}")
        if not (np.isfinite(rows).all() and (rows >= 0).all()):
            raise ValueError("probabilities must be finite and not negative")
        sums = rows.sum(axis=1, keepdims=True)  # [N, 1]
        if (np.abs(sums - 1.0) > _SUM_TOLERANCE).any():
            worst = float(sums[np.abs(sums - 1.0).argmax(), 0])
            raise ValueError(f"probabilities of a sample must add up to 1, got {worst:.6g}")
        if self.count + len(rows) > self._total:
            given = self.count + len(rows)
            raise ValueError(f"{self._total} samples were announced, {given} were given")
        return rows / sums


def _negative_entropy(rows: np.ndarray) -> np.ndarray:
    """sum p log p over the last axis, with 0 log 0 = 0."""
    return (rows * np.log(np.where(rows > 0, rows, 1.0))).sum(axis=-1)
