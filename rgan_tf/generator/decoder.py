"""Canvas to image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.generator import blocks


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class CanvasDecoder(tf.keras.layers.Layer):
    """Residual blocks at the resolution of the canvas, then doublings up to the image.

    Args:
      canvas_channels: channels of the canvas, at least 1.
      canvas_blocks: residual blocks before the first doubling, at least 0.
      decoder_channels: channels after each doubling, at least one entry.

    Call args:
      canvas: [B, S, S, canvas_channels] float32.

    Returns:
      [B, S * 2^n, S * 2^n, 3] float32 in [-1, 1], n = len(decoder_channels).

    Raises:
      ValueError: if a size is out of range.
    """

    def __init__(
        self,
        *,
        canvas_channels: int,
        canvas_blocks: int,
        decoder_channels: Sequence[int],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        decoder_channels = tuple(decoder_channels)
        if canvas_blocks < 0:
            raise ValueError(f"canvas_blocks must not be negative, got {canvas_blocks}")
        if not decoder_channels or min(decoder_channels) < 1:
            raise ValueError(f"decoder_channels needs entries above 0, got {decoder_channels}")
        self.canvas_channels = canvas_channels
        self.canvas_blocks = canvas_blocks
        self.decoder_channels = decoder_channels
        self.blocks = [
            blocks.ResidualBlock(channels=canvas_channels, name=f"block_{index}")
            for index in range(canvas_blocks)
        ]
        self.stages = [
            (
                blocks.convolution(channels, 3, name=f"up_{index}"),
                blocks.ResidualBlock(channels=channels, name=f"up_block_{index}"),
            )
            for index, channels in enumerate(decoder_channels)
        ]
        # Small at first, so that tanh starts unsaturated.
        self.to_image = blocks.convolution(3, 3, gain=0.1, name="to_image")

    def call(self, canvas: tf.Tensor) -> tf.Tensor:
        values = canvas  # [B, S, S, C]
        for block in self.blocks:
            values = block(values)  # [B, S, S, C]
        for widen, block in self.stages:
            values = block(widen(blocks.upsample(blocks.activate(values))))  # [B, 2s, 2s, c]
        image = self.to_image(blocks.activate(values))  # [B, H, W, 3]
        return tf.tanh(tf.cast(image, tf.float32))  # [B, H, W, 3]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "canvas_channels": self.canvas_channels,
            "canvas_blocks": self.canvas_blocks,
            "decoder_channels": list(self.decoder_channels),
        }
