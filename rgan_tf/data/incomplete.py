"""Scenes without some of their objects, so that a model learns places that no box covers."""

from __future__ import annotations

import numpy as np

_KEPT = 0.5  # share of the objects that an incomplete scene keeps, on average


def objects_to_keep(rng: np.random.Generator, objects: np.ndarray, share: float) -> np.ndarray:
    """Draws which objects the scenes of a batch keep.

    Args:
      rng: of the batch.
      objects: [B, O] int, category ids, 0 for none.
      share: of the scenes that lose objects, in [0, 1].

    Returns:
      [B, O] bool; every scene keeps at least one of its objects.
    """
    complete = rng.random(len(objects)) >= share  # [B]
    order = rng.random(objects.shape)  # [B, O]
    present = objects > 0
    order = np.where(present, order, 2.0)
    kept = (order < _KEPT) | (order == order.min(axis=1, keepdims=True))
    return present & (kept | complete[:, None])


def without_objects(
    objects: np.ndarray,
    boxes: np.ndarray,
    triples: np.ndarray,
    patch_rows: np.ndarray,
    kept: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Takes objects and their relationships out of scenes; the others keep their order.

    Args:
      objects: [B, O] int32, 0 for none.
      boxes: [B, O, 4] float32.
      triples: [B, T, 3] int32, -1 for none.
      patch_rows: [B, O] int32, -1 for none.
      kept: [B, O] bool.

    Returns:
      The same four, as new arrays, with what is left in the first places.

    Example:
      >>> arrays = without_objects(
      ...     np.array([[4, 5, 6]]), np.ones([1, 3, 4]), np.array([[[0, 1, 2], [1, 0, 2]]]),
      ...     np.array([[7, 8, 9]]), np.array([[True, False, True]]))
      >>> arrays[0].tolist(), arrays[2].tolist()
      ([[4, 6, 0]], [[[0, 1, 1], [-1, -1, -1]]])
    """
    order = np.argsort(~kept, axis=1, kind="stable")  # [B, O], kept ones first
    left = np.take_along_axis(kept, order, axis=1)  # [B, O]
    objects = np.where(left, np.take_along_axis(objects, order, axis=1), 0)
    boxes = np.where(left[..., None], np.take_along_axis(boxes, order[..., None], axis=1), 0)
    patch_rows = np.where(left, np.take_along_axis(patch_rows, order, axis=1), -1)
    places = np.where(kept, np.argsort(order, axis=1), -1)  # [B, O], by the old number
    ends = np.where(triples >= 0, triples, 0)  # [B, T, 3]
    subjects = np.take_along_axis(places, ends[..., 0], axis=1)  # [B, T]
    targets = np.take_along_axis(places, ends[..., 2], axis=1)  # [B, T]
    holds = (triples[..., 1] >= 0) & (subjects >= 0) & (targets >= 0)  # [B, T]
    renumbered = np.stack([subjects, triples[..., 1], targets], axis=-1)
    renumbered = np.where(holds[..., None], renumbered, -1).astype(triples.dtype)
    first = np.argsort(~holds, axis=1, kind="stable")[..., None]
    triples = np.take_along_axis(renumbered, first, axis=1)
    return objects, boxes.astype(np.float32), triples, patch_rows
