"""Patches, graph and boxes to images: the third stage of the paper's pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.generator.crop_encoder import CropEncoder
from rgan_tf.generator.decoder import CanvasDecoder
from rgan_tf.generator.fuser import ObjectImageFuser
from rgan_tf.generator.refiner import RefinerLayer
from rgan_tf.graph.encoder import GraphEncoding


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class PatchGenerator(tf.keras.layers.Layer):
    """Crop encoder, object-object refiner, object-image fuser and decoder (section 3.3).

    Differs from the paper (which follows PasteGAN): the canvas lies at a quarter of the image's
    resolution, nothing is normalised over the batch, and the image node starts from a zero map
    (PasteGAN: from the map of a zero crop).

    Args:
      image_size: side of the images in px, a multiple of 4.
      crop_size: side of the patches in px, 8 times a power of two.
      crop_channels: channels of crop maps.
      refiner_layers: number of refiner layers, at least 0.
      refiner_hidden: channels of the refiner's messages.
      canvas_channels: channels of the canvas.
      canvas_blocks: residual blocks on the canvas.
      decoder_channels: channels after each of the two doublings.
      attention_weight: lambda_attn of equation (9).

    Call args:
      crops: [B, O, crop_size, crop_size, 3] float32 in [-1, 1], one patch per object.
      encoding: `GraphEncoding` of the graphs.
      boxes: [B, O, 4] float32 [y0, x0, y1, x1] in [0, 1].

    Returns:
      [B, image_size, image_size, 3] float32 in [-1, 1].

    Raises:
      ValueError: if a size is out of range.
    """

    def __init__(
        self,
        *,
        image_size: int,
        crop_size: int,
        crop_channels: int = 64,
        refiner_layers: int = 2,
        refiner_hidden: int = 128,
        canvas_channels: int = 96,
        canvas_blocks: int = 3,
        decoder_channels: Sequence[int] = (64, 32),
        attention_weight: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if image_size < 4 or image_size % 4:
            raise ValueError(f"image_size must be a multiple of 4, got {image_size}")
        if len(decoder_channels) != 2:
            raise ValueError(f"decoder_channels needs 2 entries, got {tuple(decoder_channels)}")
        if refiner_layers < 0:
            raise ValueError(f"refiner_layers must not be negative, got {refiner_layers}")
        self.settings = {
            "image_size": image_size,
            "crop_size": crop_size,
            "crop_channels": crop_channels,
            "refiner_layers": refiner_layers,
            "refiner_hidden": refiner_hidden,
            "canvas_channels": canvas_channels,
            "canvas_blocks": canvas_blocks,
            "decoder_channels": list(decoder_channels),
            "attention_weight": attention_weight,
        }
        self.crop_encoder = CropEncoder(
            crop_size=crop_size, channels=crop_channels, name="crop_encoder"
        )
        self.refiner = [
            RefinerLayer(channels=crop_channels, hidden=refiner_hidden, name=f"refiner_{index}")
            for index in range(refiner_layers)
        ]
        self.fuser = ObjectImageFuser(
            channels=canvas_channels, attention_weight=attention_weight, name="fuser"
        )
        self.decoder = CanvasDecoder(
            canvas_channels=canvas_channels,
            canvas_blocks=canvas_blocks,
            decoder_channels=decoder_channels,
            name="decoder",
        )

    def call(self, crops: tf.Tensor, encoding: GraphEncoding, boxes: tf.Tensor) -> tf.Tensor:
        return self.decoder(self.canvas(crops, encoding, boxes))  # [B, H, W, 3]

    def canvas(self, crops: tf.Tensor, encoding: GraphEncoding, boxes: tf.Tensor) -> tf.Tensor:
        """The canvas of equation (9), [B, image_size / 4, image_size / 4, canvas_channels]."""
        objects = crops.shape[1]
        maps = self.crop_encoder(tf.reshape(crops, [-1, *crops.shape[2:]]))  # [B * O, 8, 8, C]
        maps = tf.reshape(maps, [-1, objects, *maps.shape[1:]])  # [B, O, 8, 8, C]
        # Padded objects need no mask here: no edge touches them, and the fuser leaves them out.
        maps = tf.concat([maps, tf.zeros_like(maps[:, :1])], axis=1)  # [B, O + 1, 8, 8, C]
        for layer in self.refiner:
            maps = layer(maps, encoding.predicate_vectors, encoding.triples)
        return self.fuser(
            maps,
            encoding.object_vectors,
            encoding.image_vector,
            encoding.predicate_vectors[:, -objects:],  # [B, O, W] relations with the image
            boxes,
            encoding.object_mask,
            self.settings["image_size"] // 4,
        )  # [B, S, S, canvas_channels]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings}
