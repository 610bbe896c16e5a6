"""The parametric decoder and the pasted canvas."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.generator.sg2im import Sg2imDecoder, pasted_canvas

_BOXES = np.array([[[0, 0, 0.5, 1], [0.25, 0.25, 0.75, 0.75], [0, 0, 1, 1]]], np.float32)
_MASK = np.array([[True, True, False]])


@pytest.fixture(scope="module")
def decoder() -> Sg2imDecoder:
    tf.keras.utils.set_random_seed(0)
    layer = Sg2imDecoder(image_size=16, layout_channels=4, decoder_channels=(6, 5, 4))
    layer(_vectors(), _BOXES, _MASK)
    return layer


def _vectors(seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=(1, 3, 5)), tf.float32)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_layout_is_the_average_pooled_sum_of_vectors_inside_boxes(decoder, factor):
    vectors = np.random.default_rng(1).normal(size=(1, 2, 4)).astype(np.float32)
    full = np.zeros([16, 16, 4])
    full[0:8, 0:16] += vectors[0, 0]
    full[4:12, 4:12] += vectors[0, 1]
    size = 16 // factor
    expected = full.reshape(size, factor, size, factor, 4).mean(axis=(1, 3))
    ranges = ((0, 8, 0, 16), (4, 12, 4, 12))
    rows = np.zeros([1, 2, 16], np.float32)
    columns = np.zeros([1, 2, 16], np.float32)
    for index, (y0, y1, x0, x1) in enumerate(ranges):
        rows[0, index, y0:y1] = 1
        columns[0, index, x0:x1] = 1

    layout = decoder._layout(tf.constant(vectors), tf.constant(rows), tf.constant(columns), factor)

    np.testing.assert_allclose(layout[0], expected, atol=1e-6)


def test_images_are_in_range_and_padding_has_no_influence(decoder):
    images = decoder(_vectors(), _BOXES, _MASK).numpy()
    assert images.shape == (1, 16, 16, 3) and np.all(np.abs(images) <= 1)
    changed = _vectors().numpy()
    changed[0, 2] = 100.0
    np.testing.assert_allclose(decoder(changed, _BOXES, _MASK), images, atol=1e-6)
    changed[0, 1] = -3.0
    assert np.abs(decoder(changed, _BOXES, _MASK) - images).max() > 1e-3


def test_a_row_does_not_depend_on_its_batch(decoder):
    vectors = tf.concat([_vectors(0), 4.0 * _vectors(1)], axis=0)
    boxes, mask = np.concatenate([_BOXES, 1 - _BOXES[..., [2, 3, 0, 1]]]), np.repeat(_MASK, 2, 0)
    together = decoder(vectors, boxes, mask)
    for row in range(2):
        alone = decoder(vectors[row : row + 1], boxes[row : row + 1], mask[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_gradient_reaches_every_variable(decoder):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.abs(decoder(_vectors(), _BOXES, _MASK) - 0.3))
    gradients = tape.gradient(loss, decoder.trainable_variables)
    for variable, gradient in zip(decoder.trainable_variables, gradients, strict=True):
        assert gradient is not None and float(tf.norm(gradient)) > 0, variable.name


def test_serialisation_round_trip(decoder):
    copy = tf.keras.layers.deserialize(tf.keras.layers.serialize(decoder))
    copy(_vectors(), _BOXES, _MASK)
    copy.set_weights(decoder.get_weights())
    np.testing.assert_array_equal(
        copy(_vectors(2), _BOXES, _MASK), decoder(_vectors(2), _BOXES, _MASK)
    )
    assert copy.get_config() == decoder.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 48}, "image_size must be a multiple of 32, got 48"),
        ({"image_size": 64, "layout_channels": 0}, "layout_channels .*, got 0"),
        ({"image_size": 64, "decoder_channels": ()}, "decoder_channels needs entries"),
    ],
)
def test_bad_argument_is_refused_with_its_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        Sg2imDecoder(**arguments)


def test_pasted_canvas_puts_small_boxes_over_large_ones_on_grey():
    values = np.array([0.2, -0.5, 0.9], np.float32)  # one flat colour per object
    crops = np.broadcast_to(values[None, :, None, None, None], (1, 3, 4, 4, 3))

    canvas = pasted_canvas(tf.constant(crops), tf.constant(_BOXES), tf.constant(_MASK), 8).numpy()

    expected = np.zeros([8, 8])  # grey; object 2 covers everything but is padding
    expected[0:4, :] = 0.2
    expected[2:6, 2:6] = -0.5  # area 0.25, pasted after area 0.5
    np.testing.assert_allclose(canvas[0, ..., 0], expected, atol=1e-6)


def test_pasted_canvas_does_not_depend_on_the_order_of_objects():
    crops = np.random.default_rng(0).uniform(-1, 1, (1, 3, 4, 4, 3)).astype(np.float32)
    order = [2, 0, 1]
    plain = pasted_canvas(tf.constant(crops), tf.constant(_BOXES), tf.constant(_MASK), 8)
    moved = pasted_canvas(
        tf.constant(crops[:, order]), tf.constant(_BOXES[:, order]), tf.constant(_MASK[:, order]), 8
    )
    np.testing.assert_allclose(moved, plain, atol=1e-6)
