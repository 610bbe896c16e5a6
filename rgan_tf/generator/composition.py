"""Composes the patches' own pixels at full resolution by the fuser's attention."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from rgan_tf.generator.layout import warp_planes


class Composition(NamedTuple):
    """Patches in their boxes.

    Attributes:
      colours: [B, H, W, 3] float32 in [-1, 1]; 0, mid grey, outside all boxes.
      opacity: [B, H, W, 1] float32 in [0, 1]: how far the composed patches show their objects, by
        their masks. Without masks 1 in every box; 0 outside all boxes.
    """

    colours: tf.Tensor
    opacity: tf.Tensor


def compose(
    crops: tf.Tensor, weights: tf.Tensor, boxes: tf.Tensor, masks: tf.Tensor | None = None
) -> Composition:
    """Warps patches into their boxes and sums them with the attention weights.

    The image node has no pixels and is left out; it acts through the decoder.

    Args:
      crops: [B, O, h, w, 3] in [-1, 1].
      weights: [B, O, H, W] float32 M_i, summing to 1 where a box lies and 0 elsewhere.
      boxes: [B, O, 4] float32 [y0, x0, y1, x1] in [0, 1].
      masks: [B, O, H, W] float32 logits of soft masks in their boxes; None for none.

    Returns:
      `Composition`.
    """
    height, width = weights.shape[2:]
    planes = tf.cast(warp_planes(crops, boxes, height, width), tf.float32)  # [B, O, 3, H, W]
    colours = tf.reduce_sum(weights[:, :, tf.newaxis] * planes, axis=1)  # [B, 3, H, W]
    shown = weights if masks is None else weights * tf.sigmoid(masks)  # [B, O, H, W]
    return Composition(
        colours=tf.transpose(colours, [0, 2, 3, 1]),  # [B, H, W, 3]
        opacity=tf.reduce_sum(shown, axis=1)[..., tf.newaxis],  # [B, H, W, 1]
    )
