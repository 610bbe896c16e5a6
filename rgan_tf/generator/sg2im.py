"""The parametric baselines: sg2im's decoder, and patches pasted without a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.generator import blocks
from rgan_tf.generator.layout import box_coverage, warp_to_boxes


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class Sg2imDecoder(tf.keras.layers.Layer):
    """Layout of object vectors and a cascaded refinement network (sg2im, without masks).

    The layout of a pixel is the sum of the vectors of the objects whose boxes cover it. Each module
    doubles the resolution, reads the layout at that resolution and applies two convolutions.
    Differs from sg2im: object vectors are projected to `layout_channels` first, there is no
    normalisation, and the output is bounded.

    Args:
      image_size: side of the images in px, a multiple of 2^n.
      layout_channels: channels of the layout, at least 1.
      decoder_channels: channels of the n modules, the first at image_size / 2^(n - 1).

    Call args:
      object_vectors: [B, O, W] float32.
      boxes: [B, O, 4] float32 [y0, x0, y1, x1] in [0, 1].
      object_mask: [B, O] bool.

    Returns:
      [B, image_size, image_size, 3] float32 in [-1, 1].

    Raises:
      ValueError: if a size is out of range or does not divide.
    """

    def __init__(
        self,
        *,
        image_size: int,
        layout_channels: int = 64,
        decoder_channels: Sequence[int] = (128, 128, 96, 64, 32),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        decoder_channels = tuple(decoder_channels)
        if layout_channels < 1:
            raise ValueError(f"layout_channels must be at least 1, got {layout_channels}")
        if not decoder_channels or min(decoder_channels) < 1:
            raise ValueError(f"decoder_channels needs entries above 0, got {decoder_channels}")
        if image_size < 1 or image_size % 2 ** len(decoder_channels):
            raise ValueError(
                f"image_size must be a multiple of {2 ** len(decoder_channels)}, got {image_size}"
            )
        self.image_size = image_size
        self.layout_channels = layout_channels
        self.decoder_channels = decoder_channels
        self.project = tf.keras.layers.Dense(layout_channels, name="project")
        self.modules = [
            (
                blocks.convolution(channels, 3, name=f"first_{index}"),
                blocks.convolution(channels, 3, name=f"second_{index}"),
            )
            for index, channels in enumerate(decoder_channels)
        ]
        # Small at first, so that tanh does not start saturated.
        self.to_image = blocks.convolution(3, 3, gain=0.1, name="to_image")

    def call(
        self, object_vectors: tf.Tensor, boxes: tf.Tensor, object_mask: tf.Tensor
    ) -> tf.Tensor:
        vectors = self.project(object_vectors)  # [B, O, C]
        vectors *= tf.cast(object_mask, vectors.dtype)[..., tf.newaxis]  # [B, O, C]
        rows, columns = box_coverage(boxes, self.image_size, self.image_size)  # 2 x [B, O, H]
        last = len(self.modules) - 1
        values = None
        for index, (first, second) in enumerate(self.modules):
            layout = self._layout(vectors, rows, columns, 2 ** (last - index))  # [B, s, s, C]
            if values is not None:
                layout = tf.concat([blocks.upsample(values), layout], axis=-1)  # [B, s, s, .]
            values = blocks.activate(second(blocks.activate(first(layout))))  # [B, s, s, c]
        return tf.tanh(tf.cast(self.to_image(values), tf.float32))  # [B, H, W, 3]

    def _layout(
        self, vectors: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, factor: int
    ) -> tf.Tensor:
        """The layout, average-pooled by `factor`.

        A box is the outer product of its rows and columns, and so is its average.
        """
        objects, pixels = rows.shape[1:]
        size = pixels // factor
        rows = tf.reduce_mean(tf.reshape(rows, [-1, objects, size, factor]), axis=-1)  # [B, O, s]
        columns = tf.reduce_mean(tf.reshape(columns, [-1, objects, size, factor]), axis=-1)
        rows = tf.transpose(rows, [0, 2, 1])[:, :, tf.newaxis]  # [B, s, 1, O]
        columns = tf.transpose(columns, [0, 2, 1])[:, tf.newaxis]  # [B, 1, s, O]
        boxes = tf.reshape(rows * columns, [-1, size * size, objects])  # [B, s * s, O]
        layout = tf.matmul(tf.cast(boxes, vectors.dtype), vectors)  # [B, s * s, C]
        return tf.reshape(layout, [-1, size, size, self.layout_channels])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "image_size": self.image_size,
            "layout_channels": self.layout_channels,
            "decoder_channels": list(self.decoder_channels),
        }


def pasted_canvas(
    crops: tf.Tensor, boxes: tf.Tensor, object_mask: tf.Tensor, size: int
) -> tf.Tensor:
    """Pastes the patches into their boxes without any network, large boxes first.

    Args:
      crops: [B, O, h, w, C] float32 in [-1, 1].
      boxes: [B, O, 4] float32 [y0, x0, y1, x1] in [0, 1].
      object_mask: [B, O] bool.
      size: side of the result in px.

    Returns:
      [B, size, size, C] float32; pixels outside every box are 0, mid grey. Of two boxes of equal
      area, the later object is on top.
    """
    rows, columns = box_coverage(boxes, size, size)  # 2 x [B, O, S]
    covered = rows[..., :, tf.newaxis] * columns[..., tf.newaxis, :] > 0  # [B, O, S, S]
    covered &= object_mask[..., tf.newaxis, tf.newaxis]  # [B, O, S, S]
    areas = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])  # [B, O]
    order = tf.argsort(areas, axis=-1, direction="DESCENDING", stable=True)  # [B, O]
    place = tf.argsort(order, axis=-1)  # [B, O] position at which each object is pasted
    place = tf.where(covered, place[..., tf.newaxis, tf.newaxis], -1)  # [B, O, S, S]
    top = tf.reduce_max(place, axis=1, keepdims=True)  # [B, 1, S, S]
    visible = tf.cast(covered & (place == top), crops.dtype)  # [B, O, S, S]
    pasted = warp_to_boxes(crops, boxes, size, size)  # [B, O, S, S, C]
    return tf.reduce_sum(pasted * visible[..., tf.newaxis], axis=1)  # [B, S, S, C]
