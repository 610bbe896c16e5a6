"""Soft masks: which pixels of a patch are the object."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rgan_tf.generator import blocks
from rgan_tf.generator.crop_encoder import CropMaps


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class PatchMask(tf.keras.layers.Layer):
    """Predicts logits of a soft mask from both maps of a patch and its object's vector.

    The vector tells which part to select: in a patch with trees, sky and a road, `vegetation` and
    `sky` are different parts. The last convolution starts at zero, so that masks have no effect at
    first.

    Args:
      channels: hidden channels, at least 1.

    Call args:
      crop_maps: `CropMaps` of N patches, [N, 8, 8, C] and [N, 8 * f, 8 * f, c], f either 1 or 2.
      vectors: [N, W] float32, of their objects.

    Returns:
      [N, 8 * f, 8 * f, 1] float32 logits.

    Raises:
      ValueError: if channels < 1.
    """

    def __init__(self, *, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        self.channels = channels
        self.coarse = blocks.convolution(channels, 1, name="coarse")
        self.fine = blocks.convolution(channels, 3, use_bias=False, name="fine")
        self.vector = tf.keras.layers.Dense(channels, use_bias=False, name="vector")
        self.to_logits = blocks.convolution(1, 3, gain=0.0, name="to_logits")

    def call(self, crop_maps: CropMaps, vectors: tf.Tensor) -> tf.Tensor:
        hidden = self.coarse(blocks.activate(crop_maps.maps))  # [N, 8, 8, F]
        hidden += self.vector(vectors)[:, tf.newaxis, tf.newaxis]  # [N, 8, 8, F]
        if crop_maps.fine.shape[1] > hidden.shape[1]:
            hidden = blocks.upsample(hidden)  # [N, h, w, F]
        hidden += self.fine(crop_maps.fine)  # [N, h, w, F]
        logits = self.to_logits(blocks.activate(hidden))  # [N, h, w, 1]
        return tf.cast(logits, tf.float32)  # [N, h, w, 1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}
