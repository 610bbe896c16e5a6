"""Quality of predicted boxes: overlap with the truth, and the relationships they satisfy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rgan_tf.annotations.relations import relation_between
from rgan_tf.vocabulary import GEOMETRIC_PREDICATES, PADDING

_SMALL = 0.1  # of the image's area


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union.

    Args:
      first: [..., 4] [y0, x0, y1, x1].
      second: [..., 4].

    Returns:
      [...] float64 in [0, 1]; 0 if both boxes are empty.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    lower = np.maximum(first[..., :2], second[..., :2])  # [..., 2]
    upper = np.minimum(first[..., 2:], second[..., 2:])  # [..., 2]
    intersection = np.prod(np.maximum(upper - lower, 0.0), axis=-1)  # [...]
    union = _area(first) + _area(second) - intersection  # [...]
    return np.where(union > 0, intersection / np.where(union > 0, union, 1.0), 0.0)


def shared_share(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Share of the smaller box that both boxes cover.

    Args:
      first, second: [..., 4] [y0, x0, y1, x1], broadcastable.

    Returns:
      [...] float64 in [0, 1]; 0 if they only touch, or a box is empty.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(
        first[..., :2], second[..., :2]
    )
    both = np.prod(np.maximum(sides, 0.0), axis=-1)  # [...]
    smaller = np.minimum(_area(first), _area(second))  # [...]
    return np.divide(both, smaller, out=np.zeros_like(both), where=smaller > 0)


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
      ValueError: if there is no object.
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


def box_area_ratio(
    predicted: np.ndarray, target: np.ndarray, object_mask: np.ndarray
) -> dict[str, float | None]:
    """Compares the sizes of predicted and true boxes.

    Overlap alone does not show them: if a predictor cannot know the place, an oversized box
    overlaps more on average, and its object is drawn too large.

    Args:
      predicted: [B, O, 4] [y0, x0, y1, x1].
      target: [B, O, 4].
      object_mask: [B, O] bool, False = padding.

    Returns:
      `box_area_ratio`, sum of predicted areas over sum of true ones, and `box_area_ratio_small`,
      over objects that cover less than a tenth of their image; None if there is no area.
    """
    mask = np.asarray(object_mask, bool)
    areas, true_areas = _area(np.asarray(predicted))[mask], _area(np.asarray(target))[mask]
    ratios: dict[str, float | None] = {}
    for name, part in (
        ("box_area_ratio", np.full(len(areas), True)),
        ("box_area_ratio_small", true_areas < _SMALL),
    ):
        total = true_areas[part].sum()
        ratios[name] = float(areas[part].sum() / total) if total > 0 else None
    return ratios


def isolated_mask(objects: np.ndarray, triples: np.ndarray) -> np.ndarray:
    """Objects whose only relation is to the image, so the graph does not determine their place.

    Args:
      objects: [B, O] category ids, 0 = padding.
      triples: [B, T, 3] (subject, predicate id, object); padded rows are -1.

    Returns:
      [B, O] bool, False for padding.
    """
    objects, triples = np.asarray(objects), np.asarray(triples)
    related = np.zeros(objects.shape, bool)  # [B, O]
    rows, columns = np.nonzero((triples >= 0).all(axis=-1))
    for end in (0, 2):
        related[rows, triples[rows, columns, end]] = True
    return (objects != PADDING) & ~related


def isolated_box_metrics(
    predicted: np.ndarray, target: np.ndarray, isolated: np.ndarray
) -> dict[str, float | int | None]:
    """Mean overlap over the isolated objects of all images.

    Args:
      predicted: [B, O, 4] [y0, x0, y1, x1].
      target: [B, O, 4].
      isolated: [B, O] bool, from `isolated_mask`.

    Returns:
      `box_iou_isolated`, None if there is no such object, and `box_count_isolated`.
    """
    overlap = box_iou(predicted, target)[np.asarray(isolated, bool)]  # [objects]
    return {
        "box_iou_isolated": float(overlap.mean()) if overlap.size else None,
        "box_count_isolated": int(overlap.size),
    }


def box_collision(
    predicted: np.ndarray, target: np.ndarray, objects: np.ndarray
) -> dict[str, float | int | None]:
    """Share of pairs of the same category that are wrongly predicted on top of each other.

    Args:
      predicted: [B, O, 4] [y0, x0, y1, x1].
      target: [B, O, 4].
      objects: [B, O] category ids, 0 = padding.

    Returns:
      `box_collision` in [0, 1], the share of all pairs of objects of one category in one image
      whose predicted boxes overlap by more than 0.9 while the true ones do not, None without a
      pair; `box_pair_count`.
    """
    objects = np.asarray(objects)
    pairs = (objects[:, :, None] == objects[:, None]) & (objects != PADDING)[:, None]  # [B, O, O]
    image, first, second = np.nonzero(np.triu(pairs, k=1))
    over, truly_over = (
        box_iou(boxes[image, first], boxes[image, second]) > 0.9
        for boxes in (np.asarray(predicted), np.asarray(target))
    )  # [pairs] each
    return {
        "box_collision": float((over & ~truly_over).mean()) if len(image) else None,
        "box_pair_count": len(image),
    }


def relation_score(
    boxes: np.ndarray, triples: np.ndarray, predicates: Sequence[str]
) -> dict[str, float | int | None]:
    """Share of the geometric relationships that hold between the boxes.

    The rule is that which made the relationships (`data.relations.relation_between`), with box
    centres in place of mask centres, which predicted boxes lack; so true boxes reach slightly less
    than 1. Other relationships are not counted.

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
