"""Compatibility of retrieved patches, from ids, styles and vectors, in plain numpy."""

from __future__ import annotations

import numpy as np


def style_agreement(styles: np.ndarray, mask: np.ndarray) -> float:
    """Share of pairs of selected patches within a scene that have the same style.

    Args:
      styles: [G, O], the style of each selected patch (strings or integers).
      mask: [G, O] bool, False without a selected patch.

    Returns:
      In [0, 1], over all pairs of all scenes; NaN without a pair.
    """
    styles, mask = _checked(styles, mask)
    pairs = _pairs(mask)  # [G, O, O]
    return _mean((styles[:, :, None] == styles[:, None])[pairs])


def locked_style_match(styles: np.ndarray, mask: np.ndarray, locked: np.ndarray) -> float:
    """Share of the other patches that have the style of the scene's locked patch.

    Args:
      styles: [G, O], the style of each selected patch, including the locked one.
      mask: [G, O] bool, False without a selected patch.
      locked: [G] integers, the object whose patch was locked; -1 leaves the scene out.

    Returns:
      In [0, 1], over all other patches of all scenes; NaN without one.
    """
    styles, mask = _checked(styles, mask)
    locked = np.asarray(locked)
    scenes = np.arange(len(styles))
    wanted = styles[scenes, np.maximum(locked, 0)]  # [G]
    others = mask & (np.arange(styles.shape[1]) != locked[:, None]) & (locked >= 0)[:, None]
    return _mean((styles == wanted[:, None])[others])


def ground_truth_recall_at_1(
    scores: np.ndarray, valid: np.ndarray, ground_truth: np.ndarray, mask: np.ndarray
) -> float:
    """How often the object's own patch scores strictly above all other candidates of its group.

    Args:
      scores: [G, O, K] float, higher is better (for instance the negative distance to a query).
      valid: [G, O, K] bool.
      ground_truth: [G, O] integers, the slot of the object's own patch; it must be valid.
      mask: [G, O] bool, the objects to count: real ones, except the one that gave the query.

    Returns:
      In [0, 1]; NaN without an object to count. A tie counts as a miss, so that a constant score
      earns nothing.

    Raises:
      ValueError: if a counted object's own patch is not valid.
    """
    scores, valid = np.asarray(scores, np.float64), np.asarray(valid, bool)
    ground_truth, mask = np.asarray(ground_truth)[..., None], np.asarray(mask, bool)
    slots = np.maximum(ground_truth, 0)  # [G, O, 1]
    has_own = np.take_along_axis(valid, slots, axis=2)[..., 0] & (ground_truth[..., 0] >= 0)
    if (mask & ~has_own).any():
        scene, item = np.argwhere(mask & ~has_own)[0]
        raise ValueError(f"scene {scene}, object {item}: its own patch is not a valid candidate")
    own = np.take_along_axis(scores, slots, axis=2)  # [G, O, 1]
    rivals = valid & (np.arange(scores.shape[2]) != ground_truth)  # [G, O, K]
    wins = ~(rivals & (scores >= own)).any(axis=2)  # [G, O]
    return _mean(wins[mask])


def cooccurrence_distance(vectors: np.ndarray, mask: np.ndarray) -> float:
    """Mean distance between the selected patches of a scene in the co-occurrence space.

    Args:
      vectors: [G, O, D] float, the co-occurrence embedding of each selected patch.
      mask: [G, O] bool, False without a selected patch.

    Returns:
      The l2 distance over all pairs of all scenes; NaN without a pair.
    """
    vectors = np.asarray(vectors, np.float64)
    mask = np.asarray(mask, bool)
    distances = np.linalg.norm(vectors[:, :, None] - vectors[:, None], axis=-1)  # [G, O, O]
    return _mean(distances[_pairs(mask)])


def _pairs(mask: np.ndarray) -> np.ndarray:
    """Each unordered pair of selected patches once: [G, O, O] bool."""
    upper = np.triu(np.ones([mask.shape[1]] * 2, bool), k=1)
    return mask[:, :, None] & mask[:, None] & upper


def _checked(styles, mask) -> tuple[np.ndarray, np.ndarray]:
    styles, mask = np.asarray(styles), np.asarray(mask, bool)
    if styles.ndim != 2 or styles.shape != mask.shape:
        raise ValueError(f"styles {styles.shape} and mask {mask.shape} must both be [G, O]")
    return styles, mask


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if values.size else float("nan")
