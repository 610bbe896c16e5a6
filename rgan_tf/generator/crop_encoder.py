"""Encodes patches as feature maps."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rgan_tf.generator import blocks

MAP_SIZE = 8  # side of every crop map


class CropMaps(NamedTuple):
    """Feature maps of every patch.

    Attributes:
      maps: [N, 8, 8, channels], the crop maps.
      fine: [N, 16, 16, channels / 2] activated, the input of the last halving; the crop itself if
        that has 16 px or less.
    """

    maps: tf.Tensor
    fine: tf.Tensor


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class CropEncoder(tf.keras.layers.Layer):
    """Halves a patch until its map is 8 x 8, then one residual block.

    The halving convolutions have kernels 4 wide: an even kernel keeps the map's cells centred on
    their pixels, a 3-wide one shifts them by half a pixel.

    Args:
      crop_size: side of the patches in px: 8, 16, 32, 64, ...
      channels: channels of the map, at least 1.

    Call args:
      crops: [N, crop_size, crop_size, 3] float32 in [-1, 1].

    Returns:
      `CropMaps`.

    Raises:
      ValueError: if crop_size is not 8 times a power of two or channels < 1.
    """

    def __init__(self, *, crop_size: int, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        halvings = max(crop_size // MAP_SIZE, 1).bit_length() - 1
        if MAP_SIZE << halvings != crop_size:
            raise ValueError(f"crop_size must be 8 times a power of two, got {crop_size}")
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        self.crop_size = crop_size
        self.channels = channels
        widths = [max(channels >> (halvings - 1 - step), 1) for step in range(halvings)]
        self.convolutions = [
            blocks.convolution(width, 4, strides=2, name=f"convolution_{step}")
            for step, width in enumerate(widths)
        ] or [blocks.convolution(channels, 3, name="convolution_0")]
        self.block = blocks.ResidualBlock(channels=channels, name="block")

    def call(self, crops: tf.Tensor) -> CropMaps:
        fine = crops  # [N, crop_size, crop_size, 3]
        for layer in self.convolutions[:-1]:
            fine = blocks.activate(layer(fine))  # [N, h, w, c]
        values = self.convolutions[-1](fine)  # [N, 8, 8, channels]
        return CropMaps(maps=self.block(values), fine=fine)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "crop_size": self.crop_size,
            "channels": self.channels,
        }
