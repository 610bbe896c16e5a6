"""Interchangeable objects are those that a swap leaves in the same graph; their boxes go by x."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.graph.encoder import SceneGraphEncoder
from rgan_tf.graph.interchangeable import (
    instances,
    interchangeable,
    match_interchangeable,
)

NONE = (-1, -1, -1)
PLACES, ROWS = 6, 5
# Compiled, as hundreds of small graphs go through them.
MATCH, GROUPS = tf.function(match_interchangeable), tf.function(interchangeable)
ENCODER = SceneGraphEncoder(num_objects=10, num_predicates=4, width=8, hidden=8, layers=3)


def box(centre, y=0.5, half=0.1):
    return (y - half, centre - half, y + half, centre + half)


@st.composite
def graphs(draw):
    """One graph of few categories and predicates, so that look-alikes are frequent."""
    count = draw(st.integers(0, PLACES))
    objects = draw(st.lists(st.integers(2, 3), min_size=count, max_size=count))
    place = st.integers(0, max(count - 1, 0))
    triple = st.tuples(place, st.integers(1, 2), place)
    triples = draw(st.lists(triple, max_size=ROWS if count else 0))
    boxes = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).uniform(size=[PLACES, 4])
    return padded(objects, triples), boxes.astype(np.float32)[None]


def padded(objects, triples, places=PLACES, rows=ROWS):
    return (
        np.array([list(objects) + [0] * (places - len(objects))], np.int32),
        np.array([list(triples) + [NONE] * (rows - len(triples))], np.int32),
    )


def swapped(triples, first, second):
    """The same triples of the graph in which two objects have changed places."""
    names = {first: second, second: first}
    return [(names.get(s, s), p, names.get(o, o)) for s, p, o in triples]


def test_isolated_look_alikes_by_hand():
    # Objects 1 and 3 are isolated and alike; 0 is alike, but related; 4 is padding.
    objects, triples = padded([7, 7, 5, 7], [(0, 1, 2)], places=5)
    np.testing.assert_array_equal(
        instances(objects, triples), [[[0, 1], [0, 2], [0, 1], [1, 2], [0, 1]]]
    )
    expected = np.eye(5, dtype=bool)
    expected[1, 3] = expected[3, 1] = True
    np.testing.assert_array_equal(interchangeable(objects, triples)[0], expected)


@pytest.mark.parametrize(
    ("triples", "alike"),
    [
        ([(0, 1, 2), (1, 1, 2)], True),  # both left of the same object
        ([(1, 1, 2), (0, 1, 2)], True),  # in another order
        ([(2, 1, 0), (2, 1, 1)], True),
        ([(0, 1, 2), (1, 1, 2), (3, 2, 0), (3, 2, 1)], True),
        ([(0, 1, 2)], False),  # one of them only
        ([(0, 1, 2), (1, 2, 2)], False),  # another predicate
        ([(0, 1, 2), (2, 1, 1)], False),  # another role
        ([(0, 1, 2), (1, 1, 3)], False),  # another object, although of the same category
        ([(0, 1, 2), (0, 1, 2), (1, 1, 2)], False),  # twice and once
        ([(0, 1, 1)], False),  # related to each other, in one direction
        ([(0, 1, 1), (1, 1, 0)], False),  # a swap too, but the rule is content to miss it
        ([(0, 1, 2), (1, 1, 2), (0, 1, 5)], True),  # the last one touches padding
        ([(0, 1, 2), (1, 1, 2), (-1, 1, 0)], True),  # half a triple is padding
    ],
)
def test_related_look_alikes_by_hand(triples, alike):
    objects, triples = padded([7, 7, 5, 5], triples)
    assert interchangeable(objects, triples).numpy()[0, 0, 1] == alike


def test_other_categories_are_never_alike():
    objects, triples = padded([7, 8], [])
    np.testing.assert_array_equal(instances(objects, triples)[..., 1], np.ones([1, PLACES]))


def test_boxes_go_from_left_to_right_within_their_group_only():
    objects, triples = padded([7, 5, 7, 7, 5, 4], [(4, 1, 5)])
    boxes = np.array([[box(0.8), box(0.7), box(0.2), box(0.5), box(0.3), box(0.1)]], np.float32)
    matched = match_interchangeable(boxes, objects, triples)
    np.testing.assert_array_equal(matched, boxes[:, [2, 1, 3, 0, 4, 5]])


def test_ties_go_by_the_vertical_centre_then_by_the_coordinates():
    objects, triples = padded([7, 7, 7, 7], [])
    high, large = box(0.5, y=0.25, half=0.125), box(0.5, y=0.25, half=0.25)  # of one centre
    low = (0.0, 0.375, 1.0, 0.625)  # begins with `large` and is centred below it
    boxes = np.array([[low, high, large, low, NONE + (0,), NONE + (0,)]], np.float32)
    matched = match_interchangeable(boxes, objects, triples)
    np.testing.assert_array_equal(matched[0, :4], np.float32([large, high, low, low]))


@settings(max_examples=100)
@given(graphs())
def test_the_groups_are_those_of_equal_relations_and_a_swap_changes_nothing(example):
    (objects, triples), _ = example
    rows = [tuple(row) for row in triples[0].tolist() if row[0] >= 0]
    found = GROUPS(objects, triples).numpy()[0]

    def relations(index):
        ends = [(0, p, o) for s, p, o in rows if s == index]
        return Counter(ends + [(1, p, s) for s, p, o in rows if o == index])

    for first in range(PLACES):
        for second in range(PLACES):
            alike = objects[0, first] == objects[0, second] != 0
            alike = alike and relations(first) == relations(second)
            assert found[first, second] == (alike or first == second)
            if found[first, second]:
                assert Counter(swapped(rows, first, second)) == Counter(rows)


@settings(max_examples=100)
@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_look_alikes_in_the_annotation_changes_no_target(example, random):
    (objects, triples), boxes = example
    groups = GROUPS(objects, triples).numpy()[0]
    order = np.arange(PLACES)
    for members in {tuple(np.nonzero(row)[0]) for row in groups}:
        order[list(members)] = random.sample(members, len(members))
    expected = MATCH(boxes, objects, triples).numpy()
    np.testing.assert_array_equal(MATCH(boxes[:, order], objects, triples), expected)
    # Every group keeps its boxes, and who is alone keeps the own one.
    alone = groups.sum(axis=1) == 1
    np.testing.assert_array_equal(expected[0, alone], boxes[0, alone])
    assert sorted(map(tuple, expected[0])) == sorted(map(tuple, boxes[0]))


@settings(max_examples=30)
@given(graphs())
def test_ranks_count_from_zero_in_the_order_of_the_list(example):
    (objects, triples), _ = example
    groups = GROUPS(objects, triples).numpy()[0]
    ranks, counts = np.moveaxis(instances(objects, triples).numpy()[0], -1, 0)
    for row in groups:
        members = np.nonzero(row)[0]
        assert ranks[members].tolist() == list(range(len(members)))
        assert set(counts[members]) == {len(members)}


@settings(max_examples=20)
@given(graphs(), st.integers(0, 3), st.integers(0, 3))
def test_padding_has_no_influence(example, places, rows):
    (objects, triples), boxes = example
    wide = (
        np.pad(objects, [(0, 0), (0, places)]),
        np.pad(triples, [(0, 0), (0, rows), (0, 0)], constant_values=-1),
    )
    plain, padded_places = instances(objects, triples), instances(*wide).numpy()
    np.testing.assert_array_equal(padded_places[:, :PLACES], plain)
    np.testing.assert_array_equal(padded_places[:, PLACES:], np.tile([0, 1], [1, places, 1]))
    np.testing.assert_array_equal(
        match_interchangeable(np.pad(boxes, [(0, 0), (0, places), (0, 0)]), *wide)[:, :PLACES],
        match_interchangeable(boxes, objects, triples),
    )


def test_nan_in_the_padding_stays_there():
    objects, triples = padded([7, 7], [])
    boxes = np.full([1, PLACES, 4], np.nan, np.float32)
    boxes[0, :2] = [box(0.7), box(0.3)]
    matched = match_interchangeable(boxes, objects, triples).numpy()
    np.testing.assert_array_equal(matched[0, :2], boxes[0, [1, 0]])
    assert np.isnan(matched[0, 2:]).all()


@settings(max_examples=15)
@given(graphs())
def test_the_encoder_gives_interchangeable_objects_one_vector(example):
    (objects, triples), _ = example
    vectors = ENCODER({"objects": objects, "triples": triples}).object_vectors.numpy()[0]
    for first, second in np.argwhere(GROUPS(objects, triples).numpy()[0]):
        np.testing.assert_allclose(vectors[first], vectors[second], rtol=1e-4, atol=1e-5)


def test_the_encoder_tells_the_others_apart():
    objects, triples = padded([7, 7, 5, 5], [(0, 1, 2), (1, 1, 3), (2, 2, 3)])
    vectors = ENCODER({"objects": objects, "triples": triples}).object_vectors.numpy()[0]
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


@pytest.mark.parametrize("jit_compile", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_runs_compiled_with_an_unknown_batch_size(jit_compile):
    @tf.function(
        jit_compile=jit_compile,
        input_signature=[
            tf.TensorSpec([None, 3, 4], tf.float32),
            tf.TensorSpec([None, 3], tf.int32),
            tf.TensorSpec([None, 2, 3], tf.int32),
        ],
    )
    def both(boxes, objects, triples):
        places = instances(objects, triples)
        assert places.shape.as_list() == [None, 3, 2]
        return match_interchangeable(boxes, objects, triples), places

    boxes = np.array([[box(0.8), box(0.2), box(0.5)], [box(0.7), box(0.6), box(0.5)]], np.float32)
    objects = np.array([[7, 7, 7], [7, 7, 0]], np.int32)
    triples = np.array([[(0, 1, 1), NONE], [NONE, NONE]], np.int32)
    matched, places = both(boxes, objects, triples)
    np.testing.assert_array_equal(matched[0], boxes[0])
    np.testing.assert_array_equal(matched[1], boxes[1, [1, 0, 2]])
    np.testing.assert_array_equal(places[1], [[0, 2], [1, 2], [0, 1]])
