"""What layout2im encodes object by object: a crop into a code, and a code into its box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.generator import blocks
from rgan_tf.generator.layout import box_coverage
from rgan_tf.rivals.normalization import ClassConditionalNormalization


class CropEncoder(tf.keras.layers.Layer):
    """The distribution of an object's code, given its crop.

    Args:
      num_objects: rows of the object vocabulary.
      channels: of the convolutions, 7 x 7 and then 4 x 4 of stride 2.
      code: Z, size of the code.

    Call args:
      crops: [M, S, S, 3] float32 in [-1, 1].
      objects: [M] int32, their categories.

    Returns:
      Mean and logarithm of the variance, [M, Z] float32 each.
    """

    def __init__(self, *, num_objects: int, channels: Sequence[int], code: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.convolutions = _convolutions(channels, first=7)
        self.normalizations = _normalizations(num_objects, channels)
        self.mean = tf.keras.layers.Dense(code, name="mean")
        self.log_variance = tf.keras.layers.Dense(code, name="log_variance")

    def call(self, crops: tf.Tensor, objects: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        values = crops  # [M, S, S, 3]
        for convolution, normalization in zip(self.convolutions, self.normalizations, strict=True):
            values = tf.nn.relu(normalization(convolution(values), objects))  # [M, s, s, c]
        values = tf.reduce_mean(values, axis=[1, 2])  # [M, c]
        return self.mean(values), self.log_variance(values)  # [M, Z] twice


class LayoutEncoder(tf.keras.layers.Layer):
    """Category and code of an object, drawn into its box, as a small map.

    The first convolution is 1 x 1 without a bias, and its input one vector times the mask of the
    box: it is applied to the vector, with the same result.

    Args:
      num_objects: rows of the object vocabulary.
      channels: of the convolutions, 1 x 1 and then n of 4 x 4 and stride 2.
      image_size: H of the layout, in px; a multiple of 2^n.

    Call args:
      vectors: [M, E + Z] float32, embedding and code.
      boxes: [M, 4] float32 in [0, 1].
      objects: [M] int32, categories.

    Returns:
      [M, H / 2^n, H / 2^n, channels[-1]] float32.
    """

    def __init__(
        self, *, num_objects: int, channels: Sequence[int], image_size: int, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.image_size = image_size
        self.first = tf.keras.layers.Dense(
            channels[0], use_bias=False, kernel_initializer="he_normal", name="first"
        )
        self.convolutions = _convolutions(channels, first=None)
        self.normalizations = _normalizations(num_objects, channels)

    def call(self, vectors: tf.Tensor, boxes: tf.Tensor, objects: tf.Tensor) -> tf.Tensor:
        size = self.image_size
        rows, columns = box_coverage(boxes[:, tf.newaxis], size, size)  # [M, 1, H] each
        mask = rows[:, 0, :, tf.newaxis] * columns[:, 0, tf.newaxis]  # [M, H, H]
        filled = self.first(vectors)[:, tf.newaxis, tf.newaxis]  # [M, 1, 1, c]
        values = filled * mask[..., tf.newaxis]  # [M, H, H, c]
        values = self.normalizations[0](values, objects)  # [M, H, H, c]
        for convolution, normalization in zip(
            self.convolutions, self.normalizations[1:], strict=True
        ):
            values = normalization(convolution(tf.nn.relu(values)), objects)  # [M, h, h, c]
        return values  # without an activation after the last


def _convolutions(channels: Sequence[int], first: int | None) -> list[tf.keras.layers.Conv2D]:
    """The first of the given kernel, if any; the others 4 x 4 of stride 2; none has a bias."""
    kernels = [(first, 1)] + [(4, 2)] * (len(channels) - 1)
    return [
        blocks.convolution(
            width, kernel, strides=strides, use_bias=False, name=f"convolution_{index}"
        )
        for index, (width, (kernel, strides)) in enumerate(zip(channels, kernels, strict=True))
        if kernel
    ]


def _normalizations(
    num_objects: int, channels: Sequence[int]
) -> list[ClassConditionalNormalization]:
    return [
        ClassConditionalNormalization(
            num_objects=num_objects, channels=width, name=f"normalization_{index}"
        )
        for index, width in enumerate(channels)
    ]
