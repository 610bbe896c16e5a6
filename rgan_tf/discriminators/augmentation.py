"""Differentiable augmentation of real and generated images (Zhao et al., NeurIPS 2020).

A discriminator that sees few real images memorises them. Instead it sees real and generated images
after the same kind of random change, and the generator is trained through that change, so it need
not draw changed images.

Every row has its own seed: the change of an image depends neither on its neighbours nor on how a
batch is split, and two batches with the same seeds are changed alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from rgan_tf.config import AUGMENTATIONS
from rgan_tf.retrieval.noise import stateless_uniform
from rgan_tf.seeds import Purpose

# A number is never reused for another kind, so that old runs can be repeated.
_STREAMS = {"color": 1, "translation": 2, "cutout": 3}
_NUMBERS = 3  # the most that one kind draws per row

BRIGHTNESS = (-0.5, 0.5)  # added
SATURATION = (0.0, 2.0)  # factor on the distance from the pixel's grey
CONTRAST = (0.5, 1.5)  # factor on the distance from the image's mean
TRANSLATION_DIVISOR = 8  # images move by up to this part of their side
CUTOUT_DIVISOR = 2  # the square has this part of the image's side


def augment(images: tf.Tensor, seeds: tf.Tensor, kinds: Sequence[str]) -> tf.Tensor:
    """Changes every image at random and differentiably.

    Args:
      images: [B, H, W, 3] in [-1, 1], of any floating type; H and W are known when traced.
      seeds: [B, 2] int32, one per row; the same seed gives the same change.
      kinds: some of `AUGMENTATIONS`; always applied in the order of `AUGMENTATIONS`. The random
        numbers of one kind do not depend on the others.

    Returns:
      [B, H, W, 3] of the type of `images`, computed in float32. Colours may leave [-1, 1]: they
      are not clipped, because clipped pixels have no gradient. Without kinds, the images
      themselves.

    Raises:
      ValueError: for an unknown kind, or if there is not one seed per image.
    """
    for kind in kinds:
        if kind not in AUGMENTATIONS:
            raise ValueError(f"kinds must be some of {', '.join(AUGMENTATIONS)}; got {kind!r}")
    if not kinds:
        return images
    seeds = tf.cast(seeds, tf.int32)  # [B, 2]
    # A single seed would be broadcast and change all images alike.
    if not seeds.shape.is_compatible_with([images.shape[0], 2]):
        raise ValueError(f"seeds must be [{images.shape[0]}, 2], one per image; got {seeds.shape}")
    values = tf.cast(images, tf.float32)  # [B, H, W, 3]
    chosen = [kind for kind in AUGMENTATIONS if kind in kinds]
    draws = _draw(seeds, [_STREAMS[kind] for kind in chosen])  # [B, kinds, 3]
    for index, kind in enumerate(chosen):
        values = _APPLY[kind](values, draws[:, index])  # [B, H, W, 3]
    return tf.ensure_shape(tf.cast(values, images.dtype), images.shape)  # [B, H, W, 3]


def change_colors(
    images: tf.Tensor, brightness: tf.Tensor, saturation: tf.Tensor, contrast: tf.Tensor
) -> tf.Tensor:
    """Changes brightness, then saturation, then contrast.

    Args:
      images: [B, H, W, 3] float32.
      brightness: [B] float32, added to every value; 0 changes nothing.
      saturation: [B] float32, factor on the distance of a value from the mean of its pixel's
        channels; 0 gives a grey image, 1 changes nothing.
      contrast: [B] float32, factor on the distance of a value from the mean of the whole image;
        1 changes nothing.

    Returns:
      [B, H, W, 3] float32.
    """
    brightness, saturation, contrast = (
        tf.reshape(amount, [-1, 1, 1, 1]) for amount in (brightness, saturation, contrast)
    )  # [B, 1, 1, 1] each
    images = images + brightness  # [B, H, W, 3]
    grey = tf.reduce_mean(images, axis=3, keepdims=True)  # [B, H, W, 1]
    images = grey + (images - grey) * saturation  # [B, H, W, 3]
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)  # [B, 1, 1, 1]
    return mean + (images - mean) * contrast  # [B, H, W, 3]


def translate(images: tf.Tensor, down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Moves images by whole pixels and fills with mid grey, 0.

    Args:
      images: [B, H, W, 3] float32.
      down: [B] int32, px; negative moves up.
      right: [B] int32, px; negative moves left.

    Returns:
      [B, H, W, 3] float32.
    """
    height, width = images.shape[1:3]
    rows = tf.range(height) - down[:, tf.newaxis]  # [B, H] where each row comes from
    columns = tf.range(width) - right[:, tf.newaxis]  # [B, W]
    inside = _product(
        (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    )  # [B, H, W, 1]
    # A product with shift matrices would round the pixels on a device that multiplies in
    # TensorFloat-32.
    rows = tf.clip_by_value(rows, 0, height - 1)  # [B, H]
    columns = tf.clip_by_value(columns, 0, width - 1)  # [B, W]
    moved = tf.gather(images, rows, axis=1, batch_dims=1)  # [B, H, W, 3]
    moved = tf.gather(moved, columns, axis=2, batch_dims=1)  # [B, H, W, 3]
    return tf.where(inside, moved, 0.0)  # [B, H, W, 3]


def cut_out(images: tf.Tensor, top: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
    """Sets a rectangle of half the height and half the width, rounded down, to mid grey, 0.

    Args:
      images: [B, H, W, 3] float32.
      top: [B] int32, px, the first row of the rectangle; it may lie partly or fully outside.
      left: [B] int32, px, the first column.

    Returns:
      [B, H, W, 3] float32.
    """
    height, width = images.shape[1:3]
    rows = tf.range(height) - top[:, tf.newaxis]  # [B, H] counted from the rectangle
    columns = tf.range(width) - left[:, tf.newaxis]  # [B, W]
    inside = _product(
        (rows >= 0) & (rows < height // CUTOUT_DIVISOR),
        (columns >= 0) & (columns < width // CUTOUT_DIVISOR),
    )  # [B, H, W, 1]
    return tf.where(inside, 0.0, images)  # [B, H, W, 3]


def _product(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """The pixels [B, H, W, 1] bool of rows [B, H] bool and columns [B, W] bool."""
    return rows[:, :, tf.newaxis, tf.newaxis] & columns[:, tf.newaxis, :, tf.newaxis]


def _draw(seeds: tf.Tensor, streams: Sequence[int]) -> tf.Tensor:
    """Uniform numbers [B, streams, 3] float32 from [0, 1), each row from its seed [2]."""

    def draw(seed):
        # The purpose separates this stream from that of a retrieval with the same seed.
        seed = tf.random.experimental.stateless_fold_in(
            seed, int(Purpose.AUGMENTATION), alg="philox"
        )  # [2]
        rows = [
            tf.random.experimental.stateless_fold_in(seed, stream, alg="philox")  # [2]
            for stream in streams
        ]
        return tf.stack([stateless_uniform([_NUMBERS], row) for row in rows])  # [streams, 3]

    return tf.map_fn(
        draw,
        seeds,
        fn_output_signature=tf.TensorSpec([len(streams), _NUMBERS], tf.float32),
    )  # [B, streams, 3]


def _between(uniform: tf.Tensor, limits: tuple[float, float]) -> tf.Tensor:
    """Scales numbers from [0, 1) to the given limits."""
    low, high = limits
    return low + uniform * (high - low)


def _below(uniform: tf.Tensor, count: int) -> tf.Tensor:
    """Integers 0 .. count - 1, int32, from numbers in [0, 1)."""
    # The largest number, 1 - 2^-24, times a count rounds to below the count.
    return tf.cast(tf.floor(uniform * count), tf.int32)


def _color(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    return change_colors(
        images,
        _between(draws[:, 0], BRIGHTNESS),
        _between(draws[:, 1], SATURATION),
        _between(draws[:, 2], CONTRAST),
    )  # [B, H, W, 3]


def _translation(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    down, right = (
        _below(draws[:, axis], 2 * (side // TRANSLATION_DIVISOR) + 1) - side // TRANSLATION_DIVISOR
        for axis, side in enumerate(images.shape[1:3])
    )  # [B] each
    return translate(images, down, right)  # [B, H, W, 3]


def _cutout(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    top, left = (
        _below(draws[:, axis], side + 1 - (side // CUTOUT_DIVISOR) % 2)
        - side // CUTOUT_DIVISOR // 2
        for axis, side in enumerate(images.shape[1:3])
    )  # [B] each; the middle lies anywhere in the image, so borders are covered like the rest
    return cut_out(images, top, left)  # [B, H, W, 3]


_APPLY = {"color": _color, "translation": _translation, "cutout": _cutout}
