"""Keeps two objects of a scene from getting the same patch while others are free."""

from __future__ import annotations

import tensorflow as tf


def without_taken(selectable: tf.Tensor, ids: tf.Tensor, choice: tf.Tensor) -> tf.Tensor:
    """The candidates whose patch no object has yet; all of them if an object has no other.

    Args:
      selectable: [B, O, K] bool, the candidates that an object may take.
      ids: [B, O, K] int32, rows of the bank. A row with only -1 is not filtered.
      choice: [B, O] int32, the candidate that an object has, -1 = none yet.

    Returns:
      [B, O, K] bool.
    """
    taken = tf.gather(ids, tf.maximum(choice, 0), batch_dims=2)  # [B, O]
    is_same = ids[..., tf.newaxis] == taken[:, tf.newaxis, tf.newaxis]  # [B, O, K, O]
    is_same &= (choice >= 0)[:, tf.newaxis, tf.newaxis]  # [B, O, K, O]
    free = selectable & ~tf.reduce_any(is_same, axis=-1)  # [B, O, K]
    return tf.where(tf.reduce_any(free, axis=-1, keepdims=True), free, selectable)
