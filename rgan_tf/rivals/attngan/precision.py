"""R-precision: how often an image's own text is the nearest of many, the usual check of DAMSM."""

from __future__ import annotations

import numpy as np


def r_precision(
    images: np.ndarray, sentences: np.ndarray, keys: np.ndarray, *, pool: int = 100, seed: int = 0
) -> np.ndarray:
    """Whether each image's own text ranks first, by the cosine of global vectors.

    Args:
      images: [N, D] float, of whole images.
      sentences: [N, D] float, of their texts.
      keys: [N, K] integers, equal for two rows with the same text, which is in a pool once at most.
      pool: texts to choose from, the own one included.
      seed: of the draw of the others.

    Returns:
      [N] float32: 1 or 0, or NaN where there are fewer than `pool` - 1 other texts. Ties lose.

    Raises:
      ValueError: if `pool` is below 2.
    """
    if pool < 2:
        raise ValueError(f"pool must be at least 2, got {pool}")
    unit = [
        values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
        for values in (images, sentences)
    ]  # [N, D] each
    _, first, text = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    text = text.reshape(-1)  # [N]
    first = np.sort(first)  # a row of each text
    generator = np.random.default_rng(seed)
    hits = np.full(len(images), np.nan, np.float32)
    for row in range(len(images)):
        others = first[text[first] != text[row]]
        if len(others) < pool - 1:
            continue
        others = generator.choice(others, pool - 1, replace=False)
        scores = unit[1][others] @ unit[0][row]  # [pool - 1]
        hits[row] = float(unit[1][row] @ unit[0][row] > scores.max())
    return hits


def by_number_of_triples(hits: np.ndarray, triples: np.ndarray) -> dict[str, float]:
    """The share of hits [N] per number of triples [N], without rows that have none."""
    known = ~np.isnan(hits)
    return {
        str(count): round(float(hits[known & (triples == count)].mean()), 4)
        for count in np.unique(triples[known])
    }
