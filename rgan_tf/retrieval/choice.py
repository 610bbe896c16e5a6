"""Ways of choosing patches: learned, and those it is compared with (`retrieval.choice`)."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.config import PATCH_CHOICES
from rgan_tf.retrieval.joint_retrieval import Retrieved
from rgan_tf.retrieval.noise import draw_noise, stateless_uniform
from rgan_tf.retrieval.repeats import without_taken
from rgan_tf.retrieval.selector import chosen_rows

CHOICES = LEARNED, NEAREST, NEAREST_RANDOM, OWN, NOISE = PATCH_CHOICES
"""`learned`: the group retrieval. Among the candidates by their graph feature: `nearest` takes the
first, `nearest_random` one of the first three, as PasteGAN does. `own` takes the patch that was cut
out of the very image, which no user has: an upper bound. `noise` takes no patch; what varies is
noise, and the graph says the rest, as in layout2im."""

_RANDOM_OF = 3  # PasteGAN's training draws from so many


def nearest_slots(valid: tf.Tensor, seeds: tf.Tensor | None, *, random_of: int = 1) -> tf.Tensor:
    """One of the nearest candidates of every object.

    Args:
      valid: [B, O, K] bool; candidates come in the order of their graph distance.
      seeds: [B, 2] int32, one per row; None takes the nearest.
      random_of: candidates to draw from, evenly.

    Returns:
      [B, O] int32 position among the K, -1 where there is none.
    """
    rank = tf.cumsum(tf.cast(valid, tf.int32), axis=-1)  # [B, O, K], 1 = nearest
    if seeds is None or random_of == 1:
        scores = -tf.cast(rank, tf.float32)  # [B, O, K]
    else:
        scores = draw_noise(seeds, tf.shape(valid)[1:])[1]  # [B, O, K] in [0, 1)
    eligible = valid & (rank <= random_of)  # [B, O, K]
    slots = tf.argmax(tf.where(eligible, scores, scores.dtype.min), axis=-1, output_type=tf.int32)
    return tf.where(tf.reduce_any(eligible, axis=-1), slots, -1)  # [B, O]


def nearest_unused_slots(valid: tf.Tensor, ids: tf.Tensor, choice: tf.Tensor) -> tf.Tensor:
    """The nearest candidate of every object that no object before it has, nor a locked one.

    Args:
      valid: [B, O, K] bool; candidates come in the order of their graph distance. O is static.
      ids: [B, O, K] int32, rows of the bank; rows of -1 let patches repeat.
      choice: [B, O] int32 position among the K that an object is locked to, -1 = free.

    Returns:
      [B, O] int32 position among the K, the locked ones as they are; -1 where there is none.
    """
    objects = valid.shape[1]
    is_free = choice < 0  # [B, O]
    for position in range(objects):
        nearest = nearest_slots(without_taken(valid, ids, choice), None)  # [B, O]
        is_next = is_free & (tf.range(objects) == position)  # [B, O]
        choice = tf.where(is_next, nearest, choice)  # [B, O]
    return choice


def noise_crops(shape: tf.Tensor, seeds: tf.Tensor, object_mask: tf.Tensor) -> tf.Tensor:
    """Noise in place of patches.

    Args:
      shape: [4] int32, the shape [O, h, w, 3] of one row's patches.
      seeds: [B, 2] int32.
      object_mask: [B, O] bool.

    Returns:
      [B, O, h, w, 3] float32, even in [-1, 1); 0 for padding.
    """
    noise = tf.map_fn(
        lambda seed: stateless_uniform(shape, seed), seeds, fn_output_signature=tf.float32
    )  # [B, O, h, w, 3]
    mask = tf.cast(object_mask, tf.float32)[:, :, None, None, None]  # [B, O, 1, 1, 1]
    return (2.0 * noise - 1.0) * mask


def own_crops(batch: dict[str, tf.Tensor], object_mask: tf.Tensor) -> tf.Tensor:
    """The patches of the scenes themselves: [B, O, h, w, 3] float32 in [-1, 1]; 0 for padding."""
    crops = tf.cast(batch["patch_crops"], tf.float32) / 127.5 - 1.0  # [B, O, h, w, 3]
    return crops * tf.cast(object_mask, tf.float32)[:, :, None, None, None]


def fixed_slots(choice: str, valid: tf.Tensor, seeds: tf.Tensor | None) -> tf.Tensor | None:
    """The candidate that a rule takes, [B, O] int32; None for rules that take no candidate.

    Args:
      choice: one of `CHOICES`, not `LEARNED`.
      valid: [B, O, K] bool.
      seeds: [B, 2] int32, or None for the deterministic choice.
    """
    if choice in (OWN, NOISE):
        return None
    return nearest_slots(valid, seeds, random_of=_RANDOM_OF if choice == NEAREST_RANDOM else 1)


def crops_without_candidates(
    choice: str, batch: dict[str, tf.Tensor], seeds: tf.Tensor | None, object_mask: tf.Tensor
) -> tf.Tensor:
    """The crops [B, O, h, w, 3] of `OWN` and `NOISE`; arguments as above."""
    if choice == OWN:
        return own_crops(batch, object_mask)
    if seeds is None:
        return tf.zeros_like(own_crops(batch, object_mask))
    return noise_crops(tf.shape(batch["patch_crops"])[1:], seeds, object_mask)


class FixedRetrieval:
    """Chooses by a rule in the joint step; nothing is learned from the choice.

    Args:
      choice: one of `CHOICES`, not `LEARNED`.
    """

    monitors = ()

    def __init__(self, choice: str):
        self._choice = choice

    def __call__(
        self,
        batch: dict[str, tf.Tensor],
        object_mask: tf.Tensor,
        *,
        seeds: tf.Tensor | None,
        anchors: tf.Tensor,
        temperature: tf.Tensor,
        step: tf.Tensor,
    ) -> Retrieved:
        """Chooses for one batch; arguments as for `ExactRetrieval`."""
        del anchors, temperature, step
        slots = fixed_slots(self._choice, batch["candidate_valid"], seeds)  # [B, O]
        if slots is None:
            crops = crops_without_candidates(self._choice, batch, seeds, object_mask)
            ids = tf.fill(tf.shape(object_mask), -1)  # [B, O]
        else:
            crops, ids = take_candidates(batch, slots)
        return Retrieved(crops, ids, None, None, {})


def take_candidates(batch: dict[str, tf.Tensor], slots: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Crops [B, O, h, w, 3] float32 and bank rows [B, O] int32 of candidates [B, O], -1 = none."""
    is_there = slots >= 0  # [B, O]
    index = tf.maximum(slots, 0)  # [B, O]
    crops = tf.gather(batch["candidate_crops"], index, batch_dims=2)  # [B, O, h, w, 3] uint8
    crops = tf.cast(crops, tf.float32) / 127.5 - 1.0  # [B, O, h, w, 3]
    crops *= tf.cast(is_there, tf.float32)[:, :, None, None, None]
    return crops, chosen_rows(batch["candidate_ids"], slots)
