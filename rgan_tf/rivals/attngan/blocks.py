"""Pieces of AttnGAN's generators: gated convolutions that start orthogonal."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rgan_tf.generator.blocks import upsample
from rgan_tf.rivals.normalization import group_normalization


def convolution(
    filters: int, size: int, *, name: str, strides: int = 1, **options: Any
) -> tf.keras.layers.Conv2D:
    """A "same" convolution without bias that starts orthogonal.

    Args:
      filters, size, strides, name: as in Keras.
      **options: other options of Keras's layer.
    """
    options = {"padding": "same", "use_bias": False, **options}
    return tf.keras.layers.Conv2D(
        filters, size, strides=strides, kernel_initializer="orthogonal", name=name, **options
    )


def normalization(channels: int, *, name: str) -> tf.keras.layers.Layer:
    """Group normalisation whose scale starts as published for batch normalisation, N(1, 0.02)."""
    return group_normalization(
        channels, name=name, scale_start=tf.keras.initializers.RandomNormal(1.0, 0.02)
    )


def gated(values: tf.Tensor) -> tf.Tensor:
    """The first half of the channels, opened and closed by the second: [..., 2 C] -> [..., C]."""
    content, gate = tf.split(values, 2, axis=-1)  # [..., C] each
    return content * tf.sigmoid(gate)  # [..., C]


class UpBlock(tf.keras.layers.Layer):
    """[B, s, s, c] -> [B, 2 s, 2 s, channels] float32."""

    def __init__(self, *, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.convolution = convolution(2 * channels, 3, name="convolution")
        self.normalization = normalization(2 * channels, name="normalization")

    def call(self, values: tf.Tensor) -> tf.Tensor:
        values = self.convolution(upsample(values))  # [B, 2 s, 2 s, 2 channels]
        return gated(self.normalization(values))  # [B, 2 s, 2 s, channels]


class ResidualBlock(tf.keras.layers.Layer):
    """x + two normalised 3 x 3 convolutions, gated between them, [B, s, s, C] -> [B, s, s, C]."""

    def __init__(self, *, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.first = convolution(2 * channels, 3, name="first")
        self.first_normalization = normalization(2 * channels, name="first_normalization")
        self.second = convolution(channels, 3, name="second")
        self.second_normalization = normalization(channels, name="second_normalization")

    def call(self, values: tf.Tensor) -> tf.Tensor:
        hidden = gated(self.first_normalization(self.first(values)))  # [B, s, s, C]
        return values + self.second_normalization(self.second(hidden))  # [B, s, s, C]
