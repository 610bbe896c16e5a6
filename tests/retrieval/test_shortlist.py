"""The few candidates that stand for many: the selection repeated on them chooses the same."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.retrieval.gumbel import GRADIENTS, gumbel_group_select, relaxed_group_select
from rgan_tf.retrieval.shortlist import (
    is_in_slots,
    likely_slots,
    nearest_slots,
    positions_in_slots,
    take_slots,
)


def tensors(graphs):
    return [tf.constant(part) for part in graphs]


@pytest.mark.parametrize("with_locks", [False, True])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_the_selection_on_the_shortlist_is_the_selection_on_all(
    make_graphs, temperature, count, with_locks
):
    features, valid, query, gumbel = tensors(make_graphs(1, batch=300, candidates=40))
    options = dict(scale=10.0, temperature=temperature)
    locked = None
    if with_locks:
        locked = np.random.default_rng(0).integers(-1, 40, valid.shape[:2]).astype(np.int32)
    everything = gumbel_group_select(features, valid, query, gumbel, **options, locked=locked)
    slots = likely_slots(features, valid, query, gumbel, count=count, **options, locked=locked)
    short = gumbel_group_select(
        take_slots(features, slots),
        take_slots(valid, slots),
        query,
        take_slots(gumbel, slots),
        **options,
        locked=positions_in_slots(locked, slots) if with_locks else None,
    )
    np.testing.assert_array_equal(short.order, everything.order)
    chosen = tf.gather(slots, tf.maximum(short.choice, 0), batch_dims=2)
    np.testing.assert_array_equal(tf.where(short.choice >= 0, chosen, -1), everything.choice)


def test_slots_differ_and_hold_the_largest_relaxed_weights(make_graphs):
    graphs = tensors(make_graphs(2, batch=50, candidates=20, padding=False))
    selection, relaxed = relaxed_group_select(*graphs, scale=3.0)
    slots = likely_slots(*graphs, scale=3.0, temperature=1.0, count=5).numpy()
    for row in range(50):
        for o in range(5):
            kept = set(slots[row, o].tolist())
            assert len(kept) == 5
            chosen = int(selection.choice[row, o])
            others = [k for k in np.argsort(-relaxed[row, o].numpy()) if k != chosen]
            assert kept == {chosen, *others[:4]}


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_relaxed_weights_are_those_of_the_soft_steps(plain_loop, make_graphs, gradient):
    graphs = make_graphs(3, batch=5, candidates=8)
    options = {"scale": 2.0, "temperature": 0.7, "gradient": gradient}
    selection, relaxed = relaxed_group_select(*tensors(graphs), **options)
    for row in range(5):
        plain = plain_loop(*(part[row] for part in graphs), **options)
        expected = sum(soft for _, soft in plain.steps)
        np.testing.assert_allclose(relaxed[row], expected, atol=1e-5)
        assert selection.choice[row].numpy().tolist() == plain.choice.tolist()


def test_padding_is_taken_last(make_graphs):
    features, valid, query, gumbel = make_graphs(4, batch=20, candidates=6)
    slots = likely_slots(
        *tensors((features, valid, query, gumbel)), count=4, scale=5.0, temperature=1.0
    )
    kept = take_slots(tf.constant(valid), slots).numpy()
    np.testing.assert_array_equal(kept.sum(axis=2), np.minimum(valid.sum(axis=2), 4))
    near = nearest_slots(tf.constant(features), tf.constant(valid), tf.constant(query), 4)
    kept = take_slots(tf.constant(valid), near).numpy()
    np.testing.assert_array_equal(kept.sum(axis=2), np.minimum(valid.sum(axis=2), 4))


def test_nearest_slots_are_the_nearest(make_graphs):
    features, valid, query, _ = make_graphs(5, batch=20, candidates=30)
    slots = nearest_slots(*tensors((features, valid, query)), 3).numpy()
    distance = np.linalg.norm(features - query[:, None, None], axis=-1)
    distance[~valid] = np.inf
    expected = np.sort(distance, axis=2)[:, :, :3]
    found = np.take_along_axis(distance, slots, axis=2)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_no_gradient_comes_back_through_the_choice_of_slots(make_graphs):
    inputs = tensors(make_graphs(6, batch=2))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        slots = likely_slots(*inputs, count=2, scale=1.0, temperature=1.0)
        loss = tf.reduce_sum(tf.cast(slots, tf.float32))
    assert tape.gradient(loss, inputs) == [None] * 4


def test_positions_and_membership_by_hand():
    slots = tf.constant([[[4, 1], [0, 2]]])
    assert positions_in_slots(tf.constant([[1, 3]]), slots).numpy().tolist() == [[1, -1]]
    assert positions_in_slots(tf.constant([[-1, 0]]), slots).numpy().tolist() == [[-1, 0]]
    expected = [[[0, 1, 0, 0, 1], [1, 0, 1, 0, 0]]]
    assert is_in_slots(slots, 5).numpy().astype(int).tolist() == expected
