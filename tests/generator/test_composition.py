"""Patches put together at full resolution, and what the decoder makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.generator.composition import Composition, compose
from rgan_tf.generator.decoder import CanvasDecoder
from rgan_tf.generator.fuser import object_weights

# On a 4 x 4 image: the left half and the upper half, which share the upper left quarter.
_BOXES = tf.constant([[[0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0]]])
_MASK = tf.constant([[True, True, False]])
# t_0 is log 3 and t_1 is 0: three to one for the first. The third is padding with a high score.
_SCORES = tf.reshape(tf.math.log([3.0, 1.0, 100.0]), [1, 3, 1, 1, 1]) * tf.ones([1, 3, 8, 8, 1])


def _two_patches() -> np.ndarray:
    """Red with a brighter column, blue, and a padded one that nobody may see: [1, 3, 4, 4, 3]."""
    crops = np.zeros([1, 3, 4, 4, 3], np.float32)
    crops[0, 0, ..., 0] = [0.2, 0.2, 0.8, 0.8]  # halved in width: a column of each
    crops[0, 1, ..., 2] = -0.6
    crops[0, 2] = 0.99
    return crops


def test_two_boxes_by_hand():
    weights = object_weights(_SCORES, _BOXES, _MASK, 4)
    composition = compose(tf.constant(_two_patches()), weights, _BOXES)

    # Shrinking four columns into two averages with a triangle two wide: 1/8, 3/8, 3/8, 1/8 inside,
    # and beyond the border the outermost column counts no more than it does.
    left, right = (3 * 0.2 + 3 * 0.2 + 0.8) / 7, (0.2 + 3 * 0.8 + 3 * 0.8) / 7
    expected = np.zeros([4, 4, 3])
    expected[:2, 0] = [0.75 * left, 0, 0.25 * -0.6]
    expected[:2, 1] = [0.75 * right, 0, 0.25 * -0.6]
    expected[2:, 0], expected[2:, 1] = [left, 0, 0], [right, 0, 0]
    expected[:2, 2:] = [0, 0, -0.6]
    np.testing.assert_allclose(composition.colours[0], expected, atol=1e-6)
    opacity = np.ones([4, 4])
    opacity[2:, 2:] = 0  # no box lies there
    np.testing.assert_allclose(composition.opacity[0, ..., 0], opacity, atol=1e-6)


def test_masks_by_hand():
    # Odds of 3 to 1 by score; masks of 1/2 and 3/4 make them 3 x 1/2 to 1 x 3/4, that is 2 to 1.
    logits = tf.math.log([1.0, 3.0, 1.0])[tf.newaxis, :, tf.newaxis, tf.newaxis]
    masks = tf.tile(logits, [1, 1, 4, 4])
    weights = object_weights(_SCORES, _BOXES, _MASK, 4, masks)
    np.testing.assert_allclose(weights[0, :, 0, 0], [2 / 3, 1 / 3, 0], atol=1e-6)
    np.testing.assert_allclose(weights[0, :, 3, 0], [1, 0, 0], atol=1e-6)

    opacity = compose(tf.constant(_two_patches()), weights, _BOXES, masks).opacity[0, ..., 0]
    np.testing.assert_allclose(opacity[0, 0], 2 / 3 * 0.5 + 1 / 3 * 0.75, atol=1e-6)
    np.testing.assert_allclose(opacity[3, 0], 0.5, atol=1e-6)
    np.testing.assert_allclose(opacity[3, 3], 0)


def test_moving_one_box_changes_only_pixels_in_its_old_or_new_place():
    rng = np.random.default_rng(0)
    crops = tf.constant(rng.uniform(-1, 1, [1, 3, 8, 8, 3]), tf.float32)
    scores = tf.constant(rng.normal(size=[1, 3, 8, 8, 1]), tf.float32)
    boxes = np.array([[[0, 0, 0.7, 0.8], [0.1, 0.2, 0.5, 0.5], [0.4, 0.3, 1, 0.9]]], np.float32)
    moved = boxes.copy()
    moved[0, 1] = [0.55, 0.6, 0.95, 0.97]
    exists = tf.ones([1, 3], tf.bool)

    def composed(boxes):
        weights = object_weights(scores, tf.constant(boxes), exists, 32)
        return compose(crops, weights, tf.constant(boxes)).colours[0].numpy()

    centres = (np.arange(32) + 0.5) / 32
    touched = np.zeros([32, 32], bool)
    for y0, x0, y1, x1 in (boxes[0, 1], moved[0, 1]):
        rows, columns = (centres >= y0) & (centres < y1), (centres >= x0) & (centres < x1)
        touched |= np.outer(rows, columns)
    changed = np.abs(composed(moved) - composed(boxes)).max(axis=-1) > 1e-6
    assert changed.any() and not np.any(changed & ~touched)


@pytest.fixture
def decoder() -> CanvasDecoder:
    """With a canvas of nothing: what it makes of a composition is in `to_gain` alone."""
    layer = CanvasDecoder(
        canvas_channels=2, canvas_blocks=0, decoder_channels=(3, 2), composition=True
    )
    layer(tf.zeros([1, 2, 2, 2]), composition=_composition(tf.zeros([1, 8, 8, 3])))
    return layer


def _composition(colours: tf.Tensor) -> Composition:
    return Composition(colours, tf.ones([*colours.shape[:-1], 1]))


def test_gain_and_bias_mend_the_light_by_hand(decoder):
    colours = tf.random.stateless_uniform([1, 8, 8, 3], [0, 1], -1, 1)
    canvas = tf.zeros([1, 2, 2, 2])
    np.testing.assert_array_equal(decoder(canvas, composition=_composition(colours)), 0 * colours)

    decoder.to_gain.bias.assign([1.0, 2.0, 0.0])
    decoder.to_image.bias.assign([0.0, 0.3, -0.4])
    image = decoder(canvas, composition=_composition(colours)).numpy()

    np.testing.assert_allclose(image[..., 0], 0.95 * colours[..., 0], atol=1e-5)  # a plain copy
    odds = np.arctanh(0.95 * colours[..., 1].numpy())
    np.testing.assert_allclose(image[..., 1], np.tanh(2 * odds + 0.3), atol=1e-5)
    np.testing.assert_allclose(image[..., 2], np.tanh(-0.4), atol=1e-6)  # the decoder's own


def test_the_brightest_and_darkest_pixels_stay_in_range_and_have_gradients(decoder):
    colours = tf.Variable([[[[1.0, -1.0, 0.0]]]] * tf.ones([1, 8, 8, 3]))
    for gain in (1.0, -3.0, 1e3):
        decoder.to_gain.bias.assign([gain] * 3)
        with tf.GradientTape() as tape:
            image = decoder(tf.zeros([1, 2, 2, 2]), composition=_composition(colours))
        gradient = tape.gradient(image, colours)
        assert np.abs(image).max() <= 1 and np.all(np.isfinite(gradient))
        if gain == 1.0:
            np.testing.assert_allclose(gradient, tf.fill([1, 8, 8, 3], 0.95), atol=1e-4)
