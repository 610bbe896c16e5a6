"""The widths of sg2im: as published, and within the operations of one image of RetrieveGAN."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Sizes:
    """All widths of sg2im.

    Attributes:
      width: of object and predicate vectors, and of the layout.
      hidden: of the graph network's perceptrons.
      layers: of the graph network.
      box_hidden: of the box network and the relation head.
      mask_width: channels of the mask network; another value than `width` adds a linear map to it.
      mask_doublings: of the mask network; masks have a side of 2^n cells.
      noise_channels: joined to the layout.
      decoder_channels: of the refinement modules; the first works at image_size / 2^(n - 1).
      discriminator_channels: of both trunks.
      discriminator_hidden: of the object discriminator.
      crop_size: of the crops that it judges, in px.
    """

    width: int = 128
    hidden: int = 512
    layers: int = 5
    box_hidden: int = 512
    mask_width: int = 128
    mask_doublings: int = 4
    noise_channels: int = 32
    decoder_channels: tuple[int, ...] = (1024, 512, 256, 128, 64)
    discriminator_channels: tuple[int, ...] = (64, 128, 256)
    discriminator_hidden: int = 1024
    crop_size: int = 32


PUBLIC = Sizes()

SCALED = Sizes(mask_width=64, decoder_channels=(384, 192, 96, 48, 24))
"""Decoder widths times 3/8; depth, resolutions, layout, noise and graph network as published."""
