"""Groups of objects and of scenes, by what the true layout and the graph are like.

A system's average hides where it is good. All systems have the same groups: those of the true
boxes, whatever layout an image was drawn in.
"""

from __future__ import annotations

import numpy as np

from rgan_tf.metrics.boxes import isolated_mask, shared_share

_HEAVY = 0.5  # share of the smaller box
_FEW, _MANY = 3, 7  # objects of a scene
_THIRDS = (1 / 3, 2 / 3)


def object_groups(
    boxes: np.ndarray, objects: np.ndarray, triples: np.ndarray
) -> dict[str, np.ndarray]:
    """Masks of the objects in each group.

    `overlap_none`, `overlap_some` and `overlap_heavy` go by the largest share that the object's box
    has in common with another one (of the smaller of both boxes; heavy: more than a half);
    `objects_1_to_3`, `objects_4_to_6`, `objects_7_or_more` by their number in the scene; `isolated`
    are those in no relationship.

    Args:
      boxes: [B, O, 4] true boxes.
      objects: [B, O] category ids, 0 = padding.
      triples: [B, T, 3], -1 = padding.

    Returns:
      Name -> [B, O] bool, without padding.
    """
    present = np.asarray(objects) > 0  # [B, O]
    shared = largest_share(boxes, objects)  # [B, O]
    count = present.sum(axis=1, keepdims=True)  # [B, 1]
    groups = {
        "overlap_none": shared == 0,
        "overlap_some": (shared > 0) & (shared <= _HEAVY),
        "overlap_heavy": shared > _HEAVY,
        **{name: mask[:, None] for name, mask in _by_number(count[:, 0]).items()},
        "isolated": isolated_mask(objects, triples),
    }
    return {name: present & mask for name, mask in groups.items()}


def scene_groups(boxes: np.ndarray, objects: np.ndarray) -> dict[str, np.ndarray]:
    """Masks of the scenes in each group.

    By the number of objects as in `object_groups`, and by the mean of their largest shares:
    `overlap_low` up to a third, `overlap_middle`, `overlap_high` above two thirds.

    Args:
      boxes, objects: see `object_groups`.

    Returns:
      Name -> [B] bool.
    """
    present = np.asarray(objects) > 0  # [B, O]
    count = present.sum(axis=1)  # [B]
    mean = largest_share(boxes, objects).sum(axis=1) / np.maximum(count, 1)  # [B]
    low, high = _THIRDS
    return {
        "overlap_low": mean <= low,
        "overlap_middle": (mean > low) & (mean <= high),
        "overlap_high": mean > high,
        **_by_number(count),
    }


def largest_share(boxes: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """[B, O] float64: the largest share of a box in common with another one; 0 for padding."""
    present = np.asarray(objects) > 0  # [B, O]
    boxes = np.asarray(boxes)
    shared = shared_share(boxes[:, :, None], boxes[:, None])  # [B, O, O]
    pairs = present[:, :, None] & present[:, None] & ~np.eye(present.shape[1], dtype=bool)
    return np.where(pairs, shared, 0.0).max(axis=2)


def _by_number(count: np.ndarray) -> dict[str, np.ndarray]:
    return {
        f"objects_1_to_{_FEW}": count <= _FEW,
        f"objects_{_FEW + 1}_to_{_MANY - 1}": (count > _FEW) & (count < _MANY),
        f"objects_{_MANY}_or_more": count >= _MANY,
    }
