"""Losses that compare a prediction with its target, one number per example."""

from __future__ import annotations

import tensorflow as tf


def mean_over_objects(values: tf.Tensor, object_mask: tf.Tensor) -> tf.Tensor:
    """Mean over the objects that are there.

    Args:
      values: [B, O] float32; what stands at padded places has no influence, not even a NaN.
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
