"""The six geometric relationships, computed from boxes and centres as in sg2im."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def geometric_relations(
    boxes: Sequence[Sequence[float]],
    centres: Sequence[Sequence[float]],
    rng: np.random.Generator,
) -> list[tuple[int, str, int]]:
    """Relates every object to one other object, drawn at random, in a random direction.

    A relationship drawn twice is returned once.

    Args:
      boxes: [O] of (y0, x0, y1, x1).
      centres: [O] of (y, x), in the same unit; y points down.
      rng: the only source of randomness.

    Returns:
      At most O triples (subject, predicate name, object); none for fewer than two objects.
    """
    triples: list[tuple[int, str, int]] = []
    count = len(boxes)
    for current in range(count if count > 1 else 0):
        other = int(rng.integers(count - 1))
        other += other >= current  # every object but the current one
        subject, target = (current, other) if rng.random() > 0.5 else (other, current)
        predicate = relation_between(
            boxes[subject], centres[subject], boxes[target], centres[target]
        )
        if (subject, predicate, target) not in triples:
            triples.append((subject, predicate, target))
    return triples


def relation_between(
    subject_box: Sequence[float],
    subject_centre: Sequence[float],
    object_box: Sequence[float],
    object_centre: Sequence[float],
) -> str:
    """The predicate from subject to object; containment takes precedence over direction.

    Args:
      subject_box, object_box: (y0, x0, y1, x1).
      subject_centre, object_centre: (y, x).
    """
    if _strictly_contains(subject_box, object_box):
        return "surrounding"
    if _strictly_contains(object_box, subject_box):
        return "inside"
    angle = math.atan2(
        subject_centre[0] - object_centre[0],
        subject_centre[1] - object_centre[1],
    )
    if abs(angle) >= 3 * math.pi / 4:
        return "left of"
    if angle < -math.pi / 4:
        return "above"
    return "right of" if angle < math.pi / 4 else "below"


def _strictly_contains(outer: Sequence[float], inner: Sequence[float]) -> bool:
    return (
        outer[0] < inner[0] and outer[1] < inner[1] and outer[2] > inner[2] and outer[3] > inner[3]
    )
