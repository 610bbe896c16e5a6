"""The two discriminators of sg2im: overlapping parts of the image, and crops of the objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import tensorflow as tf

from rgan_tf.generator import blocks
from rgan_tf.rivals.discriminators import RivalDiscriminators
from rgan_tf.rivals.normalization import group_normalization
from rgan_tf.rivals.sg2im.sizes import SCALED
from rgan_tf.vocabulary import Vocabulary


class Trunk(tf.keras.layers.Layer):
    """4 x 4 convolutions of stride 2 without padding; all but the last normalised and activated.

    Args:
      channels: of the convolutions.

    Call args:
      images: [N, S, S, 3] float32.

    Returns:
      [N, s, s, channels[-1]] float32, linear.
    """

    def __init__(self, *, channels: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.convolutions = [
            tf.keras.layers.Conv2D(
                width, 4, strides=2, kernel_initializer="he_normal", name=f"convolution_{index}"
            )
            for index, width in enumerate(channels)
        ]
        self.normalizations = [
            group_normalization(width, name=f"normalization_{index}")
            for index, width in enumerate(channels[:-1])
        ]

    def call(self, images: tf.Tensor) -> tf.Tensor:
        values = self.convolutions[0](images)  # [N, s, s, c]
        for normalization, convolution in zip(
            self.normalizations, self.convolutions[1:], strict=True
        ):
            values = convolution(blocks.activate(normalization(values)))  # [N, s, s, c]
        return values


class ImageCritic(tf.keras.layers.Layer):
    """[B, H, W, 3] images -> [B, h, w] float32 logits of their overlapping parts."""

    def __init__(self, *, channels: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.trunk = Trunk(channels=channels, name="trunk")
        self.classifier = tf.keras.layers.Conv2D(1, 1, name="classifier")

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return self.classifier(self.trunk(images))[..., 0]  # [B, h, w]


class ObjectCritic(tf.keras.layers.Layer):
    """[B, O, S, S, 3] crops -> logits [B, O] and class logits [B, O, categories]."""

    def __init__(self, *, num_objects: int, channels: Sequence[int], hidden: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_objects = num_objects
        self.trunk = Trunk(channels=channels, name="trunk")
        self.hidden_layer = tf.keras.layers.Dense(hidden, name="hidden_layer")
        self.real_head = tf.keras.layers.Dense(1, name="real_head")
        self.class_head = tf.keras.layers.Dense(num_objects, name="class_head")

    def call(self, crops: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        objects = crops.shape[1]
        values = self.trunk(tf.reshape(crops, [-1, *crops.shape[2:]]))  # [B * O, s, s, c]
        values = self.hidden_layer(tf.reduce_mean(values, axis=[1, 2]))  # [B * O, hidden]
        return (
            tf.reshape(self.real_head(values), [-1, objects]),  # [B, O]
            tf.reshape(self.class_head(values), [-1, objects, self.num_objects]),  # [B, O, C]
        )


class DiscriminatorSizes(Protocol):
    """What is read of the sizes of sg2im, or of PasteGAN, whose discriminators are these."""

    discriminator_channels: tuple[int, ...]
    discriminator_hidden: int
    crop_size: int


def build_discriminators(
    vocabulary: Vocabulary, sizes: DiscriminatorSizes = SCALED, *, image_size: int = 64
) -> RivalDiscriminators:
    """Both discriminators, with all variables created."""
    return RivalDiscriminators(
        ImageCritic(channels=sizes.discriminator_channels),
        ObjectCritic(
            num_objects=vocabulary.num_objects,
            channels=sizes.discriminator_channels,
            hidden=sizes.discriminator_hidden,
        ),
        image_size=image_size,
        crop_size=sizes.crop_size,
    )
