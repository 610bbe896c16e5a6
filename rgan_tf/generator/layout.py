"""Between image space and box space: maps into boxes, and crops out of images.

Both directions are separable resampling with the triangle filter of an antialiased bilinear
resize, written as two small matrix products per object. That is fast on a CPU, differentiable in
the values and in the boxes, and compiles with XLA.

A pixel belongs to a box if its centre does. A box thinner than one pixel is widened to one, so
every box owns at least one pixel.
"""

from __future__ import annotations

import tensorflow as tf


def warp_to_boxes(maps: tf.Tensor, boxes: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resizes one map per object into its box on an otherwise zero canvas.

    Args:
      maps: [B, O, h, w, C] float32.
      boxes: [B, O, 4] float32, [y0, x0, y1, x1] in [0, 1].
      height: H of the canvas.
      width: W of the canvas.

    Returns:
      [B, O, H, W, C] float32, exactly 0 outside the boxes.
    """
    objects, h, w, channels = maps.shape[1:]
    rows, columns = _box_matrices(maps, boxes, height, width)  # [B, O, H, h], [B, O, W, w]
    flat = tf.reshape(maps, [-1, objects, h, w * channels])  # [B, O, h, w * C]
    strips = tf.matmul(rows, flat)  # [B, O, H, w * C]
    strips = tf.reshape(strips, [-1, objects, height, w, channels])  # [B, O, H, w, C]
    return tf.matmul(columns[:, :, tf.newaxis], strips)  # [B, O, H, W, C]


def warp_planes(maps: tf.Tensor, boxes: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Like `warp_to_boxes`, channels first; up to a third faster if there are few channels.

    Args:
      maps: [B, O, h, w, C] float32.
      boxes: [B, O, 4] float32, [y0, x0, y1, x1] in [0, 1].
      height: H of the canvas.
      width: W of the canvas.

    Returns:
      [B, O, C, H, W] float32, exactly 0 outside the boxes.
    """
    rows, columns = _box_matrices(maps, boxes, height, width)  # [B, O, H, h], [B, O, W, w]
    planes = tf.transpose(maps, [0, 1, 4, 2, 3])  # [B, O, C, h, w]
    strips = tf.matmul(rows[:, :, tf.newaxis], planes)  # [B, O, C, H, w]
    return tf.matmul(strips, columns[:, :, tf.newaxis], transpose_b=True)  # [B, O, C, H, W]


def box_coverage(boxes: tf.Tensor, height: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Which rows and columns of a canvas belong to each box.

    Args:
      boxes: [B, O, 4] float32 in [0, 1].
      height: H of the canvas.
      width: W of the canvas.

    Returns:
      [B, O, H] and [B, O, W] float32 in {0, 1}; their outer product marks the pixels of the box.
    """
    rows, _, _ = _covered(boxes[..., 0], boxes[..., 2], height)  # [B, O, H]
    columns, _, _ = _covered(boxes[..., 1], boxes[..., 3], width)  # [B, O, W]
    return rows, columns


def crop_objects(images: tf.Tensor, boxes: tf.Tensor, size: int) -> tf.Tensor:
    """Cuts the boxes out of an image and resizes each to a square.

    Args:
      images: [B, H, W, C] float32.
      boxes: [B, O, 4] float32, [y0, x0, y1, x1] in [0, 1].
      size: side of the crops in px.

    Returns:
      [B, O, size, size, C] float32. A box without area gives the pixel under it.
    """
    height, width, channels = images.shape[1:]
    rows = _crop_matrix(boxes[..., 0], boxes[..., 2], size, height)  # [B, O, size, H]
    columns = _crop_matrix(boxes[..., 1], boxes[..., 3], size, width)  # [B, O, size, W]
    objects = boxes.shape[1]
    # All objects of an image share its pixels: one product per image does the rows.
    flat = tf.reshape(images, [-1, height, width * channels])  # [B, H, W * C]
    stacked = tf.reshape(rows, [-1, objects * size, height])  # [B, O * size, H]
    strips = tf.matmul(stacked, flat)  # [B, O * size, W * C]
    strips = tf.reshape(strips, [-1, objects, size, width, channels])  # [B, O, size, W, C]
    return tf.matmul(columns[:, :, tf.newaxis], strips)  # [B, O, size, size, C]


def _covered(
    start: tf.Tensor, stop: tf.Tensor, pixels: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Pixels [.., P] of intervals [..], with the interval in pixels, [..] each."""
    start, stop = start * pixels, stop * pixels
    half = tf.maximum(stop - start, 1.0) / 2
    # Only a box thinner than a pixel can be clipped here; it then owns the outermost pixel.
    centre = tf.clip_by_value((start + stop) / 2, 0.5, pixels - 0.5)
    start, stop = centre - half, centre + half
    centres = tf.range(pixels, dtype=tf.float32) + 0.5  # [P]
    inside = (centres >= start[..., tf.newaxis]) & (centres < stop[..., tf.newaxis])  # [.., P]
    return tf.cast(inside, tf.float32), start, stop


def _box_matrices(
    maps: tf.Tensor, boxes: tf.Tensor, height: int, width: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """[B, O, H, h] and [B, O, W, w], by which the rows and columns of maps go into their boxes."""
    h, w = maps.shape[2:4]
    rows = _box_matrix(boxes[..., 0], boxes[..., 2], height, h)  # [B, O, H, h]
    columns = _box_matrix(boxes[..., 1], boxes[..., 3], width, w)  # [B, O, W, w]
    # Made in float32, whatever the maps are: the matrices decide half pixels.
    return tf.cast(rows, maps.dtype), tf.cast(columns, maps.dtype)


def _box_matrix(start: tf.Tensor, stop: tf.Tensor, pixels: int, cells: int) -> tf.Tensor:
    """[.., P, M]: the weight of each of M map cells in each of P canvas pixels."""
    inside, start, stop = _covered(start, stop, pixels)
    span = (stop - start)[..., tf.newaxis]  # [.., 1] px, at least 1
    centres = tf.range(pixels, dtype=tf.float32) + 0.5  # [P]
    positions = (centres - start[..., tf.newaxis]) / span * cells - 0.5  # [.., P] cells
    weights = _triangle(positions, cells / span, cells)  # [.., P, M]
    return weights * inside[..., tf.newaxis]


def _crop_matrix(start: tf.Tensor, stop: tf.Tensor, size: int, pixels: int) -> tf.Tensor:
    """[.., S, P]: the weight of each of P image pixels in each of S crop pixels."""
    span = ((stop - start) * pixels)[..., tf.newaxis]  # [.., 1] px
    fractions = (tf.range(size, dtype=tf.float32) + 0.5) / size  # [S]
    positions = start[..., tf.newaxis] * pixels + fractions * span - 0.5  # [.., S] px
    return _triangle(positions, span / size, pixels)


def _triangle(positions: tf.Tensor, support: tf.Tensor, samples: int) -> tf.Tensor:
    """Normalised triangle-filter weights [.., P, M] around positions [.., P].

    `support` [.., 1] is the step between positions in samples; above 1 the filter widens, so that
    shrinking averages instead of skipping samples. Weights beyond the border go to the outermost
    sample.
    """
    positions = tf.clip_by_value(positions, -0.5, samples - 0.5)[..., tf.newaxis]  # [.., P, 1]
    support = tf.maximum(support, 1.0)[..., tf.newaxis]  # [.., 1, 1]
    index = tf.range(samples, dtype=tf.float32)  # [M]
    weights = tf.nn.relu(1.0 - tf.abs(index - positions) / support)  # [.., P, M]
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)
