"""What predicted boxes cost, the same for every stage."""

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

    With instance codes, objects that the graph does not tell apart are compared from left to right,
    whatever their order in the annotation: that is what their codes stand for.

    Args:
      config: the experiment.
      predicted: [B, O, 4] float32.
      boxes: [B, O, 4] float32, ground truth.
      graph: dict with `objects` [B, O] int32 and `triples` [B, T, 3] int32.
      object_mask: [B, O] bool.

    Returns:
      `box` (L_bbox of equation 7) and `box_overlap` (1 - generalised IoU), [B] float32 each.
    """
    target = boxes  # [B, O, 4]
    if config.graph.instance_codes:
        target = match_interchangeable(boxes, graph["objects"], graph["triples"])  # [B, O, 4]
    return {
        "box": box_loss(predicted, target, object_mask),
        "box_overlap": box_overlap_loss(predicted, target, object_mask),
    }
