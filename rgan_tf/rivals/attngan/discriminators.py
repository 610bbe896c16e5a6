"""AttnGAN's discriminators: one per stage, each asks twice, with the sentence and without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.generator.blocks import activate
from rgan_tf.rivals.attngan.blocks import convolution, normalization
from rgan_tf.rivals.attngan.sizes import Sizes

_END = 4  # px, the side of the map that is judged
_WIDEST = 8  # times m: a trunk of more than four halvings narrows to it


class Trunk(tf.keras.layers.Layer):
    """Halves images to 4 x 4 cells; all convolutions but the first are normalised.

    Args:
      width: m, of the first convolution; each halving doubles it.
      side: of the images, in px; 4 times a power of two, at least 8.

    Call args:
      images: [N, side, side, 3] float32.

    Returns:
      [N, 4, 4, c] float32, activated; c = m 2^(halvings - 1), but 8 m at most.
    """

    def __init__(self, *, width: int, side: int, **kwargs: Any):
        super().__init__(**kwargs)
        halvings = (side // _END).bit_length() - 1
        self.first = convolution(width, 4, strides=2, name="halving_0")
        self.channels = width
        self.convolutions, self.normalizations = [], []
        for index in range(1, halvings):
            self._add(2 * self.channels, 4, 2, f"halving_{index}")
        while self.channels > _WIDEST * width:
            self._add(self.channels // 2, 3, 1, f"narrowing_{self.channels // width}")

    def _add(self, channels: int, size: int, strides: int, name: str) -> None:
        self.convolutions.append(convolution(channels, size, strides=strides, name=name))
        self.normalizations.append(normalization(channels, name=f"{name}_normalization"))
        self.channels = channels

    def call(self, images: tf.Tensor) -> tf.Tensor:
        values = activate(self.first(images))  # [N, s, s, c]
        for layer, normalize in zip(self.convolutions, self.normalizations, strict=True):
            values = activate(normalize(layer(values)))  # [N, s, s, c]
        return values


class StageCritic(tf.keras.layers.Layer):
    """Judges the images of one stage.

    Args:
      width, side: see `Trunk`.

    Call args:
      images: [N, side, side, 3] float32 in [-1, 1].
      sentences: [N, D] float32.

    Returns:
      Logits of the images alone and with their sentences, [N] float32 each, positive = real.
    """

    def __init__(self, *, width: int, side: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.trunk = Trunk(width=width, side=side, name="trunk")
        self.joint = convolution(self.trunk.channels, 3, name="joint")
        self.joint_normalization = normalization(self.trunk.channels, name="joint_normalization")

        def head(name: str) -> tf.keras.layers.Layer:
            return convolution(1, _END, name=name, padding="valid", use_bias=True)

        self.alone_head, self.joint_head = head("alone_head"), head("joint_head")

    def unconditional(self, maps: tf.Tensor) -> tf.Tensor:
        """Maps [N, 4, 4, c] of the trunk -> [N] logits of the images alone."""
        return self.alone_head(maps)[:, 0, 0, 0]  # [N]

    def conditional(self, maps: tf.Tensor, sentences: tf.Tensor) -> tf.Tensor:
        """Maps [N, 4, 4, c] and sentences [N, D] -> [N] logits of the pairs."""
        cells = tf.tile(sentences[:, tf.newaxis, tf.newaxis], [1, _END, _END, 1])  # [N, 4, 4, D]
        values = self.joint(tf.concat([cells, maps], axis=-1))  # [N, 4, 4, c]
        values = activate(self.joint_normalization(values))  # [N, 4, 4, c]
        return self.joint_head(values)[:, 0, 0, 0]  # [N]

    def call(self, images: tf.Tensor, sentences: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        maps = self.trunk(images)  # [N, 4, 4, c]
        return self.unconditional(maps), self.conditional(maps, sentences)


class AttnganDiscriminators(tf.keras.Model):
    """One `StageCritic` per stage, with all variables created.

    Args:
      sizes: widths.
      image_size: of the last stage, in px.
    """

    def __init__(self, sizes: Sizes, *, image_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.sides = sizes.sides(image_size)
        self.critics = [
            StageCritic(width=sizes.discriminator_width, side=side, name=f"critic_{side}")
            for side in self.sides
        ]
        for critic, side in zip(self.critics, self.sides, strict=True):
            critic(tf.zeros([1, side, side, 3]), tf.zeros([1, sizes.joint]))


def pyramid_of(images: tf.Tensor, stages: int) -> Sequence[tf.Tensor]:
    """Images [B, H, W, 3], and halves of them by means, the smallest first: `stages` in all."""
    pyramid = [images]
    for _ in range(stages - 1):
        pyramid.insert(0, tf.nn.avg_pool2d(pyramid[0], 2, 2, "VALID"))  # [B, h / 2, w / 2, 3]
    return pyramid
