"""Group normalisation instead of the rivals' batch normalisation.

Its scale and shift have the size of batch normalisation's, so parameter counts are the public ones.
Statistics are those of one map alone: a result depends neither on the batch nor on the replicas.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

_GROUPS = 8
_CHANNELS_PER_GROUP = 4  # at least
_EPSILON = 1e-5


def group_normalization(
    channels: int, *, name: str, affine: bool = True, scale_start: Any = "ones"
) -> tf.keras.layers.Layer:
    """Normalises groups of channels of one map; 8 groups, fewer if they had less than 4 channels.

    Args:
      channels: of the maps; a multiple of 4, and of 8 above 32.
      name: of the layer.
      affine: whether it has a scale and a shift per channel.
      scale_start: Keras initializer of the scale.
    """
    groups = min(_GROUPS, max(1, channels // _CHANNELS_PER_GROUP))
    return tf.keras.layers.GroupNormalization(
        groups=groups,
        epsilon=_EPSILON,
        center=affine,
        scale=affine,
        gamma_initializer=scale_start,
        name=name,
    )


class ClassConditionalNormalization(tf.keras.layers.Layer):
    """Normalises a map, then scales and shifts its channels by the object's category.

    Args:
      num_objects: rows of the object vocabulary.
      channels: of the maps.

    Call args:
      values: [N, h, w, C] float32.
      objects: [N] int32, the category of each map.

    Returns:
      [N, h, w, C] float32.
    """

    def __init__(self, *, num_objects: int, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.normalization = group_normalization(channels, name="normalization", affine=False)
        self.scale = tf.keras.layers.Embedding(
            num_objects,
            channels,
            embeddings_initializer=tf.keras.initializers.RandomNormal(1.0, 0.02),
            name="scale",
        )
        self.shift = tf.keras.layers.Embedding(
            num_objects, channels, embeddings_initializer="zeros", name="shift"
        )

    def call(self, values: tf.Tensor, objects: tf.Tensor) -> tf.Tensor:
        scale = self.scale(objects)[:, tf.newaxis, tf.newaxis]  # [N, 1, 1, C]
        shift = self.shift(objects)[:, tf.newaxis, tf.newaxis]  # [N, 1, 1, C]
        return self.normalization(values) * scale + shift  # [N, h, w, C]
