"""The tree of generators: a small image from the sentence, larger ones from its words too."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rgan_tf.rivals.attngan.attention import WordAttention
from rgan_tf.rivals.attngan.blocks import (
    ResidualBlock,
    UpBlock,
    convolution,
    gated,
    normalization,
)
from rgan_tf.rivals.attngan.sizes import Sizes
from rgan_tf.rivals.attngan.text_encoder import Text

_START = 4  # px, the side of the first map


class Pyramid(NamedTuple):
    """What the tree makes of a text.

    Attributes:
      images: [B, s, s, 3] float32 in [-1, 1] of each stage, the smallest first.
      attention: [B, W, s, s] float32 of each stage after the first, at the side of the one before.
      mean, log_variance: [B, code] float32, of the sentence's code.
    """

    images: list[tf.Tensor]
    attention: list[tf.Tensor]
    mean: tf.Tensor
    log_variance: tf.Tensor


class AttentionalGenerator(tf.keras.layers.Layer):
    """All stages.

    Args:
      sizes: widths.
      image_size: side of the last stage's images, in px.

    Call args:
      text: of B scenes.
      noise: [B, noise] float32, N(0, 1).
      condition_noise: [B, code] float32, N(0, 1); zeros take the mean of the code.

    Returns:
      A `Pyramid`.

    Raises:
      ValueError: if the first stage has no side of 4 px times a power of two, at least 8.
    """

    def __init__(self, sizes: Sizes, *, image_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        first, *_ = sizes.sides(image_size)
        doublings = (first // _START).bit_length() - 1
        if doublings < 1 or _START << (doublings + sizes.stages - 1) != image_size:
            raise ValueError(
                f"image_size must be {_START << sizes.stages} times a power of two for "
                f"{sizes.stages} stages, got {image_size}"
            )
        self.conditioning = ConditioningAugmentation(code=sizes.code, name="conditioning")
        self.stages = [
            FirstStage(width=sizes.width, doublings=doublings, name="stage_0"),
            *(
                LaterStage(width=sizes.width, residuals=sizes.residuals, name=f"stage_{index}")
                for index in range(1, sizes.stages)
            ),
        ]
        self.to_image = [
            convolution(3, 3, name=f"to_image_{index}") for index in range(sizes.stages)
        ]

    def call(self, text: Text, noise: tf.Tensor, condition_noise: tf.Tensor) -> Pyramid:
        mean, log_variance = self.conditioning(text.sentence)  # [B, code] each
        code = mean + tf.exp(log_variance / 2) * condition_noise  # [B, code]
        values = self.stages[0](tf.concat([code, noise], axis=-1))  # [B, s, s, n]
        images = [tf.tanh(self.to_image[0](values))]  # [B, s, s, 3]
        attention = []
        for stage, to_image in zip(self.stages[1:], self.to_image[1:], strict=True):
            values, seen = stage(values, text)  # [B, 2 s, 2 s, n], [B, W, s, s]
            images.append(tf.tanh(to_image(values)))  # [B, 2 s, 2 s, 3]
            attention.append(seen)
        return Pyramid(images, attention, mean, log_variance)


class ConditioningAugmentation(tf.keras.layers.Layer):
    """A distribution of codes around a sentence: [B, D] -> mean and log variance, [B, code] each.

    Texts are few, and the noise on the code fills the space between them (Zhang et al., ICCV 2017).
    """

    def __init__(self, *, code: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.linear = tf.keras.layers.Dense(
            4 * code, kernel_initializer="orthogonal", name="linear"
        )

    def call(self, sentence: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mean, log_variance = tf.split(gated(self.linear(sentence)), 2, axis=-1)
        return mean, log_variance  # [B, code] each


class FirstStage(tf.keras.layers.Layer):
    """Grows a map from the code and the noise, doubling 4 x 4 cells.

    Args:
      width: n, channels of the result; the first map has n times 2^doublings.
      doublings: of the side.

    Call args:
      values: [B, code + noise] float32.

    Returns:
      [B, s, s, n] float32, s = 4 times 2^doublings.
    """

    def __init__(self, *, width: int, doublings: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = width << doublings
        numbers = 2 * _START * _START * self.channels
        self.linear = tf.keras.layers.Dense(
            numbers, use_bias=False, kernel_initializer="orthogonal", name="linear"
        )
        self.normalization = normalization(numbers, name="normalization")
        self.doublings = [
            UpBlock(channels=width << later, name=f"doubling_{later}")
            for later in reversed(range(doublings))
        ]

    def call(self, values: tf.Tensor) -> tf.Tensor:
        values = self.linear(values)[:, tf.newaxis, tf.newaxis]  # [B, 1, 1, 32 c]
        values = gated(self.normalization(values))  # [B, 1, 1, 16 c]
        values = tf.reshape(values, [-1, _START, _START, self.channels])  # [B, 4, 4, c]
        for doubling in self.doublings:
            values = doubling(values)  # [B, s, s, c]
        return values


class LaterStage(tf.keras.layers.Layer):
    """Looks at the words again at every pixel, and doubles the side.

    Args:
      width: n, channels of the maps.
      residuals: number of residual blocks.

    Call args:
      values: [B, s, s, n] float32, of the stage before.
      text: of the same rows.

    Returns:
      [B, 2 s, 2 s, n] float32, and the attention [B, W, s, s].
    """

    def __init__(self, *, width: int, residuals: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.attention = WordAttention(channels=width, name="attention")
        self.residuals = [
            ResidualBlock(channels=2 * width, name=f"residual_{index}")
            for index in range(residuals)
        ]
        self.doubling = UpBlock(channels=width, name="doubling")

    def call(self, values: tf.Tensor, text: Text) -> tuple[tf.Tensor, tf.Tensor]:
        contexts, attention = self.attention(values, text)  # [B, s, s, n], [B, W, s, s]
        values = tf.concat([values, contexts], axis=-1)  # [B, s, s, 2 n]
        for residual in self.residuals:
            values = residual(values)  # [B, s, s, 2 n]
        return self.doubling(values), attention
