from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.adapters import tfgan


@pytest.mark.parametrize("form", ["hinge", "non_saturating"])
def test_elements_keep_the_shape_of_the_logits(form):
    logits = tf.zeros([2, 3, 4])
    assert tfgan.generator_loss_elements(logits, form).shape == (2, 3, 4)
    assert tfgan.discriminator_loss_elements(logits, logits, form).shape == (2, 3, 4)


@pytest.mark.parametrize("form", ["hinge", "non_saturating"])
def test_nothing_is_left_in_the_global_collection_of_losses(form):
    with tf.Graph().as_default() as graph:
        logits = tf.zeros([2, 3])
        tfgan.generator_loss_elements(logits, form)
        tfgan.discriminator_loss_elements(logits, logits, form)
        assert not graph.get_collection(tf.compat.v1.GraphKeys.LOSSES)


def test_discriminator_at_zero_is_hand_worked():
    zero = tf.zeros([1, 1])
    hinge = tfgan.discriminator_loss_elements(zero, zero, "hinge")
    entropy = tfgan.discriminator_loss_elements(zero, zero, "non_saturating")
    np.testing.assert_allclose([hinge[0, 0], entropy[0, 0]], [2.0, 2 * np.log(2)], rtol=1e-6)
