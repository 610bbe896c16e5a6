"""The cascaded refinement network (Chen and Koltun, ICCV 2017), as sg2im uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.generator import blocks
from rgan_tf.rivals.normalization import group_normalization


class RefinementNetwork(tf.keras.layers.Layer):
    """Every module doubles the resolution, reads the layout there, and applies two convolutions.

    Args:
      image_size: H, in px; a multiple of 2^n.
      channels: of the n modules.

    Call args:
      layout: [B, H, H, C] float32, with its noise.

    Returns:
      [B, H, H, 3] float32 in [-1, 1].

    Raises:
      ValueError: if `image_size` does not divide.
    """

    def __init__(self, *, image_size: int, channels: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        if image_size % 2 ** len(channels):
            raise ValueError(
                f"image_size must be a multiple of {2 ** len(channels)}, got {image_size}"
            )
        self.start = image_size // 2 ** len(channels)  # px
        self.stages = [
            [
                (
                    blocks.convolution(width, 3, name=f"convolution_{index}_{half}"),
                    group_normalization(width, name=f"normalization_{index}_{half}"),
                )
                for half in range(2)
            ]
            for index, width in enumerate(channels)
        ]
        self.last = blocks.convolution(channels[-1], 3, name="last")
        # Small at first, so that tanh does not start saturated.
        self.to_image = blocks.convolution(3, 1, gain=0.1, name="to_image")

    def call(self, layout: tf.Tensor) -> tf.Tensor:
        layouts = [layout]  # [B, s, s, C] each, the smallest first
        for _ in self.stages[1:]:
            layouts.insert(0, tf.nn.avg_pool2d(layouts[0], 2, 2, "VALID"))
        values = tf.zeros([tf.shape(layout)[0], self.start, self.start, 1], layout.dtype)
        for stage, placed in zip(self.stages, layouts, strict=True):
            values = tf.concat([placed, blocks.upsample(values)], axis=-1)  # [B, s, s, C + c']
            for convolution, normalization in stage:
                values = blocks.activate(normalization(convolution(values)))  # [B, s, s, c]
        values = blocks.activate(self.last(values))  # [B, H, H, c]
        return tf.tanh(self.to_image(values))  # [B, H, H, 3]
