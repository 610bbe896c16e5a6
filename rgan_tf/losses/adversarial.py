"""Adversarial losses of images and of objects, equation (6), one number per example."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.adapters import tfgan
from rgan_tf.losses.basic import mean_over_objects


def generator_loss(
    generated_logits: tf.Tensor, form: str, object_mask: tf.Tensor | None = None
) -> tf.Tensor:
    """The generator's loss.

    Args:
      generated_logits: [B, ...] float32; [B, h, w] for images, [B, O] for objects.
      form: "hinge" or "non_saturating".
      object_mask: [B, O] bool for objects, None for images.

    Returns:
      [B] float32.

    Raises:
      ValueError: if `form` is unknown.
    """
    return _per_example(tfgan.generator_loss_elements(generated_logits, form), object_mask)


def discriminator_loss(
    real_logits: tf.Tensor,
    generated_logits: tf.Tensor,
    form: str,
    object_mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """A discriminator's loss.

    Args:
      real_logits: [B, ...] float32; [B, h, w] for images, [B, O] for objects.
      generated_logits: the same shape.
      form: "hinge" or "non_saturating".
      object_mask: [B, O] bool for objects, None for images.

    Returns:
      [B] float32.

    Raises:
      ValueError: if `form` is unknown.
    """
    elements = tfgan.discriminator_loss_elements(real_logits, generated_logits, form)
    return _per_example(elements, object_mask)


def _per_example(elements: tf.Tensor, object_mask: tf.Tensor | None) -> tf.Tensor:
    if object_mask is not None:
        return mean_over_objects(elements, object_mask)  # [B]
    return tf.reduce_mean(elements, axis=list(range(1, len(elements.shape))))  # [B]
