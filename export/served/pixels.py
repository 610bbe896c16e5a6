"""Input and output pixels of the served model."""

from __future__ import annotations

import tensorflow as tf


def resize_own_patches(patches: tf.Tensor, size: int) -> tf.Tensor:
    """Own patches at the generator's size, area-averaged bit for bit like those of the bank.

    Args:
      patches: uint8 [B, O, S, S, 3].
      size: side of the result in px; must divide S.

    Returns:
      uint8 [B, O, size, size, 3].

    Raises:
      ValueError: if `size` does not divide S.
    """
    objects, stored = patches.shape[1], patches.shape[2]
    if stored % size:
        raise ValueError(f"patches of {stored} px cannot be averaged to {size} px")
    step = stored // size
    blocks = tf.reshape(tf.cast(patches, tf.int32), [-1, size, step, size, step, 3])
    area = step * step
    averaged = (tf.reduce_sum(blocks, axis=[2, 4]) + area // 2) // area  # [B*O, h, w, 3]
    return tf.reshape(tf.cast(averaged, tf.uint8), [-1, objects, size, size, 3])


def encode_images(images: tf.Tensor) -> tf.Tensor:
    """[B, H, W, 3] float32 in [-1, 1] -> [B] PNG files."""
    pixels = tf.cast(tf.clip_by_value(tf.round((images + 1.0) * 127.5), 0.0, 255.0), tf.uint8)
    return tf.map_fn(tf.io.encode_png, pixels, fn_output_signature=tf.string)


def encode_crops(crops: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """[B, O, h, w, 3] uint8 -> [B, O] PNG files, empty where `chosen` [B, O] is false."""
    flat = tf.reshape(crops, [-1, *crops.shape[2:]])  # [B*O, h, w, 3]
    files = tf.map_fn(tf.io.encode_png, flat, fn_output_signature=tf.string)  # [B*O]
    return tf.where(chosen, tf.reshape(files, tf.shape(chosen)), "")


def for_pixels(per_object: tf.Tensor) -> tf.Tensor:
    """[B, O] -> [B, O, 1, 1, 1], for choosing among patches."""
    return per_object[:, :, tf.newaxis, tf.newaxis, tf.newaxis]  # [B, O, 1, 1, 1]
