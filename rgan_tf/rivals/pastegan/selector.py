"""The crop selector of PasteGAN: a uniform draw from a small pool, by the row's seed."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from rgan_tf.retrieval.noise import row_uniforms
from rgan_tf.retrieval.patches import own_crops, pixels_of

TRAINING_CANDIDATES = 2
"""The nearest of other images that training draws from, beside the object's own patch."""

TEST_CANDIDATES = 3
"""The nearest of other images that a test draws from."""

OWN = 0
"""The position of the own patch in the training pool."""


class Picked(NamedTuple):
    """One patch per object.

    Attributes:
      crops: [B, O, h, w, 3] float32 in [-1, 1]; 0 (mid grey) without a patch.
      choice: [B, O] int32, position in the pool; -1 without a patch.
    """

    crops: tf.Tensor
    choice: tf.Tensor


def pick_in_training(
    batch: dict[str, tf.Tensor], object_mask: tf.Tensor, seeds: tf.Tensor
) -> Picked:
    """Draws from the own patch (position 0) and the two nearest candidates.

    Args:
      batch: `patch_crops` [B, O, h, w, 3] uint8, `candidate_crops` [B, O, K, h, w, 3] uint8 and
        `candidate_valid` [B, O, K] bool, nearest first.
      object_mask: [B, O] bool.
      seeds: [B, 2] int32, one per row.
    """
    valid = batch["candidate_valid"][:, :, :TRAINING_CANDIDATES]  # [B, O, 2]
    pool = tf.concat([tf.ones_like(valid[:, :, :1]), valid], axis=-1)  # [B, O, 3]
    choice = draw_position(pool & object_mask[..., tf.newaxis], seeds)  # [B, O]
    of_others = _pixels(batch["candidate_crops"], choice - 1)  # [B, O, h, w, 3]
    is_own = (choice == OWN)[:, :, tf.newaxis, tf.newaxis, tf.newaxis]  # [B, O, 1, 1, 1]
    return Picked(tf.where(is_own, own_crops(batch, object_mask), of_others), choice)


def pick_at_test(graph: dict[str, tf.Tensor], object_mask: tf.Tensor, seeds: tf.Tensor) -> Picked:
    """Draws from the three nearest candidates, none of which is of the scene's own image.

    Args:
      graph: `candidate_crops` [B, O, K, h, w, 3] uint8 and `candidate_valid` [B, O, K] bool,
        nearest first.
      object_mask, seeds: see `pick_in_training`.
    """
    valid = graph["candidate_valid"][:, :, :TEST_CANDIDATES]  # [B, O, 3]
    choice = draw_position(valid & object_mask[..., tf.newaxis], seeds)  # [B, O]
    return Picked(_pixels(graph["candidate_crops"], choice), choice)


def draw_position(valid: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """A uniform draw among the valid positions of every object.

    Args:
      valid: [B, O, K] bool.
      seeds: [B, 2] int32, one per row; neither other rows nor further objects change a draw.

    Returns:
      [B, O] int32, -1 where nothing is valid.
    """
    rank = tf.cumsum(tf.cast(valid, tf.int32), axis=-1)  # [B, O, K], 1 = the first valid one
    count = rank[..., -1]  # [B, O]
    share = row_uniforms(seeds, [valid.shape[1]])  # [B, O] in [0, 1)
    drawn = tf.cast(share * tf.cast(count, tf.float32), tf.int32)  # [B, O]
    drawn = tf.minimum(drawn, count - 1)  # [B, O], whatever the rounding
    is_drawn = valid & (rank == drawn[..., tf.newaxis] + 1)  # [B, O, K]
    position = tf.argmax(tf.cast(is_drawn, tf.int32), axis=-1, output_type=tf.int32)  # [B, O]
    return tf.where(count > 0, position, -1)


def _pixels(crops: tf.Tensor, choice: tf.Tensor) -> tf.Tensor:
    """[B, O, K, h, w, 3] uint8 and [B, O] (-1: none) -> [B, O, h, w, 3] float32 in [-1, 1]."""
    chosen = tf.gather(crops, tf.maximum(choice, 0), batch_dims=2)  # [B, O, h, w, 3]
    return pixels_of(chosen, choice >= 0)
