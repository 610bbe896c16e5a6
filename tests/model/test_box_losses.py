"""Where a predicted box is, and how large it is, are learned from different losses."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.losses.basic import box_overlap_loss
from rgan_tf.model.box_losses import box_losses, only_placed

TRUE = tf.constant([[[0.4, 0.4, 0.6, 0.6]]])
MASK = tf.constant([[True]])
GRAPH = {"objects": tf.constant([[2]]), "triples": tf.fill([1, 1, 3], -1)}


def gradients(box, loss):
    """[2] gradients of the centre and of the size of a box, x direction."""
    centre, size = tf.Variable([box[0], box[0]]), tf.Variable([box[1], box[1]])
    with tf.GradientTape(persistent=True) as tape:
        corners = tf.concat([centre - size / 2, centre + size / 2], axis=0)
        value = loss(corners[tf.newaxis, tf.newaxis])
    return [0.0 if (g := tape.gradient(value, v)) is None else float(g[1]) for v in (centre, size)]


def named(name):
    config = Config()
    return lambda boxes: box_losses(config, boxes, TRUE, GRAPH, MASK)[name][0]


def test_overlap_moves_and_does_not_resize():
    moved, resized = gradients((0.65, 0.1), named("box_overlap"))
    assert moved > 0.1 and resized == 0.0
    plain = gradients((0.65, 0.1), lambda boxes: box_overlap_loss(boxes, TRUE, MASK)[0])
    assert plain[1] != 0.0  # the negative control: the loss alone would resize
    np.testing.assert_allclose(moved, plain[0], rtol=1e-5)
    # The l1 distance does both: the box is too far right, and too small.
    assert gradients((0.52, 0.1), named("box"))[1] < 0


def test_the_value_is_that_of_the_boxes():
    boxes = tf.constant(np.random.default_rng(0).random([5, 3, 4]), tf.float32)
    np.testing.assert_allclose(only_placed(boxes), boxes, atol=1e-6)
    inverted = tf.constant([[[0.9, 0.8, 0.1, 0.2]]])
    np.testing.assert_allclose(only_placed(inverted), inverted, atol=1e-6)
    assert np.isfinite(
        box_losses(dataclasses.replace(Config(), name="any"), inverted, TRUE, GRAPH, MASK)[
            "box_overlap"
        ]
    ).all()
