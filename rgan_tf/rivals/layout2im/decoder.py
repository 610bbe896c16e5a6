"""From the canvas of layout2im to the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.generator import blocks
from rgan_tf.rivals.normalization import group_normalization


class CanvasDecoder(tf.keras.layers.Layer):
    """Residual blocks on the canvas, then transposed convolutions.

    Args:
      canvas_channels: of the canvas and the residual blocks.
      count: number of residual blocks.
      channels: of the decoder; the first keeps the resolution, each of the others doubles it.

    Call args:
      canvas: [B, h, w, canvas_channels] float32.

    Returns:
      [B, 2^n h, 2^n w, 3] float32 in [-1, 1], n = len(channels) - 1.
    """

    def __init__(self, *, canvas_channels: int, count: int, channels: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.residuals = [
            ResidualBlock(channels=canvas_channels, name=f"block_{index}") for index in range(count)
        ]
        first, *others = channels
        self.convolutions = [
            blocks.convolution(first, 3, use_bias=False, name="convolution"),
            *(
                tf.keras.layers.Conv2DTranspose(
                    width,
                    4,
                    strides=2,
                    padding="same",
                    use_bias=False,
                    kernel_initializer="he_normal",
                    name=f"doubling_{index}",
                )
                for index, width in enumerate(others)
            ),
        ]
        self.normalizations = [
            group_normalization(width, name=f"normalization_{index}")
            for index, width in enumerate(channels)
        ]
        # Small at first, so that tanh does not start saturated.
        self.to_image = blocks.convolution(3, 7, gain=0.1, name="to_image")

    def call(self, canvas: tf.Tensor) -> tf.Tensor:
        values = canvas  # [B, h, w, c]
        for block in self.residuals:
            values = block(values)  # [B, h, w, c]
        for convolution, normalization in zip(self.convolutions, self.normalizations, strict=True):
            values = tf.nn.relu(normalization(convolution(values)))  # [B, s, s, c]
        return tf.tanh(self.to_image(values))  # [B, H, W, 3]


class ResidualBlock(tf.keras.layers.Layer):
    """x + two normalised 3 x 3 convolutions, [B, h, w, C] -> [B, h, w, C]."""

    def __init__(self, *, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.first = blocks.convolution(channels, 3, use_bias=False, name="first")
        self.first_normalization = group_normalization(channels, name="first_normalization")
        self.second = blocks.convolution(channels, 3, use_bias=False, name="second")
        self.second_normalization = group_normalization(channels, name="second_normalization")

    def call(self, values: tf.Tensor) -> tf.Tensor:
        hidden = tf.nn.relu(self.first_normalization(self.first(values)))  # [B, h, w, C]
        return values + self.second_normalization(self.second(hidden))  # [B, h, w, C]
