"""The image encoder: a frozen network's map, projected into the space of the texts."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rgan_tf.backbones import Backbone, load_backbone

NETWORK = "squeezenet"
"""Not MobileNetV2: that one judges the images of the small configs, and the generator receives a
gradient through this one."""

_SIDE = 224  # px; the last map has 13 x 13 regions of stride 16 (Inception-v3 at 299 px: 17 x 17)
_START = 0.1  # both projections start uniform in [-0.1, 0.1]


class Regions(NamedTuple):
    """An encoded image.

    Attributes:
      regions: [B, R, D] float32, row by row.
      image: [B, D] float32.
    """

    regions: tf.Tensor
    image: tf.Tensor


class ImageFeatures:
    """The last perceptual map of a frozen network, of images enlarged to one side.

    A plain object, so that a model holding it neither saves nor trains the network. Differentiable
    in the images.

    Args:
      backbone: with perceptual maps.
      side: px, to which images are resized (bilinear).
    """

    def __init__(self, backbone: Backbone, side: int = _SIDE):
        self._backbone = backbone
        self._side = side
        backbone.perceptual_network()  # loads now: errors and variables before training

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """[B, H, W, 3] float32 in [-1, 1] -> [B, h, w, C] float32."""
        images = tf.image.resize(images, [self._side, self._side])  # [B, S, S, 3]
        return self._backbone.perceptual(images)[-1]  # [B, h, w, C]


def frozen_features() -> ImageFeatures:
    """`ImageFeatures` of the network that AttnGAN reads here; its weights ship with the project."""
    return ImageFeatures(load_backbone(NETWORK))


class ImageEncoder(tf.keras.layers.Layer):
    """Projects a frozen map: its cells to regions, its mean to the whole image.

    Args:
      joint: D.

    Call args:
      maps: [B, h, w, C] float32.
      pooled: [B, C'] float32, what the whole image is read from; None: the mean of the map. The
        published Inception-v3 has another layer for it.

    Returns:
      `Regions`.
    """

    def __init__(self, *, joint: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.joint = joint

        def start():
            return tf.keras.initializers.RandomUniform(-_START, _START)

        self.of_regions = tf.keras.layers.Dense(
            joint, use_bias=False, kernel_initializer=start(), name="of_regions"
        )
        self.of_image = tf.keras.layers.Dense(joint, kernel_initializer=start(), name="of_image")

    def call(self, maps: tf.Tensor, pooled: tf.Tensor | None = None) -> Regions:
        if pooled is None:
            pooled = tf.reduce_mean(maps, axis=[1, 2])  # [B, C]
        regions = self.of_regions(maps)  # [B, h, w, D]
        count = maps.shape[1] * maps.shape[2]
        return Regions(
            tf.reshape(regions, [-1, count, self.joint]),  # [B, R, D]
            self.of_image(pooled),  # [B, D]
        )
