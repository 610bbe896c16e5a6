"""Makes own patches as unlike each other as retrieved ones, with the real image as target.

A scene's own patches agree in light and content wherever they overlap, so the reconstruction path
alone never makes the generator correct light or decide which object owns a pixel. Two remedies,
not in the paper: every own patch gets its own light and cut (`relit`), and some are exchanged for
retrieved ones (`exchanged`), with the real image as target elsewhere.
"""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.discriminators.augmentation import change_colors
from rgan_tf.generator.layout import box_coverage
from rgan_tf.retrieval.noise import row_uniforms

EXPOSURE = 0.5  # log of the largest factor on the light, up or down
WHITE_BALANCE = 0.15  # likewise, per channel
SATURATION = (0.5, 1.5)  # factor on the distance from the pixel's grey
CONTRAST = (0.7, 1.3)  # factor on the distance from the patch's mean
SMALLEST_CUT = 0.75  # of the patch's sides
MIRRORED = 0.25  # share of patches
_NUMBERS = 11  # random numbers per patch


def relit(crops: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Gives every patch its own exposure, white balance, saturation, contrast, cut and mirroring.

    Args:
      crops: [B, O, h, w, 3] float32 in [-1, 1].
      seeds: [B, 2] int32, one per row.

    Returns:
      [B, O, h, w, 3] float32 in [-1, 1].
    """
    objects, height, width = crops.shape[1:4]
    draws = row_uniforms(seeds, [objects, _NUMBERS])  # [B, O, _NUMBERS]
    draws = tf.reshape(draws, [-1, _NUMBERS])  # [B*O, _NUMBERS]
    flat = tf.reshape(crops, [-1, height, width, 3])  # [B*O, h, w, 3]
    gains = EXPOSURE * (2 * draws[:, :1] - 1) + WHITE_BALANCE * (2 * draws[:, 1:4] - 1)
    light = (flat + 1.0) * tf.exp(gains)[:, tf.newaxis, tf.newaxis]  # [B*O, h, w, 3], from 0
    coloured = change_colors(
        light - 1.0,
        tf.zeros_like(draws[:, 4]),
        SATURATION[0] + draws[:, 4] * (SATURATION[1] - SATURATION[0]),
        CONTRAST[0] + draws[:, 5] * (CONTRAST[1] - CONTRAST[0]),
    )  # [B*O, h, w, 3]
    sides = SMALLEST_CUT + draws[:, 6:8] * (1 - SMALLEST_CUT)  # [B*O, 2]
    corner = draws[:, 8:10] * (1 - sides)  # [B*O, 2]
    boxes = tf.concat([corner, corner + sides], axis=1)  # [B*O, 4]
    mirrored = draws[:, 10:] < MIRRORED  # [B*O, 1]
    boxes = tf.where(mirrored, tf.gather(boxes, [0, 3, 2, 1], axis=1), boxes)  # [B*O, 4]
    cut = _blend(coloured, boxes[:, 1], boxes[:, 3], axis=2)  # [B*O, h, w, 3]
    cut = _blend(cut, boxes[:, 0], boxes[:, 2], axis=1)  # [B*O, h, w, 3]
    return tf.reshape(tf.clip_by_value(cut, -1.0, 1.0), tf.shape(crops))


def _blend(images: tf.Tensor, start: tf.Tensor, end: tf.Tensor, *, axis: int) -> tf.Tensor:
    """Stretches a part of each image over the whole axis, bilinearly.

    Both axes together are `tf.image.crop_and_resize`, which XLA does not compile.

    Args:
      images: [N, h, w, C] float32.
      start, end: [N] float32 in [0, 1], from the centre of the first pixel to that of the last.
      axis: 1 or 2, of P pixels.

    Returns:
      [N, h, w, C] float32; mirrored where the end lies before the start.
    """
    last = images.shape[axis] - 1
    pace = (end - start) * last / last  # [N], in pixels
    places = (start * last)[:, tf.newaxis] + tf.range(last + 1.0) * pace[:, tf.newaxis]  # [N, P]
    places = tf.clip_by_value(places, 0.0, float(last))  # [N, P]
    before, after = tf.floor(places), tf.math.ceil(places)  # [N, P] twice
    shape = [-1, last + 1, 1, 1] if axis == 1 else [-1, 1, last + 1, 1]
    share = tf.reshape(places - before, shape)  # [N, P, 1, 1] or [N, 1, P, 1]
    one, other = (
        tf.gather(images, tf.cast(index, tf.int32), axis=axis, batch_dims=1)
        for index in (before, after)
    )  # [N, h, w, C] twice
    return one + (other - one) * share  # [N, h, w, C]


def outside(boxes: tf.Tensor, exchanged: tf.Tensor, size: int) -> tf.Tensor:
    """Pixels outside all exchanged objects, where the real image stays the target.

    Args:
      boxes: [B, O, 4] float32 [y0, x0, y1, x1].
      exchanged: [B, O] bool.
      size: side of the images, px.

    Returns:
      [B, size, size, 1] float32, 1 outside, 0 inside.
    """
    rows, columns = box_coverage(boxes, size, size)  # 2 x [B, O, S]
    inside = (rows > 0)[..., :, tf.newaxis] & (columns > 0)[..., tf.newaxis, :]  # [B, O, S, S]
    covered = tf.reduce_any(inside & exchanged[:, :, tf.newaxis, tf.newaxis], axis=1)  # [B, S, S]
    return 1.0 - tf.cast(covered, tf.float32)[..., tf.newaxis]
