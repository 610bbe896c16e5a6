"""The scene layout of sg2im: object vectors, masked and placed in their boxes, summed."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.generator.layout import warp_planes


def scene_layout(
    vectors: tf.Tensor, boxes: tf.Tensor, masks: tf.Tensor, object_mask: tf.Tensor, size: int
) -> tf.Tensor:
    """The layout of a batch of scenes.

    A vector times a mask is an outer product, so the mask alone is warped.

    Args:
      vectors: [B, O, W] float32.
      boxes: [B, O, 4] float32 [y0, x0, y1, x1]. An empty or inverted box counts as one pixel wide.
      masks: [B, O, M, M] float32 in [0, 1].
      object_mask: [B, O] bool.
      size: H, side of the layout in px.

    Returns:
      [B, H, H, W] float32.
    """
    objects, width = vectors.shape[1:]
    planes = warp_planes(masks[..., tf.newaxis], boxes, size, size)  # [B, O, 1, H, H]
    planes = tf.transpose(
        tf.reshape(planes, [-1, objects, size * size]), [0, 2, 1]
    )  # [B, H * H, O]
    vectors = tf.where(object_mask[..., tf.newaxis], vectors, 0.0)  # [B, O, W]
    layout = tf.matmul(planes, vectors)  # [B, H * H, W]
    return tf.reshape(layout, [-1, size, size, width])  # [B, H, H, W]
