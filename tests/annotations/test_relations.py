from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.annotations.relations import geometric_relations, relation_between

SMALL = 0.01
MIRRORED = {"left of": "right of", "right of": "left of"}


def box_around(y, x, half=SMALL):
    return (y - half, x - half, y + half, x + half)


@pytest.mark.parametrize(
    "degrees, expected",
    [
        (0, "right of"),
        (44, "right of"),
        (-44, "right of"),
        (46, "below"),
        (90, "below"),
        (134, "below"),
        (136, "left of"),
        (180, "left of"),
        (-136, "left of"),
        (-134, "above"),
        (-90, "above"),
        (-46, "above"),
    ],
)
def test_direction_of_subject_from_object(degrees, expected):
    # y points down: 90 degrees is below.
    angle = math.radians(degrees)
    centre = (0.5 + 0.3 * math.sin(angle), 0.5 + 0.3 * math.cos(angle))
    assert (
        relation_between(box_around(*centre), centre, box_around(0.5, 0.5), (0.5, 0.5)) == expected
    )


@pytest.mark.parametrize(
    "y, x, expected",
    [
        (0.25, 0.75, "right of"),  # -45 degrees
        (0.75, 0.75, "below"),  # 45
        (0.75, 0.25, "left of"),  # 135
        (0.25, 0.25, "left of"),  # -135
        (0.5, 0.5, "right of"),  # equal centres
    ],
)
def test_diagonals_belong_to_one_side(y, x, expected):
    assert relation_between(box_around(y, x), (y, x), box_around(0.5, 0.5), (0.5, 0.5)) == expected


def test_containment_goes_before_direction_and_is_strict():
    outer, inner = (0.0, 0.0, 1.0, 1.0), (0.1, 0.7, 0.2, 0.8)
    outer_centre, inner_centre = (0.5, 0.5), (0.15, 0.75)
    assert relation_between(outer, outer_centre, inner, inner_centre) == "surrounding"
    assert relation_between(inner, inner_centre, outer, outer_centre) == "inside"
    touching = (0.0, 0.6, 0.1, 0.8)
    assert relation_between(touching, (0.05, 0.7), outer, outer_centre) == "above"


def test_centres_decide_not_boxes():
    left, right = (0.2, 0.0, 0.8, 0.6), (0.2, 0.4, 0.8, 1.0)
    assert relation_between(left, (0.5, 0.3), right, (0.5, 0.7)) == "left of"
    assert relation_between(left, (0.5, 0.7), right, (0.5, 0.3)) == "right of"


@st.composite
def scenes(draw):
    count = draw(st.integers(0, 8))
    edge = st.integers(0, 15)
    boxes = []
    for _ in range(count):
        y0, x0, height, width = (draw(edge) / 32 for _ in range(4))
        boxes.append((y0, x0, y0 + height + 1 / 32, x0 + width + 1 / 32))
    return boxes, [((y0 + y1) / 2, (x0 + x1) / 2) for y0, x0, y1, x1 in boxes]


@settings(max_examples=60)
@given(scenes(), st.integers(0, 2**31))
def test_every_object_takes_part_and_none_with_itself(scene, seed):
    boxes, centres = scene
    triples = geometric_relations(boxes, centres, np.random.default_rng(seed))
    assert triples == geometric_relations(boxes, centres, np.random.default_rng(seed))
    assert len(set(triples)) == len(triples) <= len(boxes)
    assert all(subject != target for subject, _, target in triples)
    involved = {end for subject, _, target in triples for end in (subject, target)}
    assert involved == (set(range(len(boxes))) if len(boxes) > 1 else set())
    for subject, predicate, target in triples:
        expected = relation_between(
            boxes[subject], centres[subject], boxes[target], centres[target]
        )
        assert predicate == expected


def test_roles_are_swapped_half_of_the_time_and_partners_are_uniform():
    boxes = [box_around(0.5, 0.1 + 0.2 * index) for index in range(4)]
    centres = [(0.5, 0.1 + 0.2 * index) for index in range(4)]
    rng = np.random.default_rng(0)
    pairs = np.zeros([4, 4])
    for _ in range(3000):
        for subject, _, target in geometric_relations(boxes, centres, rng):
            pairs[subject, target] += 1
    off_diagonal = pairs[~np.eye(4, dtype=bool)]
    # Each ordered pair comes up once in three as often as an object does: 3000 * 4 / 12, less
    # what two objects draw alike.
    assert off_diagonal.min() > 0.9 * off_diagonal.mean()
    assert off_diagonal.max() < 1.1 * off_diagonal.mean()
