"""Distances between two sets of features: Fréchet and kernel (unbiased MMD).

A number is named after the network that made the features, the sample count and the split:
`fd_mobilenet_v2_1k_val` is not an FID, which always uses InceptionV3.
"""

from __future__ import annotations

import numpy as np

_BLOCK_ROWS = 256  # rows of the kernel matrix in memory at a time


def frechet_name(backbone: str, count: int, split: str) -> str:
    """The Fréchet distance's name with its protocol, such as `fd_mobilenet_v2_1k_val`.

    Args:
      backbone: the network; only "inception_v3" makes it `fid`.
      count: generated samples.
      split: of the real images.
    """
    stem = "fid" if backbone == "inception_v3" else f"fd_{backbone}_"
    return f"{stem}{short_count(count)}_{split}"


def kernel_name(backbone: str, count: int, split: str) -> str:
    """The kernel distance's name with its protocol, such as `kd_mobilenet_v2_1k_val`."""
    stem = "kid" if backbone == "inception_v3" else f"kd_{backbone}_"
    return f"{stem}{short_count(count)}_{split}"


class FeatureStatistics:
    """Mean and covariance of features that arrive in batches, in constant memory.

    Sums are float64, about a fixed point near the mean: otherwise features that are large compared
    with their spread would lose their covariance to cancellation.

    Args:
      size: D, width of a feature, at least 1.

    Attributes:
      count: features so far.
    """

    def __init__(self, size: int):
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self.count = 0
        self._shift = np.zeros(size)
        self._sum = np.zeros(size)
        self._products = np.zeros([size, size])

    @property
    def size(self) -> int:
        return len(self._sum)

    @property
    def is_biased(self) -> bool:
        """Whether the count is too small for a covariance of full rank; distances are then too
        large and depend on the count."""
        return self.count <= self.size

    def add(self, features: np.ndarray) -> None:
        """Adds [N, D] features.

        Raises:
          ValueError: if the width differs or a value is not finite; then nothing is added.
        """
        features = checked_features(features, self.size)
        if not len(features):
            return
        if not self.count:
            self._shift = features.mean(axis=0)  # [D]
        self._accumulate(features - self._shift)

    def merge(self, other: FeatureStatistics) -> None:
        """Adds everything that `other` contains.

        Raises:
          ValueError: if the widths differ.
        """
        if other.size != self.size:
            raise ValueError(f"features of width {other.size} given, {self.size} expected")
        if not other.count:
            return
        if not self.count:
            self._shift = other._shift.copy()
        offset = other._shift - self._shift  # [D]
        cross = np.outer(other._sum, offset)  # [D, D]
        square = other.count * np.outer(offset, offset)  # [D, D]
        self._products += other._products + cross + cross.T + square
        self._sum += other._sum + other.count * offset
        self.count += other.count

    @property
    def mean(self) -> np.ndarray:
        """[D] float64."""
        self._require(1)
        return self._shift + self._sum / self.count

    @property
    def covariance(self) -> np.ndarray:
        """[D, D] float64, normalised by count - 1."""
        self._require(2)
        outer = np.outer(self._sum, self._sum) / self.count  # [D, D]
        return (self._products - outer) / (self.count - 1)

    def _accumulate(self, centred: np.ndarray) -> None:
        self.count += len(centred)
        self._sum += centred.sum(axis=0)
        self._products += centred.T @ centred

    def _require(self, count: int) -> None:
        if self.count < count:
            raise ValueError(f"at least {count} features are needed, got {self.count}")


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½), Heusel et al., NeurIPS 2017, equation (6).

    The trace of the root comes from the eigenvalues of the symmetric product C1^½ C2 C1^½, which
    are those of C1 C2, but which is positive semi-definite also in floating point.

    Args:
      first: statistics of at least 2 features.
      second: the same width.

    Returns:
      The squared distance, at least 0.

    Raises:
      ValueError: if the widths differ or there are fewer than 2 features.
    """
    if first.size != second.size:
        raise ValueError(f"features of width {second.size} given, {first.size} expected")
    first_covariance, second_covariance = first.covariance, second.covariance
    values, vectors = np.linalg.eigh(first_covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))  # [D, D], root root^T = C1
    product = root.T @ second_covariance @ root  # [D, D]
    eigenvalues = np.linalg.eigvalsh((product + product.T) / 2)
    trace_of_root = np.sqrt(np.maximum(eigenvalues, 0.0)).sum()
    shift = first.mean - second.mean  # [D]
    distance = shift @ shift + np.trace(first_covariance) + np.trace(second_covariance)
    return float(max(distance - 2.0 * trace_of_root, 0.0))


def kernel_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Unbiased squared MMD with the kernel (x·y / D + 1)³, Bińkowski et al., ICLR 2018.

    Unlike the Fréchet distance it does not need more features than dimensions. It is computed over
    all pairs, in blocks, and may be slightly negative for equal distributions.

    Args:
      first: [N, D], N at least 2.
      second: [M, D], M at least 2.

    Returns:
      The estimate.

    Raises:
      ValueError: if the widths differ, a value is not finite or a set has fewer than 2 features.
    """
    first, second = checked_pair(first, second)
    within = _kernel_sum(first, first) - kernel_diagonal(first).sum()
    within /= len(first) * (len(first) - 1)
    within_second = _kernel_sum(second, second) - kernel_diagonal(second).sum()
    within_second /= len(second) * (len(second) - 1)
    between = _kernel_sum(first, second) / (len(first) * len(second))
    return float(within + within_second - 2.0 * between)


def kernel_matrix(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(x·y / D + 1)³ of all pairs.

    Args:
      first: [N, D] float64.
      second: [M, D] float64.

    Returns:
      [N, M] float64.
    """
    return (first @ second.T / first.shape[1] + 1.0) ** 3  # [N, M]


def kernel_diagonal(features: np.ndarray) -> np.ndarray:
    """The kernel of every feature [N, D] with itself, [N] float64."""
    return (np.einsum("nd,nd->n", features, features) / features.shape[1] + 1.0) ** 3  # [N]


def _kernel_sum(first: np.ndarray, second: np.ndarray) -> float:
    starts = range(0, len(first), _BLOCK_ROWS)
    blocks = (first[start : start + _BLOCK_ROWS] for start in starts)  # each [rows, D]
    return float(sum(kernel_matrix(block, second).sum() for block in blocks))


def checked_features(features: np.ndarray, size: int | None) -> np.ndarray:
    """Features as [N, D] float64.

    Args:
      features: [N, D].
      size: D, if known.

    Raises:
      ValueError: if they have another shape or a value is not finite.
    """
    features = np.asarray(features, np.float64)  # [N, D]
    if features.ndim != 2 or (size is not None and features.shape[1] != size):
        expected = f"[N, {size or 'D'}]"
        raise ValueError(f"features must be {expected}, got {list(features.shape)}")
    if not np.isfinite(features).all():
        raise ValueError(
            f"features must be finite, got {(~np.isfinite(features)).sum()} that are not"
        )
    return features


def checked_pair(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of at least 2 features of one width; see `checked_features`."""
    first = checked_features(first, None)
    second = checked_features(second, first.shape[1])
    if min(len(first), len(second)) < 2:
        raise ValueError(f"at least 2 features are needed, got {len(first)} and {len(second)}")
    return first, second


def short_count(count: int) -> str:
    """The sample count as written in names: 5k for 5000, 1024 for 1024."""
    return f"{count // 1000}k" if count and count % 1000 == 0 else str(count)
