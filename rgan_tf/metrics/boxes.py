"""How good predicted boxes are: overlap with the truth, and the relationships they satisfy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rgan_tf.data.relations import relation_between
from rgan_tf.vocabulary import GEOMETRIC_PREDICATES


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union.

    Args:
      first: [..., 4] [y0, x0, y1, x1].
      second: [..., 4].

    Returns:
      [...] float64 in [0, 1]; 0 where both boxes are empty.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    lower = np.maximum(first[..., :2], second[..., :2])  # [..., 2]
    upper = np.minimum(first[..., 2:], second[..., 2:])  # [..., 2]
    intersection = np.prod(np.maximum(upper - lower, 0.0), axis=-1)  # [...]
    union = _area(first) + _area(second) - intersection  # [...]
    return np.where(union > 0, intersection / np.where(union > 0, union, 1.0), 0.0)


def box_metrics(
    predicted: np.ndarray, target: np.ndarray, object_mask: np.ndarray
) -> dict[str, float]:
    """Mean overlap and recall over all objects of all images.

    Args:
      predicted: [B, O, 4] [y0, x0, y1, x1].
      target: [B, O, 4].
      object_mask: [B, O] bool, False = padding.

    Returns:
      `box_iou`, `box_recall_30` and `box_recall_50` (shares of objects whose overlap is at least
      0.3 and 0.5) and `box_count`, the number of objects.

    Raises:
      ValueError: if no object is there.
    """
    overlap = box_iou(predicted, target)[np.asarray(object_mask, bool)]  # [objects]
    if not overlap.size:
        raise ValueError("box metrics need at least one object, got none")
    return {
        "box_iou": float(overlap.mean()),
        "box_recall_30": float((overlap >= 0.3).mean()),
        "box_recall_50": float((overlap >= 0.5).mean()),
        "box_count": int(overlap.size),
    }


def relation_score(
    boxes: np.ndarray, triples: np.ndarray, predicates: Sequence[str]
) -> dict[str, float | int | None]:
    """Share of the geometric relationships that hold between the boxes.

    The rule is the one that made the relationships (`data.relations.relation_between`), with box
    centres in place of the centres of masks, which a predicted box does not have; so true boxes
    reach a little less than 1. Relationships of other kinds are not counted.

    Args:
      boxes: [B, O, 4] [y0, x0, y1, x1].
      triples: [B, T, 3] (subject, predicate id, object); padded rows are -1.
      predicates: name of every predicate id.

    Returns:
      `relation_score` in [0, 1], None if there was nothing to count; `relation_count`.
    """
    boxes = np.asarray(boxes, np.float64)
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2  # [B, O, 2]
    satisfied = counted = 0
    for image_boxes, image_centres, image_triples in zip(boxes, centres, triples, strict=True):
        for subject, predicate, target in np.asarray(image_triples).tolist():
            if predicate < 0 or predicates[predicate] not in GEOMETRIC_PREDICATES:
                continue
            counted += 1
            satisfied += predicates[predicate] == relation_between(
                image_boxes[subject],
                image_centres[subject],
                image_boxes[target],
                image_centres[target],
            )
    score = satisfied / counted if counted else None
    return {"relation_score": score, "relation_count": counted}


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)
