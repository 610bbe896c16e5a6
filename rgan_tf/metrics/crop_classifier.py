"""Judges whether objects look like their categories, with one judge for all systems.

The judge is a linear discriminant on the features of a pretrained network, fitted in closed form
to real patches. It has seen neither generated images nor a system's own classifier, so no system
benefits from having been trained against it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

_BLOCK_ROWS = 4096  # rows held as float64 at a time


@dataclasses.dataclass(frozen=True)
class LinearDiscriminant:
    """The judge: the category with the nearest mean under the shared shrunk covariance.

    All categories have the same prior: a judge that prefers frequent ones would reward a system
    for drawing everything alike.

    Attributes:
      categories: [C] integers, ascending, the known categories.
      shrinkage: in [0, 1], how far the covariance was moved to a multiple of the identity.
      weights: [D, C] float64.
      bias: [C] float64.
    """

    categories: np.ndarray
    shrinkage: float
    weights: np.ndarray
    bias: np.ndarray

    def scores(self, features: np.ndarray) -> np.ndarray:
        """[N, D] features -> [N, C] float64, higher is likelier; softmax gives the posterior.

        Raises:
          ValueError: if the width differs or a value is not finite.
        """
        size = self.weights.shape[0]
        if np.ndim(features) != 2 or np.shape(features)[1] != size:
            raise ValueError(f"features must be [N, {size}], got {list(np.shape(features))}")
        blocks = [block @ self.weights + self.bias for _, block in _blocks(features)]
        return np.concatenate(blocks) if blocks else np.zeros([0, len(self.categories)])

    def predict(self, features: np.ndarray) -> np.ndarray:
        """[N, D] features -> [N] categories; of equal scores the smallest category wins.

        Raises:
          ValueError: see `scores`.
        """
        return self.categories[self.scores(features).argmax(axis=1)]


def fit_discriminant(
    features: np.ndarray, categories: np.ndarray, shrinkage: float | None = None
) -> LinearDiscriminant:
    """Fits a linear discriminant (Fisher 1936) with a shrunk shared covariance.

    First every dimension is divided by its standard deviation within the categories, so that maps
    with large activations do not dominate. The covariance C of the features about their category
    means is then shrunk to (1 - s) C + s tr(C) / D I; by default, s is the estimate of Ledoit and
    Wolf 2004, section 3, which needs no held-out data. So there may be fewer patches than
    dimensions.

    Args:
      features: [N, D] of real patches, any float type; read in blocks, so it may be a memory map.
      categories: [N] integers, at least 2 different ones.
      shrinkage: s in (0, 1], or None for the estimate.

    Returns:
      The judge.

    Raises:
      ValueError: if shapes disagree, a value is not finite, there are fewer than 2 categories, or
        the shrinkage is out of range.
    """
    categories = np.asarray(categories)
    if np.ndim(features) != 2 or categories.shape != np.shape(features)[:1]:
        raise ValueError(
            f"features {list(np.shape(features))} and categories {list(categories.shape)} "
            "must be [N, D] and [N]"
        )
    if shrinkage is not None and not 0.0 < shrinkage <= 1.0:
        raise ValueError(f"shrinkage must be in (0, 1], got {shrinkage}")
    known, owners = np.unique(categories, return_inverse=True)  # [C], [N]
    if len(known) < 2:
        raise ValueError(f"a judge needs patches of at least 2 categories, got {len(known)}")
    mean, scale, means = _moments(features, owners, len(known))
    covariance, estimate = _shrinkable_covariance(features, owners, mean, scale, means)
    shrinkage = estimate if shrinkage is None else float(shrinkage)
    target = np.trace(covariance) / len(mean)
    shrunk = (1.0 - shrinkage) * covariance  # [D, D]
    # Without any spread within the categories the nearest mean decides, for any shrinkage target.
    shrunk[np.diag_indices_from(shrunk)] += shrinkage * target if target > 0 else 1.0
    directions = np.linalg.solve(shrunk, means.T)  # [D, C]
    offsets = -0.5 * np.einsum("cd,dc->c", means, directions)  # [C]
    weights = directions / scale[:, None]  # [D, C]
    return LinearDiscriminant(known, shrinkage, weights, offsets - mean @ weights)


def crop_accuracy(
    predicted: np.ndarray, categories: np.ndarray, known: np.ndarray
) -> dict[str, object]:
    """How often the judge sees the intended category.

    Args:
      predicted: [N] categories, from `LinearDiscriminant.predict`.
      categories: [N] integers, the intended categories of the crops.
      known: [C], `LinearDiscriminant.categories`. Crops of other categories cannot be judged and
        are left out of every share; their number is reported.

    Returns:
      `crop_accuracy` in [0, 1], `crop_balanced_accuracy` (mean over the categories that occur, so
      that rare ones have the same weight), `crop_chance` (1 / C, the accuracy of guessing); without
      a crop to judge the first two are None; `crop_count`, `crop_unknown_count`,
      `crop_unknown_categories` (ascending), and `crop_accuracy_by_category` (category -> share).

    Raises:
      ValueError: if the shapes disagree.
    """
    predicted, categories = np.asarray(predicted), np.asarray(categories)
    if predicted.ndim != 1 or predicted.shape != categories.shape:
        raise ValueError(
            f"predicted {list(predicted.shape)} and categories {list(categories.shape)} "
            "must both be [N]"
        )
    is_known = np.isin(categories, known)  # [N]
    is_right = predicted[is_known] == categories[is_known]  # [judged]
    judged = categories[is_known]  # [judged]
    by_category = {
        int(category): float(is_right[judged == category].mean()) for category in np.unique(judged)
    }
    return {
        "crop_accuracy": float(is_right.mean()) if len(is_right) else None,
        "crop_balanced_accuracy": float(np.mean(list(by_category.values())))
        if by_category
        else None,
        "crop_chance": 1.0 / len(known),
        "crop_count": len(is_right),
        "crop_unknown_count": int((~is_known).sum()),
        "crop_unknown_categories": np.unique(categories[~is_known]).tolist(),
        "crop_accuracy_by_category": by_category,
    }


def _moments(
    features: np.ndarray, owners: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and inner deviation of each dimension [D], the categories' standardised means [C, D]."""
    size = features.shape[1]
    mean, sums, squares = np.zeros(size), np.zeros([count, size]), np.zeros(size)
    for _, block in _blocks(features):
        mean += block.sum(axis=0) / len(owners)
    for start, block in _blocks(features):
        centred = block - mean  # [rows, D]
        np.add.at(sums, owners[start : start + len(block)], centred)
        squares += (centred**2).sum(axis=0)
    counts = np.bincount(owners)[:, None]  # [C, 1]
    total = squares / len(owners)  # [D]
    within = total - (sums**2 / counts).sum(axis=0) / len(owners)  # [D]
    # Rounding errors only: the dimension is constant and is not scaled up.
    variance = np.where(within > 1e-12 * total, within, total)  # [D]
    scale = np.where(total > (1e-9 * mean) ** 2, np.sqrt(variance), 1.0)  # [D]
    return mean, scale, sums / counts / scale


def _shrinkable_covariance(
    features: np.ndarray,
    owners: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    means: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Covariance [D, D] about the categories' means, and the shrinkage estimated for it."""
    size, count = len(mean), len(owners)
    covariance, fourth = np.zeros([size, size]), 0.0
    for start, block in _blocks(features):
        centred = (block - mean) / scale - means[owners[start : start + len(block)]]  # [rows, D]
        covariance += centred.T @ centred
        fourth += ((centred**2).sum(axis=1) ** 2).sum()
    covariance /= count
    square = (covariance**2).sum()
    distance = square - np.trace(covariance) ** 2 / size  # to the multiple of the identity
    error = max(fourth / count - square, 0.0) / count
    return covariance, 1.0 if distance <= error else float(error / distance)


def _blocks(features: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of rows as float64, each with the index of its first row."""
    for start in range(0, len(features), _BLOCK_ROWS):
        block = np.asarray(features[start : start + _BLOCK_ROWS], np.float64)  # [rows, D]
        if not np.isfinite(block).all():
            raise ValueError(f"features from row {start} on must be finite, got some that are not")
        yield start, block
