"""Computes per-object work only for real objects, not for padding."""

from __future__ import annotations

import tensorflow as tf


class PresentObjects:
    """Gathers the objects of several examples into one row, and scatters results back.

    About a fifth of the places in a batch are padding. XLA needs static sizes, but the number of
    objects varies by batch: with `keeps_padding` all places are computed.

    Args:
      object_mask: [B, O] bool.
      keeps_padding: whether padded places are computed too.
    """

    def __init__(self, object_mask: tf.Tensor, *, keeps_padding: bool):
        self._shape = tf.shape(object_mask)  # [2]
        self._objects = object_mask.shape[1]
        if keeps_padding:
            self._places = None
            return
        # TensorFlow 2.15's convolutions fail on empty input: a batch without objects gets one.
        first = tf.one_hot(0, tf.size(object_mask), True, False, dtype=tf.bool)  # [B * O]
        first = tf.reshape(first, self._shape) & ~tf.reduce_any(object_mask)  # [B, O]
        # A gather with unique indices: its gradient never adds, so it is deterministic.
        self._places = tf.where(object_mask | first)  # [M, 2]

    def take(self, values: tf.Tensor) -> tf.Tensor:
        """[B, O, ...] -> [M, ...], the real objects, in order; M is at least 1."""
        if self._places is None:
            return tf.reshape(values, [-1, *values.shape[2:]])  # [B * O, ...]
        return tf.gather_nd(values, self._places)  # [M, ...]

    def put(self, values: tf.Tensor) -> tf.Tensor:
        """[M, ...] -> [B, O, ...]; values at padded places are meaningless."""
        inner = values.shape[1:]
        shape = tf.concat([self._shape, inner], axis=0)
        if self._places is None:
            values = tf.reshape(values, shape)  # [B, O, ...]
        else:
            shape = tf.cast(shape, self._places.dtype)
            values = tf.scatter_nd(self._places, values, shape)  # [B, O, ...]
        return tf.ensure_shape(values, [None, self._objects, *inner])  # [B, O, ...]
