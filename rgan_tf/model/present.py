"""Per-object work on the objects that are there, and none on padding."""

from __future__ import annotations

import tensorflow as tf


class PresentObjects:
    """Lays the objects of several examples in one row, and puts results back in their places.

    About a fifth of a batch's places are padding. XLA compiles for sizes that it knows, and how
    many objects a batch has is none of them: with `keeps_padding` every place takes part.

    Args:
      object_mask: [B, O] bool.
      keeps_padding: whether padded places take part after all.
    """

    def __init__(self, object_mask: tf.Tensor, *, keeps_padding: bool):
        self._shape = tf.shape(object_mask)  # [2]
        self._objects = object_mask.shape[1]
        if keeps_padding:
            self._places = None
            return
        # Convolutions of TensorFlow 2.15 fail on nothing: a batch without objects takes one place.
        first = tf.one_hot(0, tf.size(object_mask), True, False, dtype=tf.bool)  # [B * O]
        first = tf.reshape(first, self._shape) & ~tf.reduce_any(object_mask)  # [B, O]
        # A gather by unique places: its gradient never adds, and so is the same at every call.
        self._places = tf.where(object_mask | first)  # [M, 2]

    def take(self, values: tf.Tensor) -> tf.Tensor:
        """[B, O, ...] -> [M, ...], the objects that are there, in order; M is at least 1."""
        if self._places is None:
            return tf.reshape(values, [-1, *values.shape[2:]])  # [B * O, ...]
        return tf.gather_nd(values, self._places)  # [M, ...]

    def put(self, values: tf.Tensor) -> tf.Tensor:
        """[M, ...] -> [B, O, ...]; what stands at padded places means nothing."""
        inner = values.shape[1:]
        shape = tf.concat([self._shape, inner], axis=0)
        if self._places is None:
            values = tf.reshape(values, shape)  # [B, O, ...]
        else:
            shape = tf.cast(shape, self._places.dtype)
            values = tf.scatter_nd(self._places, values, shape)  # [B, O, ...]
        return tf.ensure_shape(values, [None, self._objects, *inner])  # [B, O, ...]
