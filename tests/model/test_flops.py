"""The operation count against layers whose cost is known."""

from __future__ import annotations

import pytest
import tensorflow as tf

from rgan_tf.model.flops import count_flops


def test_matrix_product_counts_two_per_multiply_add():
    kernel = tf.Variable(tf.ones([7, 11]))
    assert count_flops(lambda x: tf.matmul(x, kernel), tf.zeros([5, 7])) == 2 * 5 * 7 * 11


def test_convolution_counts_every_output_position():
    kernel = tf.Variable(tf.ones([3, 3, 4, 6]))
    flops = count_flops(
        lambda x: tf.nn.conv2d(x, kernel, 1, "SAME"), tf.TensorSpec([2, 8, 8, 4], tf.float32)
    )
    assert flops == 2 * (2 * 8 * 8) * (3 * 3 * 4) * 6


def test_unknown_size_is_refused():
    with pytest.raises(ValueError, match="every size must be known"):
        count_flops(tf.abs, tf.TensorSpec([None, 3], tf.float32))
