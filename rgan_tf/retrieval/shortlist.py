"""Picks the candidates worth loading: those that a selection would choose, or nearly."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.retrieval.distance import unit_distance
from rgan_tf.retrieval.gumbel import WITHIN_GROUP, relaxed_group_select


def likely_slots(
    embeddings: tf.Tensor,
    valid: tf.Tensor,
    query: tf.Tensor,
    gumbel: tf.Tensor,
    *,
    count: int,
    scale: tf.Tensor | float,
    temperature: tf.Tensor | float,
    straight_through: bool = True,
    locked: tf.Tensor | None = None,
    gradient: str = WITHIN_GROUP,
) -> tf.Tensor:
    """The candidates with the most weight in a group selection among all.

    Runs the whole selection without gradient. Each object keeps its chosen candidate, then those
    with the largest relaxed weights, through which the selection's gradient flows. Repeated on
    these alone with the same noise and first query, the selection makes the same choice: every
    winner is still there, and nothing new can beat it.

    Args:
      embeddings: [B, O, K, D] float.
      valid: [B, O, K] bool.
      query: [B, D] float, the first query.
      gumbel: [B, O, K] float.
      count: m, number of candidates to keep; at most K.
      scale, temperature, straight_through, locked, gradient: see `gumbel_group_select`.

    Returns:
      [B, O, m] int32, distinct positions among the K. If an object has fewer valid candidates, the
      last positions are not valid.
    """
    arguments = (embeddings, query, gumbel, scale, temperature)
    embeddings, query, gumbel, scale, temperature = map(tf.stop_gradient, arguments)
    selection, relaxed = relaxed_group_select(
        embeddings,
        valid,
        query,
        gumbel,
        scale=scale,
        temperature=temperature,
        straight_through=straight_through,
        locked=locked,
        gradient=gradient,
    )
    rank = tf.where(valid, relaxed, -1.0)  # [B, O, K], at most O
    highest = float(valid.shape[1] + 1)
    rank += highest * tf.one_hot(selection.choice, tf.shape(valid)[2])  # [B, O, K]
    return tf.math.top_k(tf.stop_gradient(rank), count).indices


def nearest_slots(
    embeddings: tf.Tensor, valid: tf.Tensor, query: tf.Tensor, count: int
) -> tf.Tensor:
    """The `count` candidates of each object nearest to the query: [B, O, m] int32, no gradient."""
    distance = unit_distance(tf.stop_gradient(embeddings), tf.stop_gradient(query))  # [B, O, K]
    return tf.math.top_k(tf.where(valid, -distance, tf.float32.min), count).indices


def take_slots(values: tf.Tensor, slots: tf.Tensor) -> tf.Tensor:
    """The entries of [B, O, K, ...] at [B, O, m] positions: [B, O, m, ...]."""
    return tf.gather(values, slots, batch_dims=2)


def is_in_slots(slots: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    """[B, O, m] positions -> [B, O, K] bool, whether a position is among them."""
    return tf.reduce_any(tf.one_hot(slots, number, True, False, dtype=tf.bool), axis=2)


def positions_in_slots(positions: tf.Tensor, slots: tf.Tensor) -> tf.Tensor:
    """Indices of positions [B, O] among the slots: [B, O] int32, -1 if absent."""
    found = slots == positions[:, :, tf.newaxis]  # [B, O, m]
    place = tf.argmax(tf.cast(found, tf.int32), axis=-1, output_type=tf.int32)  # [B, O]
    return tf.where(tf.reduce_any(found, axis=-1), place, -1)
