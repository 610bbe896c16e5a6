"""PasteGAN's generator at our size: RetrieveGAN's modules, with a flow net in the refiner."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rgan_tf.generator.generator import PatchGenerator
from rgan_tf.generator.refiner import RefinerLayer
from rgan_tf.graph import tensors
from rgan_tf.rivals.pastegan.flow import FlowNet
from rgan_tf.rivals.pastegan.sizes import Sizes


class WarpingRefinerLayer(RefinerLayer):
    """Refines by messages of warped maps; the residual sum has the maps as they were.

    Args:
      flow_channels: of the flow net; 0 leaves it out, which is `RefinerLayer`.
      **kwargs: see `RefinerLayer`.
    """

    def __init__(self, *, flow_channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.flow = FlowNet(channels=flow_channels, name="flow") if flow_channels else None

    def call(self, maps: tf.Tensor, vectors: tf.Tensor, triples: tf.Tensor) -> tf.Tensor:
        if self.flow is None:
            return super().call(maps, vectors, triples)
        warped = self.flow(tensors.flatten_batch(maps))  # [B * N, h, w, C]
        warped = tf.reshape(warped, [-1, *maps.shape[1:]])  # [B, N, h, w, C]
        return maps + self.refinement(warped, vectors, triples)


class ScaledGenerator(PatchGenerator):
    """`PatchGenerator` whose refiner layers warp; call arguments and result are the same.

    Args:
      sizes: widths.
      image_size: H = W, in px.
      crop_size: of the patches, in px.
    """

    def __init__(self, sizes: Sizes, *, image_size: int, crop_size: int, **kwargs: Any):
        super().__init__(
            image_size=image_size,
            crop_size=crop_size,
            crop_channels=sizes.crop_channels,
            refiner_layers=0,  # they follow
            canvas_channels=sizes.canvas_channels,
            canvas_blocks=sizes.canvas_blocks,
            decoder_channels=sizes.decoder_channels,
            **kwargs,
        )
        self.refiner = [
            WarpingRefinerLayer(
                flow_channels=sizes.flow_channels,
                channels=sizes.crop_channels,
                hidden=sizes.refiner_hidden,
                name=f"refiner_{index}",
            )
            for index in range(sizes.refiner_layers)
        ]

    def encode(self, crops: tf.Tensor) -> tf.Tensor:
        """[N, S, S, 3] float32 in [-1, 1] -> [N, 8, 8, crop_channels], the maps of patches."""
        return self.crop_encoder(crops).maps
