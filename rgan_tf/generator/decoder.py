"""Decodes the canvas to an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.generator import blocks
from rgan_tf.generator.composition import Composition

_PIXEL_LIMIT = 0.95  # factor on colours before atanh, which is infinite at 1


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class CanvasDecoder(tf.keras.layers.Layer):
    """Residual blocks at the resolution of the canvas, then doublings up to the image.

    With a composition the image is tanh(gain * atanh(0.95 * colours) + bias), gain and bias per
    pixel and colour; the bias alone gives the image without composition. In this scale, the
    log-odds of brightness, a bias is exposure and white balance, a gain is contrast, and nothing
    leaves [-1, 1] or is clipped there. The last stage also sees the composition, so that gain and
    bias can follow its edges. All of this starts at zero, that is, without composition.

    Args:
      canvas_channels: channels of the canvas, at least 1.
      canvas_blocks: residual blocks before the first doubling, at least 0.
      decoder_channels: channels after each doubling, at least one entry.
      skip: whether the first doubling gets further features.
      composition: whether there are patches at full resolution.

    Call args:
      canvas: [B, S, S, canvas_channels] float32.
      skip: [B, 2 S, 2 S, .] float32, or None.
      composition: `Composition` of the size of the image, or None.

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
        skip: bool = False,
        composition: bool = False,
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
        self.skip = skip
        self.composition = composition
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
        # Small at first, so that tanh does not start saturated.
        self.to_image = blocks.convolution(3, 3, gain=0.1, name="to_image")
        if skip:
            self.from_skip = blocks.convolution(
                decoder_channels[0], 3, use_bias=False, gain=0.3, name="from_skip"
            )
        if composition:
            self.from_composition = blocks.convolution(
                decoder_channels[-1], 3, use_bias=False, gain=0.0, name="from_composition"
            )
            self.to_gain = blocks.convolution(3, 3, gain=0.0, name="to_gain")

    def call(
        self,
        canvas: tf.Tensor,
        skip: tf.Tensor | None = None,
        composition: Composition | None = None,
    ) -> tf.Tensor:
        values = canvas  # [B, S, S, C]
        for block in self.blocks:
            values = block(values)  # [B, S, S, C]
        for index, (widen, block) in enumerate(self.stages):
            values = widen(blocks.upsample(blocks.activate(values)))  # [B, 2s, 2s, c]
            if self.skip and index == 0:
                values += self.from_skip(skip)  # [B, 2S, 2S, c]
            if self.composition and index == len(self.stages) - 1:
                values += self.from_composition(tf.concat(composition, axis=-1))  # [B, H, W, c]
            values = block(values)  # [B, 2s, 2s, c]
        values = blocks.activate(values)  # [B, H, W, c]
        image = tf.cast(self.to_image(values), tf.float32)  # [B, H, W, 3]
        if self.composition:
            gain = tf.cast(self.to_gain(values), tf.float32)  # [B, H, W, 3]
            image += gain * tf.atanh(_PIXEL_LIMIT * composition.colours)  # [B, H, W, 3]
        return tf.tanh(image)  # [B, H, W, 3]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "canvas_channels": self.canvas_channels,
            "canvas_blocks": self.canvas_blocks,
            "decoder_channels": list(self.decoder_channels),
            "skip": self.skip,
            "composition": self.composition,
        }
