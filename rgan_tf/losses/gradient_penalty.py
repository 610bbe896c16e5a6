"""Gradient penalty R1 of a discriminator on real data (Mescheder et al., ICML 2018)."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from rgan_tf.fixed_order import FixedOrderTape
from rgan_tf.losses.basic import mean_over_objects


def gradient_penalty(
    logits_of: Callable[[tf.Tensor], tf.Tensor],
    values: tf.Tensor,
    object_mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """Half the squared norm of the gradient of the logits with respect to their input.

    It is itself differentiable in the variables of `logits_of` and in `values`, so an outer tape
    can train with it; R1 is `gamma` times the mean of the result over the batch.

    Args:
      logits_of: returns float logits [B, ...] for [B, ...] float32; a row of the logits depends
        only on the same row of the input. With a mask, logits are [B, O], and each depends only on
        the same place [B, O] of the input.
      values: [B, ...] real images, or [B, O, h, w, 3] crops of real objects with a mask.
      object_mask: [B, O] bool for objects, None for images; values at padded places are ignored,
        even NaN.

    Returns:
      [B] float32, not negative: for images, of the summed logits, so every entry of a logit map
      counts; for objects, the mean over the real ones, 0 if there is none.

    Raises:
      ValueError: if the logits do not depend on the input of `logits_of`.
    """
    values = tf.cast(values, tf.float32)  # [B, ...]
    if object_mask is not None:
        shown = object_mask[(..., *[tf.newaxis] * (len(values.shape) - 2))]  # [B, O, 1, ...]
        # Masking the result is not enough: a NaN in the forward pass reaches the gradient of the
        # variables even if the incoming gradient is 0.
        values = tf.where(shown, values, 0.0)  # [B, O, h, w, 3]
    with FixedOrderTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        logits = tf.cast(logits_of(values), tf.float32)  # [B, ...]
        # Rows (with a mask, places) are independent: one sum gives the gradient of each.
        total = tf.reduce_sum(logits)
    gradients = tape.gradient(total, values)  # [B, ...]
    if gradients is None:
        raise ValueError("logits_of must compute its logits from its argument")
    axes = list(range(1 if object_mask is None else 2, len(values.shape)))
    penalties = 0.5 * tf.reduce_sum(tf.square(gradients), axis=axes)  # [B] or [B, O]
    if object_mask is not None:
        return mean_over_objects(penalties, object_mask)  # [B]
    return penalties  # [B]
