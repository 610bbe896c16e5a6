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
    """Half the squared norm of the gradient of the logits by what they judge.

    It is itself differentiable in the variables of `logits_of` and in `values`, so an outer tape
    can train with it; R1 is `gamma` times the mean of the result over the batch.

    Args:
      logits_of: gives float logits [B, ...] for [B, ...] float32; a row of the logits depends on
        the same row of its argument only. With a mask, logits [B, O], and a place of the logits
        depends on the same place [B, O] only.
      values: [B, ...] real images, or [B, O, h, w, 3] crops of real objects with a mask.
      object_mask: [B, O] bool for objects, None for images; what stands at padded places has no
        influence, not even a NaN.

    Returns:
      [B] float32, not negative: of the summed logits for images, so a map of logits counts with
      every place; the mean over the objects that are there, 0 without any, for objects.

    Raises:
      ValueError: if the logits do not depend on the argument of `logits_of`.
    """
    values = tf.cast(values, tf.float32)  # [B, ...]
    if object_mask is not None:
        shown = object_mask[(..., *[tf.newaxis] * (len(values.shape) - 2))]  # [B, O, 1, ...]
        # Masking the result is not enough: a NaN that passes the network reaches the gradient of
        # its variables although the gradient that comes back to it is 0.
        values = tf.where(shown, values, 0.0)  # [B, O, h, w, 3]
    with FixedOrderTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        logits = tf.cast(logits_of(values), tf.float32)  # [B, ...]
        # Rows, and with a mask places, are independent: one sum gives the gradient of each.
        total = tf.reduce_sum(logits)
    gradients = tape.gradient(total, values)  # [B, ...]
    if gradients is None:
        raise ValueError("logits_of must compute its logits from its argument")
    axes = list(range(1 if object_mask is None else 2, len(values.shape)))
    penalties = 0.5 * tf.reduce_sum(tf.square(gradients), axis=axes)  # [B] or [B, O]
    if object_mask is not None:
        return mean_over_objects(penalties, object_mask)  # [B]
    return penalties  # [B]
