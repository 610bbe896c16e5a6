from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.losses.basic import (
    auxiliary_loss,
    box_loss,
    box_overlap_loss,
    mean_over_objects,
    reconstruction_loss,
)
from rgan_tf.metrics.boxes import box_iou

MASK = tf.constant([[True, True, False], [True, False, False], [False, False, False]])


def test_mean_over_objects_by_hand_and_with_nan_in_the_padding():
    values = tf.constant([[1.0, 3.0, np.nan], [5.0, np.inf, 7.0], [9.0, 9.0, 9.0]])
    np.testing.assert_array_equal(mean_over_objects(values, MASK), [2.0, 5.0, 0.0])


def test_padding_gets_no_gradient():
    values = tf.Variable([[1.0, 3.0, 4.0], [5.0, 6.0, 7.0], [9.0, 9.0, 9.0]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(mean_over_objects(values, MASK))
    expected = [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    np.testing.assert_array_equal(tape.gradient(total, values), expected)


def test_reconstruction_loss_by_hand():
    images = tf.stack([tf.fill([2, 2, 3], 0.5), tf.fill([2, 2, 3], -1.0)])
    target = tf.stack([tf.fill([2, 2, 3], 0.0), tf.fill([2, 2, 3], 1.0)])
    np.testing.assert_allclose(reconstruction_loss(images, target), [0.5, 2.0])


def test_box_loss_by_hand():
    target = tf.zeros([3, 3, 4])
    boxes = tf.constant([[[0.4, 0, 0, 0], [0.8, 0.8, 0, 0], [9, 9, 9, 9]]], tf.float32)
    boxes = tf.repeat(boxes, 3, axis=0)
    np.testing.assert_allclose(box_loss(boxes, target, MASK), [0.25, 0.1, 0.0], rtol=1e-6)


QUARTER = [0.0, 0.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (QUARTER, 0.0),
        ([0.0, 0.0, 1.0, 1.0], 0.75),  # IoU 1/4, the hull is full
        ([0.0, 0.25, 0.5, 0.75], 2 / 3),  # IoU 1/3, the hull is full
        ([0.0, 0.5, 0.5, 1.0], 1.0),  # side by side: IoU 0, the hull is full
        ([0.5, 0.5, 1.0, 1.0], 1.5),  # in the other corner: half of the hull is empty
        ([0.25, 0.25, 0.75, 0.75], 1 - 1 / 7 + 1 / 4.5),
        ([0.5, 0.5, 0.0, 0.0], 1.0),  # inverted: empty, within the hull
        ([1.0, 1.0, 1.0, 1.0], 1.75),  # a point
    ],
)
def test_box_overlap_loss_by_hand(box, expected):
    mask = tf.ones([1, 1], bool)
    for pair in ((box, QUARTER), (QUARTER, box)):
        value = box_overlap_loss(*[tf.constant([[each]]) for each in pair], mask)
        np.testing.assert_allclose(value, [expected], rtol=1e-6, atol=1e-7)


def test_box_overlap_loss_is_the_mean_over_the_objects_that_are_there():
    target = tf.constant([[QUARTER] * 3] * 3)
    boxes = tf.constant([[QUARTER, [0.5, 0.5, 1.0, 1.0], [np.nan] * 4]] * 3)
    np.testing.assert_allclose(box_overlap_loss(boxes, target, MASK), [0.75, 0.0, 0.0], rtol=1e-6)


def test_box_overlap_loss_has_a_finite_value_and_gradient_for_any_boxes():
    # Degenerate, inverted and touching boxes in all combinations that chance makes of these.
    coordinates = [0.0, 1e-30, 1e-12, 1e-6, 1e-3, 0.25, 0.5, 1.0]
    boxes = np.random.default_rng(0).choice(coordinates, [2, 20_000, 1, 4])
    box, target = tf.constant(boxes[0], tf.float32), tf.constant(boxes[1], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(box)
        values = box_overlap_loss(box, target, tf.ones([20_000, 1], bool))
    assert -1e-5 <= values.numpy().min() and values.numpy().max() <= 2.0 + 1e-5
    assert np.all(np.isfinite(tape.gradient(values, box)))


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_box_overlap_loss_is_at_least_one_minus_iou_and_equal_for_nested_boxes(seed):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(size=[2, 1, 5, 2, 2]), axis=-2)
    box, target = corners.reshape([2, 1, 5, 4]).astype(np.float32)
    mask = tf.ones([1, 5], bool)
    one_minus_iou = 1.0 - box_iou(box, target).mean()
    assert box_overlap_loss(box, target, mask)[0] >= one_minus_iou - 1e-5
    inner = np.concatenate([0.75 * box[..., :2] + 0.25 * box[..., 2:], box[..., 2:]], axis=-1)
    expected = 1.0 - box_iou(box, inner).mean()
    np.testing.assert_allclose(box_overlap_loss(box, inner, mask), [expected], atol=1e-5)


def test_box_overlap_loss_draws_boxes_together_that_do_not_touch():
    box = tf.Variable([[[0.0, 0.0, 0.2, 0.2]]])
    with tf.GradientTape() as tape:
        value = box_overlap_loss(box, tf.constant([[[0.6, 0.6, 1.0, 1.0]]]), tf.ones([1, 1], bool))
    gradient = tape.gradient(value, box)[0, 0]
    assert gradient[2] < 0 and gradient[3] < 0  # the near corner wants to come nearer


def test_of_boxes_at_one_l1_distance_the_overlap_loss_prefers_the_larger():
    target, mask = tf.constant([[[0.3, 0.3, 0.7, 0.7]]]), tf.ones([1, 1], bool)
    small, large = tf.constant([[[0.4, 0.4, 0.6, 0.6]]]), tf.constant([[[0.2, 0.2, 0.8, 0.8]]])
    np.testing.assert_allclose(
        box_loss(small, target, mask), box_loss(large, target, mask), rtol=1e-6
    )
    assert box_overlap_loss(large, target, mask)[0] < box_overlap_loss(small, target, mask)[0]


def test_auxiliary_loss_by_hand():
    logits = tf.math.log(tf.constant([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1.0, 1.0, 1.0]]]))
    objects = tf.constant([[0, 2, 0]])
    value = auxiliary_loss(logits, objects, MASK[:1])
    np.testing.assert_allclose(value, [-(np.log(0.5) + np.log(0.8)) / 2], rtol=1e-6)


@pytest.mark.parametrize("loss", [box_loss, box_overlap_loss])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_losses_do_not_depend_on_the_amount_of_padding(loss, count):
    rng = np.random.default_rng(count)
    boxes = tf.constant(rng.uniform(size=[2, count, 4]), tf.float32)
    target = tf.constant(rng.uniform(size=[2, count, 4]), tf.float32)
    padding = [[0, 0], [0, 4], [0, 0]]
    mask = tf.ones([2, count], bool)
    padded = loss(
        tf.pad(boxes, padding, constant_values=3.0),
        tf.pad(target, padding),
        tf.pad(mask, padding[:2]),
    )
    np.testing.assert_allclose(padded, loss(boxes, target, mask), rtol=1e-6)
