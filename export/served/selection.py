"""Which of its candidates each object gets, in the served model."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from export.signatures import MODES, NEAREST, SAMPLE
from rgan_tf.retrieval.choice import nearest_unused_slots
from rgan_tf.retrieval.gumbel import GroupSelection, gumbel_group_select
from rgan_tf.retrieval.noise import draw_noise
from rgan_tf.retrieval.selector import best_candidate
from rgan_tf.seeds import Purpose, derive_row_seeds


class Candidates(NamedTuple):
    """Patches an object can take: K from the pre-filter, and in slot K the one it is locked to.

    Attributes:
      ids: [B, O, K + 1] int32.
      valid: [B, O, K + 1] bool; slot K is valid where an object is locked.
      distances: [B, O, K + 1] float32, in the pre-filter.
      embeddings: [B, O, K + 1, D] float32.
    """

    ids: tf.Tensor
    valid: tf.Tensor
    distances: tf.Tensor
    embeddings: tf.Tensor


def select(
    candidates: Candidates, request: dict[str, tf.Tensor], scale: tf.Tensor
) -> GroupSelection:
    """Algorithm 1, or the nearest patches, with a mode, a seed and a temperature per row.

    No two objects get one patch while another candidate is free, unless the mode lets them.

    Args:
      candidates: of every object.
      request: checked, with `mode`, `seed` and `temperature`, [B] each.
      scale: scalar, of the distances.
    """
    seed, mode = request["seed"], request["mode"] % len(MODES)  # [B], [B]
    repeats = request["mode"] >= len(MODES)  # [B]
    valid = candidates.valid  # [B, O, K + 1]
    objects, k = valid.shape[1], valid.shape[2] - 1
    # Drawn for the K slots of the pre-filter, as in training: the extra slot is never open.
    gumbel, scores = draw_noise(
        derive_row_seeds(seed, Purpose.GUMBEL_NOISE), [objects, k]
    )  # [B, O, K] twice
    random = (mode == SAMPLE)[:, tf.newaxis, tf.newaxis]  # [B, 1, 1]
    # Noise times temperature draws as logits divided by it.
    gumbel *= request["temperature"][:, tf.newaxis, tf.newaxis]  # [B, O, K]
    gumbel = tf.where(random, gumbel, 0.0)  # [B, O, K]
    # Without noise the first query is the best candidate of the pre-filter.
    scores = tf.where(random, scores, -candidates.distances[:, :, :k])  # [B, O, K]
    locked = tf.where(valid[:, :, k], k, -1)  # [B, O]
    ids = tf.where(repeats[:, tf.newaxis, tf.newaxis], -1, candidates.ids)  # [B, O, K + 1]
    group = gumbel_group_select(
        candidates.embeddings,
        valid,
        best_candidate(candidates.embeddings[:, :, :k], valid[:, :, :k], scores),
        tf.pad(gumbel, [[0, 0], [0, 0], [0, 1]]),
        scale=scale,
        locked=locked,
        ids=ids,
    )
    order, choice = select_nearest(valid, ids, locked)
    is_nearest = (mode == NEAREST)[:, tf.newaxis]  # [B, 1]
    return GroupSelection(
        weights=group.weights,
        order=tf.where(is_nearest, order, group.order),
        choice=tf.where(is_nearest, choice, group.choice),
    )


def select_nearest(
    valid: tf.Tensor, ids: tf.Tensor, locked: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """For each object by itself the nearest of its candidates, or the one that it is locked to.

    Args:
      valid: [B, O, K + 1] bool, of candidates whose first K come with the nearest first.
      ids: [B, O, K + 1] int32, rows of the bank: an object leaves what those before it have and
        what others are locked to. Rows of -1 let patches repeat.
      locked: [B, O] int32, K where an object is locked, else -1.

    Returns:
      `order` and `choice` as in `GroupSelection`; the order is that of the objects.
    """
    choice = nearest_unused_slots(valid, ids, locked)  # [B, O]
    is_free = (choice >= 0) & (locked < 0)  # [B, O]
    positions = tf.argsort(tf.cast(~is_free, tf.int32), axis=1, stable=True)  # [B, O]
    taken = tf.gather(is_free, positions, batch_dims=1)  # [B, O]
    return tf.where(taken, positions, -1), choice
