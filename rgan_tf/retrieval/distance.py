"""l2 distances with finite value and gradient everywhere, also between equal vectors."""

from __future__ import annotations

import tensorflow as tf

_COINCIDENT = 1e-12  # squared distance of vectors that differ only by rounding


def safe_sqrt(squares: tf.Tensor) -> tf.Tensor:
    """Square root with gradient 0 near 0, where the plain one has infinite slope.

    Near 0 and not only at 0, because a compiler may compute one vector twice with different
    rounding. The direction of so small a difference means nothing, but its gradient has length 1.

    Args:
      squares: any shape, not negative.

    Returns:
      The same shape and type.
    """
    apart = squares > _COINCIDENT
    # The inner `where` keeps the infinite slope out of the gradient, the outer one the value.
    root = tf.sqrt(tf.where(apart, squares, 1.0))
    return tf.where(apart, root, tf.sqrt(tf.stop_gradient(squares)))


def l2_distance(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """l2 distance along the last axis, with broadcasting.

    Subtracts before squaring: |f|² - 2f·q + |q|² loses all digits between nearly equal vectors,
    where retrieval decides.

    Args:
      first: [..., D] float.
      second: [..., D] float, broadcastable to `first`.

    Returns:
      [...], of the same float type; gradient 0 where the vectors are equal up to rounding.

    Raises:
      ValueError: if the vectors are of integers, whose squares may not fit their type.
    """
    # TensorFlow finds the type that both have: arrays and lists take that of a tensor.
    squares = tf.math.squared_difference(first, second)
    if not squares.dtype.is_floating:
        raise ValueError(f"l2_distance: vectors must be float, got {squares.dtype.name}; cast them")
    return safe_sqrt(tf.reduce_sum(squares, axis=-1))


def unit_distance(vectors: tf.Tensor, queries: tf.Tensor) -> tf.Tensor:
    """l2 distances of many unit vectors to one query, by inner products.

    Neither value nor gradient needs a tensor of differences. The error is up to 5e-4 between equal
    vectors and 1e-6 between others: good enough to rank the far ones.

    Args:
      vectors: [B, O, K, D] float, of length 1.
      queries: [B, D] float, of any length.

    Returns:
      [B, O, K], of the same float type; gradient 0 where the vectors are equal.
    """
    batch, objects, candidates = (tf.shape(vectors)[axis] for axis in range(3))
    flat = tf.reshape(vectors, [batch, objects * candidates, vectors.shape[-1]])  # [B, O*K, D]
    products = tf.linalg.matvec(flat, queries)  # [B, O*K]
    length = tf.reduce_sum(queries**2, axis=-1, keepdims=True)  # [B, 1]
    distances = safe_sqrt(tf.maximum(1.0 + length - 2.0 * products, 0.0))  # [B, O*K]
    return tf.reshape(distances, [batch, objects, candidates])  # [B, O, K]


def distances_to_queries(vectors: tf.Tensor, queries: tf.Tensor) -> tf.Tensor:
    """l2 distances of many vectors to several queries, by inner products; see `unit_distance`.

    Args:
      vectors: [B, O, K, D] float, of length about 1.
      queries: [B, Q, D] float, of length about 1.

    Returns:
      [B, Q, O, K], of the same float type; gradient 0 where the vectors are equal.
    """
    batch, objects, candidates = (tf.shape(vectors)[axis] for axis in range(3))
    flat = tf.reshape(vectors, [batch, objects * candidates, vectors.shape[-1]])  # [B, O*K, D]
    products = tf.matmul(queries, flat, transpose_b=True)  # [B, Q, O*K]
    lengths = tf.reduce_sum(queries**2, axis=-1)[:, :, tf.newaxis]  # [B, Q, 1]
    lengths += tf.reduce_sum(flat**2, axis=-1)[:, tf.newaxis]  # [B, Q, O*K]
    distances = safe_sqrt(tf.maximum(lengths - 2.0 * products, 0.0))  # [B, Q, O*K]
    return tf.reshape(distances, [batch, tf.shape(queries)[1], objects, candidates])


def pairwise_distance(vectors: tf.Tensor) -> tf.Tensor:
    """All distances within each set of vectors.

    Args:
      vectors: [B, O, D] float.

    Returns:
      [B, O, O], zero on the diagonal.
    """
    return l2_distance(vectors[:, :, tf.newaxis], vectors[:, tf.newaxis])  # [B, O, O]
