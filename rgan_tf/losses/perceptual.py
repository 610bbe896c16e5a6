"""Perceptual distance of two images: their difference in the maps of a pretrained network."""

from __future__ import annotations

import typing
from collections.abc import Sequence

import tensorflow as tf

from rgan_tf.fixed_order import sum_of

if typing.TYPE_CHECKING:
    from rgan_tf.backbones import Backbone


class PerceptualDistance:
    """Weighted sum over layers of the mean absolute difference of feature maps.

    Losses L_p^img and L_p^obj of the paper's section 3.4. Differs from the paper: any backbone, and
    for our backbones layer weights that make the distance of two unrelated photographs about 1
    (`NetworkSpec.perceptual_weights`).

    A plain object, so that a model holding it neither saves nor trains the network.

    Args:
      backbone: a frozen network with perceptual maps.

    Raises:
      BadInput: if the backbone has none, or its weights are damaged.
    """

    def __init__(self, backbone: Backbone):
        self._backbone = backbone
        backbone.perceptual_network()  # loads now: errors and variables before training

    @property
    def name(self) -> str:
        """The backbone's name; part of the name of every reported number."""
        return self._backbone.name

    def maps(self, images: tf.Tensor) -> list[tf.Tensor]:
        """The maps of a target, to compare several images with it.

        Args:
          images: [B, H, W, 3] float32 in [-1, 1], at least 32 px a side.

        Returns:
          Maps [B, h, w, C] float32, for `between`.
        """
        return self._backbone.perceptual(images)

    def between(self, first: Sequence[tf.Tensor], second: Sequence[tf.Tensor]) -> tf.Tensor:
        """The distance of two results of `maps`.

        Returns:
          [B] float32, at least 0.
        """
        layers = [
            weight * tf.reduce_mean(tf.abs(a - b), axis=[1, 2, 3])  # [B]
            for weight, a, b in zip(self._backbone.perceptual_weights, first, second, strict=True)
        ]
        return sum_of(layers)  # [B]

    def __call__(self, images: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """The distance of images to their targets; the gradient only reaches `images`.

        Args:
          images: [B, H, W, 3] float32 in [-1, 1].
          target: [B, H, W, 3] float32 in [-1, 1].

        Returns:
          [B] float32, at least 0.
        """
        return self.between(self.maps(images), self.maps(tf.stop_gradient(target)))  # [B]
