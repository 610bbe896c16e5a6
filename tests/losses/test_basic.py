from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.losses.basic import auxiliary_loss, box_loss, mean_over_objects, reconstruction_loss

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


def test_auxiliary_loss_by_hand():
    logits = tf.math.log(tf.constant([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1.0, 1.0, 1.0]]]))
    objects = tf.constant([[0, 2, 0]])
    value = auxiliary_loss(logits, objects, MASK[:1])
    np.testing.assert_allclose(value, [-(np.log(0.5) + np.log(0.8)) / 2], rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_losses_do_not_depend_on_the_amount_of_padding(count):
    rng = np.random.default_rng(count)
    boxes = tf.constant(rng.uniform(size=[2, count, 4]), tf.float32)
    target = tf.constant(rng.uniform(size=[2, count, 4]), tf.float32)
    padding = [[0, 0], [0, 4], [0, 0]]
    mask = tf.ones([2, count], bool)
    padded = box_loss(
        tf.pad(boxes, padding, constant_values=3.0),
        tf.pad(target, padding),
        tf.pad(mask, padding[:2]),
    )
    np.testing.assert_allclose(padded, box_loss(boxes, target, mask), rtol=1e-6)
