"""Resampling into and out of boxes, against plain loops."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rgan_tf.generator.layout import box_coverage, crop_objects, warp_planes, warp_to_boxes


def _bilinear(values, y, x):
    """The value of [h, w, C] at cell coordinates (0 = centre of the first cell), border held."""
    h, w, _ = values.shape
    y, x = min(max(y, 0.0), h - 1.0), min(max(x, 0.0), w - 1.0)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
    dy, dx = y - top, x - left
    return (1 - dy) * ((1 - dx) * values[top, left] + dx * values[top, right]) + dy * (
        (1 - dx) * values[bottom, left] + dx * values[bottom, right]
    )


def test_warp_equals_a_plain_bilinear_loop():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(1, 3, 4, 4, 2)).astype(np.float32)
    boxes = np.array([[[0.1, 0.2, 0.9, 0.75], [0, 0, 1, 1], [0.5, 0.25, 1.0, 0.5]]], np.float32)

    warped = warp_to_boxes(tf.constant(maps), tf.constant(boxes), 16, 20).numpy()

    for index, (y0, x0, y1, x1) in enumerate(boxes[0]):
        for row in range(16):
            for column in range(20):
                y, x = (row + 0.5) / 16, (column + 0.5) / 20
                expected = np.zeros(2)
                if y0 <= y < y1 and x0 <= x < x1:
                    expected = _bilinear(
                        maps[0, index],
                        (y - y0) / (y1 - y0) * 4 - 0.5,
                        (x - x0) / (x1 - x0) * 4 - 0.5,
                    )
                np.testing.assert_allclose(warped[0, index, row, column], expected, atol=1e-5)


def test_planes_are_what_is_warped_with_the_channels_first():
    maps = tf.random.stateless_normal([2, 3, 4, 5, 3], [0, 1])
    boxes = tf.constant([[[0.1, 0.2, 0.9, 0.75], [0, 0, 1, 1], [0.5, 0.25, 0.5, 0.25]]] * 2)
    planes = warp_planes(maps, boxes, 16, 20)
    assert planes.shape == (2, 3, 3, 16, 20)
    np.testing.assert_allclose(
        tf.transpose(planes, [0, 1, 3, 4, 2]), warp_to_boxes(maps, boxes, 16, 20), atol=1e-6
    )


def test_crop_equals_a_plain_bilinear_loop_when_it_enlarges():
    rng = np.random.default_rng(1)
    images = rng.normal(size=(2, 12, 16, 3)).astype(np.float32)
    boxes = np.array(
        [[[0.1, 0.2, 0.6, 0.55], [0.5, 0.5, 1.0, 1.0]], [[0, 0, 0.3, 0.4], [0, 0.6, 0.5, 1]]],
        np.float32,
    )

    crops = crop_objects(tf.constant(images), tf.constant(boxes), 8).numpy()

    for image in range(2):
        for index, (y0, x0, y1, x1) in enumerate(boxes[image]):
            for row in range(8):
                for column in range(8):
                    y = (y0 + (row + 0.5) / 8 * (y1 - y0)) * 12 - 0.5
                    x = (x0 + (column + 0.5) / 8 * (x1 - x0)) * 16 - 0.5
                    np.testing.assert_allclose(
                        crops[image, index, row, column],
                        _bilinear(images[image], y, x),
                        atol=1e-5,
                    )


def test_crop_of_the_whole_image_shrinks_like_an_antialiased_resize():
    image = np.random.default_rng(2).uniform(0, 255, size=(64, 64)).astype(np.float32)
    expected = np.asarray(Image.fromarray(image).resize((20, 20), Image.Resampling.BILINEAR))
    whole = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
    crop = crop_objects(tf.constant(image[None, ..., None]), whole, 20)[0, 0, ..., 0]
    np.testing.assert_allclose(crop, expected, atol=1e-2)


def test_cropping_a_box_gives_back_what_was_warped_into_it():
    # A linear ramp survives both resamplings exactly, away from the held border.
    ramp = np.linspace(-1, 1, 8, dtype=np.float32)
    maps = (ramp[:, None] + 0.5 * ramp[None, :])[None, None, :, :, None]
    boxes = tf.constant([[[0.25, 0.125, 0.75, 0.625]]])
    canvas = warp_to_boxes(tf.constant(maps), boxes, 64, 64)[:, 0]
    crop = crop_objects(canvas, boxes, 8)[0, 0, 1:-1, 1:-1, 0]
    np.testing.assert_allclose(crop, maps[0, 0, 1:-1, 1:-1, 0], atol=1e-5)


_coordinate = st.floats(0, 1, width=32)


@settings(max_examples=80)
@given(st.tuples(_coordinate, _coordinate, _coordinate, _coordinate), st.integers(4, 33))
def test_every_box_owns_pixels_and_constants_stay_constant(corners, size):
    y, x = sorted(corners[:2]), sorted(corners[2:])
    boxes = tf.constant([[[y[0], x[0], y[1], x[1]]]], tf.float32)

    rows, columns = box_coverage(boxes, size, size)
    warped = warp_to_boxes(tf.fill([1, 1, 3, 3, 1], 2.0), boxes, size, size)[0, 0, ..., 0].numpy()
    crop = crop_objects(tf.fill([1, size, size, 1], 3.0), boxes, 5).numpy()

    inside = np.outer(rows[0, 0], columns[0, 0])
    assert inside.sum() >= 1
    np.testing.assert_allclose(warped, 2.0 * inside, atol=1e-5)
    np.testing.assert_allclose(crop, 3.0, atol=1e-5)


def test_adjoining_boxes_share_no_pixel_and_leave_none():
    edges = np.arange(9, dtype=np.float32) / 16 + 1 / 32  # on the centres of pixels of a 16-canvas
    edges = np.concatenate([[0.0], edges, [1.0]]).astype(np.float32)
    boxes = np.stack([edges[:-1], 0 * edges[1:], edges[1:], 0 * edges[1:] + 1], axis=-1)[None, 1:]
    rows, _ = box_coverage(tf.constant(boxes), 16, 16)
    np.testing.assert_array_equal(tf.reduce_sum(rows, axis=1)[0], np.ones(16))


def test_map_shrunk_into_a_small_box_is_averaged_not_sampled():
    # Interpolating the two cells next to each sampling position would give a flat -1.
    board = np.tile([1.0, -1.0, -1.0, 1.0], 4)[:, None] * np.ones(16)
    boxes = tf.constant([[[0.25, 0.25, 0.5, 0.5]]])
    maps = tf.constant(board[None, None, :, :, None], tf.float32)
    warped = warp_to_boxes(maps, boxes, 16, 16)[0, 0, 4:8, 4:8, 0]
    np.testing.assert_allclose(warped[1:-1], 0.0, atol=1e-5)


def test_gradient_reaches_values_and_boxes_and_is_finite_for_empty_boxes():
    maps = tf.Variable(tf.random.stateless_normal([1, 2, 4, 4, 3], [0, 1]))
    images = tf.Variable(tf.random.stateless_normal([1, 16, 16, 3], [0, 2]))
    boxes = tf.Variable([[[0.2, 0.1, 0.7, 0.8], [0.0, 0.0, 0.0, 0.0]]])
    with tf.GradientTape(persistent=True) as tape:
        warped = tf.reduce_sum(tf.square(warp_to_boxes(maps, boxes, 16, 16)))
        cropped = tf.reduce_sum(tf.square(crop_objects(images, boxes, 8)))
    for loss, source in ((warped, maps), (warped, boxes), (cropped, images), (cropped, boxes)):
        gradient = tape.gradient(loss, source).numpy()
        assert np.all(np.isfinite(gradient)) and np.abs(gradient[0, 0]).max() > 0
