"""The two residual discriminators of layout2im, spectrally normalised throughout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.adapters.addons import spectral_normalization
from rgan_tf.generator import blocks
from rgan_tf.rivals.discriminators import RivalDiscriminators
from rgan_tf.rivals.layout2im.sizes import SCALED, Sizes
from rgan_tf.vocabulary import Vocabulary


class Block(tf.keras.layers.Layer):
    """Two 3 x 3 convolutions beside a 1 x 1 one, both pooled by 2 if asked for.

    Args:
      channels: of input and output.
      is_first: whether the input is an image: not activated, and widened at once.
      halves: whether the result is pooled.

    Call args:
      values: [N, s, s, channels[0]] float32.

    Returns:
      [N, s, s, channels[1]] float32, or half the side.
    """

    def __init__(self, *, channels: tuple[int, int], is_first: bool, halves: bool, **kwargs: Any):
        super().__init__(**kwargs)
        before, after = channels
        self.is_first = is_first
        self.halves = halves
        self.first = spectral_normalization(
            blocks.convolution(after if is_first else before, 3, name="first")
        )
        self.second = spectral_normalization(blocks.convolution(after, 3, name="second"))
        self.shortcut = spectral_normalization(blocks.convolution(after, 1, name="shortcut"))

    def call(self, values: tf.Tensor) -> tf.Tensor:
        hidden = values if self.is_first else tf.nn.relu(values)  # [N, s, s, c]
        hidden = self.second(tf.nn.relu(self.first(hidden)))  # [N, s, s, c']
        if self.is_first:  # the same result as pooling last, on three channels
            return self._pooled(hidden) + self.shortcut(self._pooled(values))
        return self._pooled(hidden + self.shortcut(values))  # [N, s / 2, s / 2, c']

    def _pooled(self, values: tf.Tensor) -> tf.Tensor:
        return tf.nn.avg_pool2d(values, 2, 2, "VALID") if self.halves else values


class ResidualTrunk(tf.keras.layers.Layer):
    """[N, S, S, 3] images -> [N, channels[-1]] float32, activated and summed over the pixels.

    Args:
      channels: of the blocks.
      halves_first: whether the first block halves too; all others do.
    """

    def __init__(self, *, channels: Sequence[int], halves_first: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.blocks = [
            Block(
                channels=(before, after),
                is_first=index == 0,
                halves=halves_first or index > 0,
                name=f"block_{index}",
            )
            for index, (before, after) in enumerate(zip((3, *channels[:-1]), channels, strict=True))
        ]

    def call(self, images: tf.Tensor) -> tf.Tensor:
        values = images  # [N, S, S, 3]
        for block in self.blocks:
            values = block(values)  # [N, s, s, c]
        return tf.reduce_sum(tf.nn.relu(values), axis=[1, 2])  # [N, c]


class ImageCritic(tf.keras.layers.Layer):
    """[B, H, W, 3] images -> [B] float32 logits."""

    def __init__(self, *, channels: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.trunk = ResidualTrunk(channels=channels, halves_first=True, name="trunk")
        self.head = spectral_normalization(
            tf.keras.layers.Dense(1, use_bias=False, name="real_head")
        )

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return self.head(self.trunk(images))[:, 0]  # [B]


class ObjectCritic(tf.keras.layers.Layer):
    """[B, O, S, S, 3] crops -> logits [B, O] and class logits [B, O, categories]."""

    def __init__(self, *, num_objects: int, channels: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.num_objects = num_objects
        self.trunk = ResidualTrunk(channels=channels, halves_first=False, name="trunk")
        self.real_head = spectral_normalization(tf.keras.layers.Dense(1, name="real_head"))
        self.class_head = spectral_normalization(
            tf.keras.layers.Dense(num_objects, name="class_head")
        )

    def call(self, crops: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        objects = crops.shape[1]
        values = self.trunk(tf.reshape(crops, [-1, *crops.shape[2:]]))  # [B * O, c]
        return (
            tf.reshape(self.real_head(values), [-1, objects]),  # [B, O]
            tf.reshape(self.class_head(values), [-1, objects, self.num_objects]),  # [B, O, C]
        )


def build_discriminators(
    vocabulary: Vocabulary, sizes: Sizes = SCALED, *, image_size: int = 64
) -> RivalDiscriminators:
    """Both discriminators, with all variables created."""
    return RivalDiscriminators(
        ImageCritic(channels=sizes.image_channels),
        ObjectCritic(num_objects=vocabulary.num_objects, channels=sizes.object_channels),
        image_size=image_size,
        crop_size=sizes.crop_size,
    )
