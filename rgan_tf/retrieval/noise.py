"""Random numbers for retrieval, identical on every device, with or without XLA."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from rgan_tf.seeds import Purpose

_SMALLEST = float(np.finfo(np.float32).tiny)


def stateless_uniform(shape: tf.Tensor | Sequence[int], seed: tf.Tensor) -> tf.Tensor:
    """Uniform numbers from [0, 1), multiples of 2^-24.

    `tf.random.stateless_uniform` picks its generator by device, and XLA turns the same bits into
    other floats; this names the generator and converts explicitly.

    Args:
      shape: of the result.
      seed: [2] int32.

    Returns:
      float32 of the given shape.
    """
    bits = tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def row_uniforms(seeds: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Uniform [0, 1) numbers.

    Args:
      seeds: [B, 2] int32, one per row; the same seed gives the same numbers in any batch.
      shape: of one row's numbers. A longer first axis keeps the numbers of the shorter one.

    Returns:
      [B, *shape] float32.
    """
    return tf.map_fn(
        lambda seed: stateless_uniform(shape, seed),
        tf.cast(seeds, tf.int32),
        fn_output_signature=tf.TensorSpec(list(shape), tf.float32),
    )


def draw_noise(seeds: tf.Tensor, shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Gumbel noise, and uniform scores whose largest valid entry is the seed patch.

    Args:
      seeds: [B, 2] int32, one per row; a row's numbers depend only on its seed.
      shape: the shape of one row's noise, [O, K].

    Returns:
      Gumbel(0, 1) noise and uniform [0, 1) numbers, both [B, O, K] float32.
    """

    def draw(seed, purpose):
        seed = tf.random.experimental.stateless_fold_in(seed, int(purpose), alg="philox")  # [2]
        return stateless_uniform(shape, seed)  # [O, K]

    uniform, scores = tf.map_fn(
        lambda seed: (draw(seed, Purpose.GUMBEL_NOISE), draw(seed, Purpose.SEED_PATCH)),
        tf.cast(seeds, tf.int32),
        fn_output_signature=(tf.float32, tf.float32),
    )  # [B, O, K] twice
    whole = tf.concat([tf.shape(seeds)[:1], shape], axis=0)  # of no rows, no shape came out
    uniform, scores = tf.reshape(uniform, whole), tf.reshape(scores, whole)  # [B, O, K] each
    return -tf.math.log(-tf.math.log(tf.maximum(uniform, _SMALLEST))), scores


def noise_and_scores(
    valid: tf.Tensor, seeds: tf.Tensor | None, distances: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The noise of a selection, and the scores that decide its first query.

    Args:
      valid: [B, O, K] bool.
      seeds: [B, 2] int32, or None for the deterministic selection.
      distances: [B, O, K] float, pre-filter distances, for the deterministic selection.

    Returns:
      Gumbel noise (zeros without seeds) and the scores of the first query, the highest of which
      wins; both [B, O, K] float32.
    """
    if seeds is not None:
        return draw_noise(seeds, tf.shape(valid)[1:])
    zeros = tf.zeros(tf.shape(valid))  # [B, O, K]
    return zeros, zeros if distances is None else tf.cast(-distances, tf.float32)
