"""Generates images from patches, graph and boxes: the third stage of the paper's pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from rgan_tf.generator import blocks
from rgan_tf.generator.composition import Composition, compose
from rgan_tf.generator.crop_encoder import CropEncoder, CropMaps
from rgan_tf.generator.decoder import CanvasDecoder
from rgan_tf.generator.fuser import ObjectImageFuser, object_weights, weighted_sum
from rgan_tf.generator.layout import warp_planes, warp_to_boxes
from rgan_tf.generator.masks import PatchMask
from rgan_tf.generator.refiner import RefinerLayer
from rgan_tf.graph.encoder import GraphEncoding


class Fused(NamedTuple):
    """The decoder's input: all objects fused on canvases of the image's shape.

    Attributes:
      canvas: [B, S, S, canvas_channels], S = image_size / 4, equation (9).
      skip: [B, 2 S, 2 S, .], or None.
      composition: of the size of the image, or None.
      mask_logits: [B, O, h, w, 1] float32, over each patch, not its box; None without masks.
    """

    canvas: tf.Tensor
    skip: tf.Tensor | None
    composition: Composition | None
    mask_logits: tf.Tensor | None


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class PatchGenerator(tf.keras.layers.Layer):
    """Crop encoder, object-object refiner, object-image fuser and decoder (section 3.3).

    Differs from the paper (which follows PasteGAN): the canvas has a quarter of the image's
    resolution, nothing is normalised over the batch, and the image node starts from a zero map
    (PasteGAN: from the map of a zero crop). Not in the paper, and off by default: the composition
    of the patches' pixels, soft masks, and the skip. All three fuse objects by the attention of
    equation (8), recomputed at their resolution.

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
      composition: keep the patches' pixels, see `CanvasDecoder`.
      masks: weight each patch by its own soft mask, see `PatchMask`.
      skip: pass the crop encoder's finer maps to the decoder's first doubling.

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
        composition: bool = False,
        masks: bool = False,
        skip: bool = False,
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
            "composition": composition,
            "masks": masks,
            "skip": skip,
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
            skip=skip,
            composition=composition,
            name="decoder",
        )
        if masks:
            self.patch_mask = PatchMask(channels=max(crop_channels // 4, 1), name="patch_mask")
        if skip:
            # A linear map before the warp, so that few channels are warped.
            self.skip_features = blocks.convolution(
                max(decoder_channels[0] // 4, 1), 1, use_bias=False, name="skip_features"
            )

    def call(self, crops: tf.Tensor, encoding: GraphEncoding, boxes: tf.Tensor) -> tf.Tensor:
        fused = self.fuse(crops, encoding, boxes)
        return self.decoder(fused.canvas, fused.skip, fused.composition)  # [B, H, W, 3]

    def canvas(self, crops: tf.Tensor, encoding: GraphEncoding, boxes: tf.Tensor) -> tf.Tensor:
        """The canvas of equation (9), [B, image_size / 4, image_size / 4, canvas_channels]."""
        return self.fuse(crops, encoding, boxes).canvas

    def fuse(self, crops: tf.Tensor, encoding: GraphEncoding, boxes: tf.Tensor) -> Fused:
        """Everything before the decoder; for the arguments see `call`."""
        objects = crops.shape[1]

        def by_object(values: tf.Tensor) -> tf.Tensor:
            return tf.reshape(values, [-1, objects, *values.shape[1:]])

        crop_maps = self.crop_encoder(tf.reshape(crops, [-1, *crops.shape[2:]]))
        maps = by_object(crop_maps.maps)  # [B, O, 8, 8, C]
        # Padded objects need no mask here: they have no edges, and the fuser leaves them out.
        maps = tf.concat([maps, tf.zeros_like(maps[:, :1])], axis=1)  # [B, O + 1, 8, 8, C]
        for layer in self.refiner:
            maps = layer(maps, encoding.predicate_vectors, encoding.triples)
        mask_logits = None
        if self.settings["masks"]:
            mask_logits = by_object(self._mask_logits(crop_maps, encoding))  # [B, O, h, w, 1]

        def masks_at(size: int) -> tf.Tensor | None:
            if mask_logits is None:
                return None
            return warp_planes(mask_logits, boxes, size, size)[:, :, 0]  # [B, O, size, size]

        canvas_size = self.settings["image_size"] // 4
        canvas, scores = self.fuser(
            maps,
            encoding.object_vectors,
            encoding.image_vector,
            encoding.predicate_vectors[:, -objects:],  # [B, O, W] relations with the image
            boxes,
            encoding.object_mask,
            canvas_size,
            masks_at(canvas_size),
        )  # [B, S, S, canvas_channels], [B, O, 8, 8, 1]
        skip, composition = None, None
        if self.settings["skip"]:
            size = 2 * canvas_size
            weights = object_weights(scores, boxes, encoding.object_mask, size, masks_at(size))
            features = by_object(self.skip_features(crop_maps.fine))  # [B, O, h, w, c]
            features = warp_to_boxes(features, boxes, size, size)  # [B, O, 2S, 2S, c]
            skip = weighted_sum(weights, features)  # [B, 2S, 2S, c]
        if self.settings["composition"]:
            size = self.settings["image_size"]
            masks = masks_at(size)  # [B, O, H, W]
            weights = object_weights(scores, boxes, encoding.object_mask, size, masks)
            composition = compose(crops, weights, boxes, masks)
        return Fused(canvas, skip, composition, mask_logits)

    def _mask_logits(self, crop_maps: CropMaps, encoding: GraphEncoding) -> tf.Tensor:
        vectors = encoding.object_vectors  # [B, O, W]
        return self.patch_mask(crop_maps, tf.reshape(vectors, [-1, vectors.shape[-1]]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings}
