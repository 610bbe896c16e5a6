"""The weighted sum of equation (7)."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from rgan_tf.fixed_order import sum_of


def weighted_sum(terms: Mapping[str, tf.Tensor], weights: Mapping[str, float]) -> tf.Tensor:
    """Sums named losses, each times its weight.

    Args:
      terms: name -> [B] float32.
      weights: name -> weight, at least 0. A term with weight 0 is left out, so that its NaN does
        not matter either. Weights without a term are ignored.

    Returns:
      [B] float32.

    Raises:
      ValueError: if a term has no weight, or none has a weight above 0.
    """
    unweighted = sorted(set(terms) - set(weights))
    if unweighted:
        raise ValueError(f"no weight for {', '.join(unweighted)}; weights: {', '.join(weights)}")
    parts = [weights[name] * term for name, term in terms.items() if weights[name]]  # each [B]
    if not parts:
        raise ValueError(f"every weight is 0 among {', '.join(terms)}")
    return sum_of(parts)  # [B]


def mean_loss(
    terms: Mapping[str, tf.Tensor], weights: Mapping[str, float], total_rows: tf.Tensor | int
) -> tf.Tensor:
    """Weighted sum over these rows, divided by the number of rows of all replicas.

    Optimisers sum gradients over replicas, so this division makes n replicas at batch B/n equal one
    replica at batch B.

    Args:
      terms, weights: see `weighted_sum`.
      total_rows: integer or int32 scalar.

    Returns:
      float32 scalar.
    """
    losses = weighted_sum(terms, weights)  # [B]
    return tf.reduce_sum(losses) / tf.cast(total_rows, losses.dtype)
