"""The rows of a batch that is split over replicas, for losses that compare them with each other."""

from __future__ import annotations

import tensorflow as tf


def across_replicas(values: tf.Tensor, first_row: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas, in order; only the own ones have a gradient.

    Call it in replica context, on every replica.

    Args:
      values: [B, ...], this replica's rows.
      first_row: int32 scalar, index of the first of them in the batch of all replicas.

    Returns:
      [A, ...], A the number of rows of all replicas.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    kind = values.dtype
    sent = tf.cast(values, tf.int32) if kind == tf.bool else values  # which can be exchanged
    everyone = tf.cast(context.all_gather(tf.stop_gradient(sent), axis=0), kind)  # [A, ...]
    rows = tf.shape(values)[0]  # B
    return tf.concat([everyone[:first_row], values, everyone[first_row + rows :]], axis=0)


def of_replica(values: tf.Tensor, first_row: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """The reverse: this replica's rows [B, ...] of those of all replicas [A, ...]."""
    if tf.distribute.get_replica_context().num_replicas_in_sync == 1:
        return values
    return values[first_row : first_row + rows]
