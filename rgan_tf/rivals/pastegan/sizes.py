"""The widths of PasteGAN: as published, and within the operations of one image of RetrieveGAN."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Sizes:
    """All widths of PasteGAN.

    Attributes:
      published: whether the generator has the published modules; otherwise it has those of
        RetrieveGAN, with a flow net in each refiner layer.
      width: of all vectors.
      hidden: of the graph network.
      layers: of the graph network.
      box_hidden: of the box network.
      encoder_channels: of the published crop encoder's halvings.
      crop_channels: of the crop maps.
      refiner_layers: graph convolutions over maps.
      refiner_hidden: of their messages.
      flow_channels: of their flow nets; 0 leaves them out.
      canvas_channels: of the canvas; published, it is `width` + `crop_channels`.
      canvas_blocks: residual blocks on the canvas.
      decoder_channels: published, of the refinement modules, the first at image_size / 2^(n - 1);
        otherwise of both doublings.
      discriminator_channels: of both trunks.
      discriminator_hidden: of the object discriminator.
      crop_size: of the crops that it judges, in px.
    """

    published: bool = True
    width: int = 128
    hidden: int = 512
    layers: int = 4
    box_hidden: int = 512
    encoder_channels: tuple[int, ...] = (64, 128, 256)
    crop_channels: int = 128
    refiner_layers: int = 4
    refiner_hidden: int = 512
    flow_channels: int = 128
    canvas_channels: int = 256
    canvas_blocks: int = 6
    decoder_channels: tuple[int, ...] = (1024, 512, 256, 128, 64)
    discriminator_channels: tuple[int, ...] = (64, 128, 256)
    discriminator_hidden: int = 1024
    crop_size: int = 32


PUBLIC = Sizes()

SCALED = Sizes(
    published=False,
    hidden=128,
    layers=5,
    box_hidden=128,
    crop_channels=64,
    refiner_layers=2,
    refiner_hidden=112,
    flow_channels=32,
    canvas_channels=96,
    canvas_blocks=3,
    decoder_channels=(64, 32),
)
"""RetrieveGAN's generator and graph network with narrower messages, which pay for the flow nets."""
