"""l2 distances whose value and gradient are finite everywhere, also between equal vectors."""

from __future__ import annotations

import tensorflow as tf


def safe_sqrt(squares: tf.Tensor) -> tf.Tensor:
    """Square root with gradient 0 at 0, where the plain one has an infinite slope.

    Args:
      squares: any shape, not negative.

    Returns:
      The same shape and type.
    """
    positive = squares > 0
    # The inner `where` keeps the infinite slope out of the gradient, the outer one the value.
    return tf.where(positive, tf.sqrt(tf.where(positive, squares, 1.0)), 0.0)


def l2_distance(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """l2 distance along the last axis, with broadcasting.

    The difference is formed before it is squared: |f|² - 2f·q + |q|² loses all digits where two
    vectors nearly coincide, which is where retrieval decides.

    Args:
      first: [..., D] float.
      second: [..., D] float, broadcastable to `first`.

    Returns:
      [...], of the same float type; gradient 0 where the vectors are equal.
    """
    return safe_sqrt(tf.reduce_sum(tf.math.squared_difference(first, second), axis=-1))


def pairwise_distance(vectors: tf.Tensor) -> tf.Tensor:
    """All distances within each set of vectors.

    Args:
      vectors: [B, O, D] float.

    Returns:
      [B, O, O], zero on the diagonal.
    """
    return l2_distance(vectors[:, :, tf.newaxis], vectors[:, tf.newaxis])  # [B, O, O]
