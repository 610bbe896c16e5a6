"""Differences between images of one scene graph."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np


def diversity_name(backbone: str) -> str:
    """The metric's name; `diversity_squeezenet` is not LPIPS, which has learned heads."""
    return f"diversity_{backbone}"


def sample_diversity(
    samples: np.ndarray, distance: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Mean distance over all pairs of samples of one scene graph.

    Args:
      samples: [B, S, H, W, 3] float32 in [-1, 1]; S samples of each of B graphs, S at least 2.
      distance: two arrays [B, H, W, 3] -> [B]; such as `losses.perceptual.PerceptualDistance`.

    Returns:
      [B] float64, one value per graph; 0 if all samples are equal.

    Raises:
      ValueError: if there are fewer than 2 samples per graph.
    """
    if samples.shape[1] < 2:
        raise ValueError(f"diversity needs at least 2 samples per graph, got {samples.shape[1]}")
    pairs = list(itertools.combinations(range(samples.shape[1]), 2))
    total = np.zeros(len(samples))  # [B]
    for first, second in pairs:
        total += np.asarray(distance(samples[:, first], samples[:, second]), np.float64)  # [B]
    return total / len(pairs)
