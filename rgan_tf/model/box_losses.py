"""The losses of predicted boxes, shared by all stages."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.graph.interchangeable import match_interchangeable
from rgan_tf.losses.basic import box_loss, box_overlap_loss


def box_losses(
    config: Config,
    predicted: tf.Tensor,
    boxes: tf.Tensor,
    graph: dict[str, tf.Tensor],
    object_mask: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Losses of predicted boxes.

    With instance codes, objects that the graph does not distinguish are compared from left to
    right, whatever their order in the annotation, because that is what their codes mean.

    Args:
      config: the experiment.
      predicted: [B, O, 4] float32.
      boxes: [B, O, 4] float32, ground truth.
      graph: dict with `objects` [B, O] int32 and `triples` [B, T, 3] int32.
      object_mask: [B, O] bool.

    Returns:
      `box` (L_bbox of equation 7) and `box_overlap` (1 - generalised IoU, moves centres only), [B]
      float32 each.
    """
    target = boxes  # [B, O, 4]
    if config.graph.instance_codes:
        target = match_interchangeable(boxes, graph["objects"], graph["triples"])  # [B, O, 4]
    return {
        "box": box_loss(predicted, target, object_mask),
        "box_overlap": box_overlap_loss(only_placed(predicted), target, object_mask),
    }


def only_placed(boxes: tf.Tensor) -> tf.Tensor:
    """The boxes, with a gradient to their centres but none to their sizes.

    If an object's place cannot be known, an oversized box overlaps more on average: trained for
    overlap, sizes of small objects grew to 1.8 times their true area. So overlap trains the place,
    and the l1 distance trains the size.

    Args:
      boxes: [B, O, 4] float32.

    Returns:
      [B, O, 4] float32.
    """
    low, high = boxes[..., :2], boxes[..., 2:]  # [B, O, 2] each
    half = tf.stop_gradient(high - low) / 2  # [B, O, 2]
    centre = (low + high) / 2  # [B, O, 2]
    return tf.concat([centre - half, centre + half], axis=-1)  # [B, O, 4]
