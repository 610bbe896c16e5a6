"""Random numbers and orders of one row, which depend on that row's seed alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from rgan_tf.retrieval.noise import row_uniforms


def row_order(is_there: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """A random order of every row's members, padding last.

    Args:
      is_there: [B, N] bool.
      seeds: [B, 2] int32, one per row. Padding does not change the order of the others.

    Returns:
      [B, N] int32, a permutation.
    """
    places = row_uniforms(seeds, [is_there.shape[1]])  # [B, N]
    return tf.argsort(tf.where(is_there, places, 2.0), axis=-1, stable=True)  # [B, N]


def row_normals(seeds: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Standard normal numbers (Box and Muller), likewise.

    Args:
      seeds, shape: see `row_uniforms`.

    Returns:
      [B, *shape] float32, N(0, 1).
    """
    pairs = row_uniforms(seeds, [*shape, 2])  # [B, *shape, 2]
    # 1 - u is a multiple of 2^-24 in (0, 1], so its logarithm is finite.
    radius = tf.sqrt(-2.0 * tf.math.log(1.0 - pairs[..., 0]))  # [B, *shape]
    return radius * tf.cos(2.0 * math.pi * pairs[..., 1])  # [B, *shape]
