"""The widths of layout2im: as published, and within the operations of an image of RetrieveGAN."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Sizes:
    """All widths of layout2im.

    Attributes:
      crop_channels: of the crop encoder; each after the first halves the crop.
      embedding: of the category's vector.
      code: of an object's code z.
      layout_channels: of the layout encoder; each after the first halves the layout.
      sequence_channels: of the convolutional LSTM's layers; the last is the canvas.
      blocks: residual blocks on the canvas.
      decoder_channels: of the decoder; each after the first doubles the canvas.
      image_channels, object_channels: of the residual discriminators' blocks.
      crop_size: of all crops, in px.
    """

    crop_channels: tuple[int, ...] = (64, 128, 256, 512, 1024)
    embedding: int = 64
    code: int = 64
    layout_channels: tuple[int, ...] = (64, 128, 256, 512)
    sequence_channels: tuple[int, ...] = (128, 64, 64)
    blocks: int = 6
    decoder_channels: tuple[int, ...] = (256, 256, 128, 64)
    image_channels: tuple[int, ...] = (64, 128, 256, 512, 1024)
    object_channels: tuple[int, ...] = (64, 128, 256, 512, 1024)
    crop_size: int = 32


PUBLIC = Sizes()

SCALED = Sizes(
    crop_channels=(16, 32, 64, 128, 256),
    layout_channels=(16, 32, 64, 128),
    sequence_channels=(32, 32, 32),
    decoder_channels=(128, 128, 64, 32),
    image_channels=(16, 32, 64, 128, 256),
    object_channels=(12, 24, 48, 96, 192),
)
"""About a quarter of the widths; codes, depths, kernels and the canvas of 8 x 8 as published."""
