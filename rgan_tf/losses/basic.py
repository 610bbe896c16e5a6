"""Losses that compare a prediction with its target, one number per example."""

from __future__ import annotations

import tensorflow as tf

_SMALLEST_AREA = 1e-7  # of the image; below it a ratio of areas has no useful gradient


def mean_over_objects(values: tf.Tensor, object_mask: tf.Tensor) -> tf.Tensor:
    """Mean over the real objects.

    Args:
      values: [B, O] float32; values at padded places are ignored, even NaN.
      object_mask: [B, O] bool, False = padding.

    Returns:
      [B] float32, 0 for an example without objects.
    """
    valid = tf.cast(object_mask, values.dtype)  # [B, O]
    total = tf.reduce_sum(tf.math.multiply_no_nan(values, valid), axis=1)  # [B]
    return total / tf.maximum(tf.reduce_sum(valid, axis=1), 1.0)  # [B]


def reconstruction_loss(images: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """l1 distance of pixels, L_recon of the paper's section 3.4.

    Args:
      images: [B, H, W, 3] float32 in [-1, 1].
      target: [B, H, W, 3] float32 in [-1, 1].

    Returns:
      [B] float32, the mean over pixels and channels, in [0, 2].
    """
    return tf.reduce_mean(tf.abs(images - target), axis=[1, 2, 3])  # [B]


def box_loss(boxes: tf.Tensor, target: tf.Tensor, object_mask: tf.Tensor) -> tf.Tensor:
    """l1 distance of box coordinates, L_bbox of the paper's section 3.4.

    Args:
      boxes: [B, O, 4] float32 [y0, x0, y1, x1] in [0, 1], predicted.
      target: [B, O, 4] float32, ground truth.
      object_mask: [B, O] bool, False = padding.

    Returns:
      [B] float32, the mean over coordinates and objects, in [0, 1].
    """
    per_object = tf.reduce_mean(tf.abs(boxes - target), axis=-1)  # [B, O]
    return mean_over_objects(per_object, object_mask)  # [B]


def box_overlap_loss(boxes: tf.Tensor, target: tf.Tensor, object_mask: tf.Tensor) -> tf.Tensor:
    """1 - generalised IoU (Rezatofighi et al., CVPR 2019); not in the paper.

    Unlike the l1 distance it does not favour small boxes, and unlike IoU it has a gradient where
    the boxes do not touch.

    Args:
      boxes: [B, O, 4] float32 [y0, x0, y1, x1] in [0, 1], predicted. A box without area, or an
        inverted one, counts as empty; its gradient is finite.
      target: [B, O, 4] float32, ground truth.
      object_mask: [B, O] bool, False = padding.

    Returns:
      [B] float32, the mean over objects, in [0, 2]: 0 for equal boxes, 1 for boxes that share
      only an edge and fill their common hull, towards 2 for small boxes far apart.
    """
    intersection = _box_area(
        tf.maximum(boxes[..., :2], target[..., :2]), tf.minimum(boxes[..., 2:], target[..., 2:])
    )  # [B, O]
    hull = _box_area(
        tf.minimum(boxes[..., :2], target[..., :2]), tf.maximum(boxes[..., 2:], target[..., 2:])
    )  # [B, O]
    areas = [_box_area(each[..., :2], each[..., 2:]) for each in (boxes, target)]  # [B, O] each
    union = areas[0] + areas[1] - intersection  # [B, O]
    overlap = intersection / tf.maximum(union, _SMALLEST_AREA)  # [B, O]
    gap = (hull - union) / tf.maximum(hull, _SMALLEST_AREA)  # [B, O], share of the hull
    return mean_over_objects(1.0 - overlap + gap, object_mask)  # [B]


def auxiliary_loss(
    class_logits: tf.Tensor, objects: tf.Tensor, object_mask: tf.Tensor
) -> tf.Tensor:
    """Cross-entropy of the object discriminator's class head, L_ac.

    Args:
      class_logits: [B, O, C] float32, C = size of the object table.
      objects: [B, O] int32, category ids.
      object_mask: [B, O] bool, False = padding.

    Returns:
      [B] float32, the mean over objects.
    """
    per_object = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=objects, logits=class_logits
    )  # [B, O]
    return mean_over_objects(per_object, object_mask)  # [B]


def _box_area(lower: tf.Tensor, upper: tf.Tensor) -> tf.Tensor:
    """[..., 2] (y0, x0) and (y1, x1) -> [...], 0 for an inverted box."""
    sides = tf.maximum(upper - lower, 0.0)  # [..., 2]
    return sides[..., 0] * sides[..., 1]  # [...]
