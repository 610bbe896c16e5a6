"""Precision and recall of generated images: plausibility, and coverage of the real ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rgan_tf.metrics.frechet import checked_features, short_count

_BLOCK_ROWS = 256  # rows of the distance matrix in memory at a time
_ROUNDING = 1e-12  # of squared distances, relative to the squared lengths


def precision_name(backbone: str, count: int, neighbours: int, split: str) -> str:
    """The precision's name with its protocol, such as `precision_k3_mobilenet_v2_1k_val`."""
    return f"precision_k{neighbours}_{backbone}_{short_count(count)}_{split}"


def recall_name(backbone: str, count: int, neighbours: int, split: str) -> str:
    """The recall's name with its protocol, such as `recall_k3_mobilenet_v2_1k_val`."""
    return f"recall_k{neighbours}_{backbone}_{short_count(count)}_{split}"


def precision_recall(
    generated: np.ndarray, real: np.ndarray, neighbours: int = 3
) -> tuple[float, float]:
    """k-NN precision and recall, Kynkäänniemi et al., NeurIPS 2019, equations (1) and (2).

    Every feature has a ball that reaches to its k-th nearest neighbour in its own set, not counting
    itself. Precision is the share of generated features in the ball of a real one, recall the share
    of real features in the ball of a generated one; balls include their surface. Both depend on the
    sizes of the sets: only compare systems at equal counts.

    Distances are computed in blocks of rows: memory holds the features as float64 and a block of
    256 x max(N, M) numbers.

    Args:
      generated: [N, D] features.
      real: [M, D] features.
      neighbours: k, at least 1 and less than N and M.

    Returns:
      Precision and recall, each in [0, 1].

    Raises:
      ValueError: if the widths differ, a value is not finite, or a set has k features or fewer.
    """
    generated = checked_features(generated, None)
    real = checked_features(real, generated.shape[1])
    if not 1 <= neighbours < min(len(generated), len(real)):
        raise ValueError(
            f"neighbours must be at least 1 and less than the {len(generated)} generated and "
            f"{len(real)} real features, got {neighbours}"
        )
    centre = real.mean(axis=0)  # [D]; short vectors lose less to cancellation
    generated, real = generated - centre, real - centre
    generated_radii = _squared_radii(generated, neighbours)  # [N]
    real_radii = _squared_radii(real, neighbours)  # [M]
    is_plausible = np.zeros(len(generated), bool)
    is_covered = np.zeros(len(real), bool)
    for start, distances in _squared_distances(generated, real):  # [rows, M]
        rows = slice(start, start + len(distances))
        is_plausible[rows] = (distances <= real_radii).any(axis=1)
        is_covered |= (distances <= generated_radii[rows, None]).any(axis=0)
    return float(is_plausible.mean()), float(is_covered.mean())


def _squared_radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    """Squared distance of every feature to its k-th nearest neighbour, [N]."""
    radii = np.empty(len(features))
    for start, distances in _squared_distances(features, features):  # [rows, N]
        rows = np.arange(len(distances))
        distances[rows, start + rows] = np.inf  # not its own neighbour
        nearest = np.partition(distances, neighbours - 1, axis=1)[:, neighbours - 1]  # [rows]
        radii[start : start + len(distances)] = nearest
    return radii * (1.0 + 1e-9)  # rounding must not exclude the surface


def _squared_distances(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of rows of the matrix of squared distances, each with the index of its first row."""
    lengths = np.einsum("nd,nd->n", second, second)  # [M]
    for start in range(0, len(first), _BLOCK_ROWS):
        block = first[start : start + _BLOCK_ROWS]  # [rows, D]
        sums = np.einsum("nd,nd->n", block, block)[:, None] + lengths  # [rows, M]
        distances = sums - 2.0 * (block @ second.T)  # [rows, M]
        # Between equal features only rounding errors remain, which must not decide whether a ball
        # of radius zero contains them.
        distances[distances <= _ROUNDING * sums] = 0.0
        yield start, distances
