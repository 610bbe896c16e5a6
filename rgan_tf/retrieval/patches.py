"""The pixels of the chosen patches."""

from __future__ import annotations

import tensorflow as tf


def chosen_rows(ids: tf.Tensor, choice: tf.Tensor) -> tf.Tensor:
    """Rows of the chosen candidates in the bank.

    Args:
      ids: [B, O, K] int32, rows of the candidates.
      choice: [B, O] int32, position among the K, -1 = none.

    Returns:
      [B, O] int32, -1 = none.
    """
    chosen = tf.gather(ids, tf.maximum(choice, 0), batch_dims=2)  # [B, O]
    return tf.where(choice >= 0, chosen, -1)


def take_candidates(batch: dict[str, tf.Tensor], choice: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Crops [B, O, h, w, 3] float32 and bank rows [B, O] int32 of candidates [B, O], -1 = none."""
    crops = tf.gather(batch["candidate_crops"], tf.maximum(choice, 0), batch_dims=2)
    return pixels_of(crops, choice >= 0), chosen_rows(batch["candidate_ids"], choice)


def own_crops(batch: dict[str, tf.Tensor], object_mask: tf.Tensor) -> tf.Tensor:
    """The objects' own patches: [B, O, h, w, 3] float32 in [-1, 1]; 0 for padding."""
    return pixels_of(batch["patch_crops"], object_mask)


def pixels_of(crops: tf.Tensor, is_there: tf.Tensor) -> tf.Tensor:
    """Crops in the generator's format.

    Args:
      crops: [B, O, h, w, 3] uint8.
      is_there: [B, O] bool.

    Returns:
      [B, O, h, w, 3] float32 in [-1, 1]; 0 (mid grey) where `is_there` is false.
    """
    pixels = tf.cast(crops, tf.float32) / 127.5 - 1.0  # [B, O, h, w, 3]
    return tf.where(is_there[:, :, tf.newaxis, tf.newaxis, tf.newaxis], pixels, 0.0)


def mix_patches(weights: tf.Tensor, crops: tf.Tensor) -> tf.Tensor:
    """The selected patch of each object: crops mixed by the selection weights (method §3.5).

    One-hot weights give exactly one crop; the gradient to each weight is the inner product of the
    incoming gradient with that crop.

    Args:
      weights: [B, O, K] float.
      crops: [B, O, K, h, w, 3], uint8 or float in [-1, 1].

    Returns:
      [B, O, h, w, 3] float32 in [-1, 1]; 0 (mid grey) for objects without weight.

    Raises:
      ValueError: if the crops are neither uint8 nor float, or a shape is known to be another.
    """
    weights, crops = tf.cast(weights, tf.float32), tf.convert_to_tensor(crops)  # [B, O, K]
    if crops.dtype != tf.uint8 and not crops.dtype.is_floating:
        # Pixels of another integer type would be mixed unscaled.
        raise ValueError(f"crops must be uint8, or float in [-1, 1], got {crops.dtype.name}")
    if not (
        weights.shape.is_compatible_with([None] * 3)
        and crops.shape.is_compatible_with([None] * 6)
        and weights.shape.is_compatible_with(crops.shape[:3])
    ):
        raise ValueError(
            "weights must be [B, O, K] and crops [B, O, K, h, w, 3], got shapes "
            f"{weights.shape} and {crops.shape}"
        )
    mixed = tf.einsum("bok,bokhwc->bohwc", weights, tf.cast(crops, tf.float32))  # [B, O, h, w, 3]
    if crops.dtype == tf.uint8:
        # Scaled after mixing, which is K times less arithmetic.
        total = tf.reduce_sum(weights, axis=-1)[:, :, tf.newaxis, tf.newaxis, tf.newaxis]
        mixed = mixed / 127.5 - total  # [B, O, h, w, 3]
    return mixed
