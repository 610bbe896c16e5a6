"""Perceptual distance: how far two images are apart in the maps of a pretrained network."""

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
    layer weights that make two unrelated photographs about 1 apart where the backbone is one of
    ours (`NetworkSpec.perceptual_weights`).

    It is a plain object, so a model that holds one neither saves nor trains the network.

    Args:
      backbone: a frozen network that offers perceptual maps.

    Raises:
      BadInput: if the backbone offers none, or its weights are damaged.
    """

    def __init__(self, backbone: Backbone):
        self._backbone = backbone
        backbone.perceptual_network()  # read now: errors and variables belong before training

    @property
    def name(self) -> str:
        """The backbone's name, to be part of every reported number's name."""
        return self._backbone.name

    def maps(self, images: tf.Tensor) -> list[tf.Tensor]:
        """The maps of a target that several images are compared with.

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
        """The distance of images to their targets; the gradient reaches `images` only.

        Args:
          images: [B, H, W, 3] float32 in [-1, 1].
          target: [B, H, W, 3] float32 in [-1, 1].

        Returns:
          [B] float32, at least 0.
        """
        return self.between(self.maps(images), self.maps(tf.stop_gradient(target)))  # [B]
