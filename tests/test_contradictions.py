"""Relationships that cannot be true together are found, and no others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgan_tf.annotations.relations import relation_between
from rgan_tf.contradictions import contradictions
from rgan_tf.scene_graph import parse_scene_graph

BOXES = [[0.0, 0.0, 0.4, 0.4], [0.6, 0.6, 1.0, 1.0], [0.1, 0.1, 0.2, 0.2], None]


def found(relationships, boxes=None):
    value = {"objects": ["sky", "tree", "cow", "man"], "relationships": relationships}
    return contradictions(parse_scene_graph({**value, "boxes": boxes}))


@pytest.mark.parametrize(
    "relationships",
    [
        [[0, "left of", 1], [0, "right of", 1]],
        [[0, "left of", 1], [1, "left of", 0]],
        [[0, "right of", 1], [1, "right of", 0]],
        [[0, "above", 1], [0, "below", 1]],
        [[0, "above", 1], [1, "above", 0]],
        [[0, "inside", 1], [0, "surrounding", 1]],
        [[0, "inside", 1], [1, "inside", 0]],
        [[0, "above", 1], [1, "above", 2], [2, "above", 0]],
        [[0, "above", 1], [2, "below", 1], [2, "above", 0]],
        [[0, "inside", 1], [2, "surrounding", 1], [3, "surrounding", 2], [0, "surrounding", 3]],
        [[0, "on", 1], [1, "on", 0]],
        [[0, "behind", 1], [0, "in front of", 1]],
        [[0, "under", 1], [0, "over", 1]],
    ],
)
def test_a_circle_is_one_contradiction_with_all_its_relationships(relationships):
    extra = [[3, "left of", 2], [3, "above", 2]]
    (one,) = found(relationships + extra)
    assert sorted(one.relationships) == sorted(map(tuple, relationships))
    assert one.to_json() == {"relationships": [*map(list, one.relationships)], "boxes": False}


@pytest.mark.parametrize(
    "relationships",
    [
        [],
        [[0, "left of", 1], [1, "right of", 0]],  # the same said twice
        [[0, "left of", 1], [0, "above", 1], [0, "inside", 1]],
        [[0, "above", 1], [1, "above", 2], [0, "above", 2]],
        [[0, "on", 1], [1, "under", 0]],
        [[0, "near", 1], [1, "near", 0]],
        [[0, "holding", 1], [1, "holding", 0]],
    ],
)
def test_what_can_be_true_together_is_not_told(relationships):
    assert found(relationships) == []


def test_every_contradiction_is_told_also_where_they_meet():
    rows = [[0, "left of", 1], [1, "left of", 0], [1, "left of", 2], [1, "right of", 2]]
    circles = {frozenset(one.relationships) for one in found(rows)}
    assert circles == {frozenset(map(tuple, rows[:2])), frozenset(map(tuple, rows[2:]))}


def test_in_words():
    (one,) = found([[0, "left of", 1], [0, "right of", 1]])
    text = one.text(("sky", "tree"))
    assert text == "sky (0) left of tree (1), sky (0) right of tree (1): not all can be true"


@pytest.mark.parametrize(
    ("relationship", "is_told"),
    [
        ([0, "left of", 1], False),
        ([1, "left of", 0], True),
        ([0, "right of", 1], True),
        ([1, "above", 0], True),
        ([2, "inside", 0], False),
        ([0, "inside", 2], True),
        ([2, "inside", 1], True),
        ([0, "surrounding", 2], False),
        ([3, "left of", 0], False),  # no box is given
        ([1, "on", 0], False),
    ],
)
def test_boxes_that_say_otherwise(relationship, is_told):
    told = found([relationship], BOXES)
    assert [one.to_json() for one in told] == (
        [{"relationships": [relationship], "boxes": True}] if is_told else []
    )


_edges = st.integers(0, 30).map(lambda start: start / 64)
_sides = st.integers(2, 30).map(lambda side: side / 64)


@given(st.lists(st.tuples(_edges, _edges, _sides, _sides), min_size=4, max_size=4))
def test_relationships_of_real_boxes_contradict_neither_each_other_nor_the_boxes(corners):
    boxes = [[x, y, x + w, y + h] for x, y, w, h in corners]
    flipped = [(y0, x0, y1, x1) for x0, y0, x1, y1 in boxes]
    centres = [((y0 + y1) / 2, (x0 + x1) / 2) for y0, x0, y1, x1 in flipped]
    rows = [
        [s, relation_between(flipped[s], centres[s], flipped[t], centres[t]), t]
        for s in range(4)
        for t in range(4)
        if s != t
    ]
    same_place = {(s, t) for s in range(4) for t in range(4) if s != t and centres[s] == centres[t]}
    rows = [row for row in rows if (row[0], row[2]) not in same_place]
    assert found(rows, boxes) == []
