"""Test-time retrieval: which of its candidates each object gets.

What retrievers are made of. Evaluation and the graph of an exported model run these same functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from rgan_tf.retrieval.gumbel import WITHIN_GROUP, GroupSelection, gumbel_group_select
from rgan_tf.retrieval.noise import noise_and_scores
from rgan_tf.retrieval.repeats import without_taken


@dataclasses.dataclass(frozen=True)
class Candidates:
    """What the pre-filter found for the objects of some scenes, the nearest first.

    Attributes:
      ids: [B, O, K] int32, rows of the bank; -1 where not valid.
      valid: [B, O, K] bool; an object without a valid candidate gets no patch.
      distances: [B, O, K] float32, to the object's graph feature; None where it is not known.
      embeddings: [B, O, K, D] float32, what the retriever's `embed` gives for them.
      searched: how many of the K the pre-filter found; any further slot holds a patch that only an
        object locked to it may take. None: all of them.
    """

    ids: tf.Tensor | None
    valid: tf.Tensor
    distances: tf.Tensor | None
    embeddings: tf.Tensor
    searched: int | None = None


@dataclasses.dataclass(frozen=True)
class Options:
    """How patches are to be chosen at test time.

    Attributes:
      seeds: [B, 2] int32, one per scene, of whatever is drawn; None draws nothing.
      is_random: [B] bool, the scenes that draw; the others are chosen without seeds. None: all.
      temperature: [B] float32, at least 0: how much chance there is. None is 1.
      locked: [B, O] int32, the slot that an object has to take, -1 = free; None: all are free. An
        object that is locked to a slot that is not valid is free.
      repeats: whether objects of a scene may get the same patch while others are free; a bool, or
        [B] bool.
    """

    seeds: tf.Tensor | None = None
    is_random: tf.Tensor | None = None
    temperature: tf.Tensor | None = None
    locked: tf.Tensor | None = None
    repeats: bool | tf.Tensor = True


class Selection(NamedTuple):
    """What a retriever chose.

    Attributes:
      choice: [B, O] int32, the slot of every object among its K candidates, -1 = none.
      order: [B, O] int32, the object that was served at each step, -1 past the end. Locked objects
        are absent.
    """

    choice: tf.Tensor
    order: tf.Tensor


def choose_by_group(
    candidates: Candidates,
    options: Options,
    *,
    scale: tf.Tensor | float,
    temperature: tf.Tensor | float = 1.0,
    straight_through: bool = True,
    gradient: str = WITHIN_GROUP,
) -> GroupSelection:
    """Algorithm 1: each choice is conditioned on those before it.

    Args:
      candidates, options: see there.
      scale, temperature, straight_through, gradient: as for `gumbel_group_select`. This temperature
        is that of the gradient; that of the options multiplies the noise, which draws as logits
        divided by it.
    """
    gumbel, query = first_draws(candidates, options)
    return gumbel_group_select(
        candidates.embeddings,
        candidates.valid,
        query,
        gumbel,
        scale=scale,
        temperature=temperature,
        straight_through=straight_through,
        locked=options.locked,
        gradient=gradient,
        ids=ids_to_keep_apart(candidates, options),
    )


def first_draws(candidates: Candidates, options: Options) -> tuple[tf.Tensor, tf.Tensor]:
    """What a group selection begins with.

    Numbers are drawn for the slots that the pre-filter found, as in training: a slot for locked
    patches changes none of them.

    Returns:
      Gumbel noise [B, O, K] float32, 0 where nothing is drawn, and the first query [B, D]: a
      candidate drawn evenly, or else the nearest of all objects'.
    """
    found = slice(candidates.searched)
    valid = candidates.valid[:, :, found]  # [B, O, K]
    distances = candidates.distances
    distances = None if distances is None else distances[:, :, found]  # [B, O, K]
    gumbel, scores = noise_and_scores(valid, options.seeds, distances)  # [B, O, K] each
    if options.temperature is not None:
        gumbel *= options.temperature[:, tf.newaxis, tf.newaxis]
    if options.seeds is not None and options.is_random is not None:
        is_random = options.is_random[:, tf.newaxis, tf.newaxis]  # [B, 1, 1]
        zeros, nearness = noise_and_scores(valid, None, distances)  # [B, O, K] each
        gumbel = tf.where(is_random, gumbel, zeros)  # [B, O, K]
        scores = tf.where(is_random, scores, nearness)  # [B, O, K]
    query = best_candidate(candidates.embeddings[:, :, found], valid, scores)  # [B, D]
    if candidates.searched is not None:
        missing = candidates.valid.shape[2] - candidates.searched
        gumbel = tf.pad(gumbel, [[0, 0], [0, 0], [0, missing]])  # [B, O, K]
    return gumbel, query


def ids_to_keep_apart(candidates: Candidates, options: Options) -> tf.Tensor | None:
    """[B, O, K] int32 rows of the bank, -1 in scenes whose patches may repeat; None if all may."""
    if isinstance(options.repeats, bool):
        return None if options.repeats else candidates.ids
    return tf.where(options.repeats[:, tf.newaxis, tf.newaxis], -1, candidates.ids)  # [B, O, K]


def in_turn(
    pick: Callable[[tf.Tensor], tf.Tensor], candidates: Candidates, options: Options
) -> Selection:
    """Lets every object pick by itself, one after the other in their order.

    Locked objects keep what they have. Without repeats an object leaves what others have: those
    before it, and the locked ones.

    Args:
      pick: of all objects, given which candidates they may take: [B, O, K] bool -> [B, O] int32
        slot, -1 where an object has none.
      candidates, options: see there. O is static.
    """
    valid, locked = candidates.valid, options.locked
    if locked is None:
        locked = tf.fill(tf.shape(valid)[:2], -1)  # [B, O]
    ids, is_free = ids_to_keep_apart(candidates, options), locked < 0  # [B, O]
    if ids is None:
        choice = tf.where(is_free, pick(valid), locked)  # [B, O]
    else:
        choice, objects = locked, valid.shape[1]
        for position in range(objects):
            picked = pick(without_taken(valid, ids, choice))  # [B, O]
            is_next = is_free & (tf.range(objects) == position)  # [B, O]
            choice = tf.where(is_next, picked, choice)  # [B, O]
    is_served = (choice >= 0) & is_free  # [B, O]
    positions = tf.argsort(tf.cast(~is_served, tf.int32), axis=1, stable=True)  # [B, O]
    order = tf.where(tf.gather(is_served, positions, batch_dims=1), positions, -1)  # [B, O]
    return Selection(choice, order)


def best_in_turn(scores: tf.Tensor, candidates: Candidates, options: Options) -> Selection:
    """For each object its valid candidate of the highest score; ties go to the nearer one.

    Args:
      scores: [B, O, K] float.
      candidates, options: see there; locks and repeats are heeded.
    """

    def pick(valid: tf.Tensor) -> tf.Tensor:
        masked = tf.where(valid, scores, scores.dtype.min)  # [B, O, K]
        slots = tf.argmax(masked, axis=-1, output_type=tf.int32)  # [B, O]
        return tf.where(tf.reduce_any(valid, axis=-1), slots, -1)

    return in_turn(pick, candidates, options)


def nearest_in_turn(candidates: Candidates, options: Options, *, random_of: int = 1) -> Selection:
    """For each object one of its nearest candidates.

    Args:
      candidates, options: see there.
      random_of: candidates to draw from, evenly, where there are seeds.
    """
    scores = None
    if random_of > 1 and options.seeds is not None:
        scores = noise_and_scores(candidates.valid, options.seeds)[1]  # [B, O, K] in [0, 1)

    def pick(valid: tf.Tensor) -> tf.Tensor:
        rank = tf.cumsum(tf.cast(valid, tf.int32), axis=-1)  # [B, O, K], 1 = nearest
        nearness = -tf.cast(rank, tf.float32)  # [B, O, K]
        drawn = nearness if scores is None else scores  # [B, O, K]
        if options.is_random is not None:
            drawn = tf.where(options.is_random[:, tf.newaxis, tf.newaxis], drawn, nearness)
        eligible = valid & (rank <= random_of)  # [B, O, K]
        slots = tf.argmax(tf.where(eligible, drawn, drawn.dtype.min), axis=-1, output_type=tf.int32)
        return tf.where(tf.reduce_any(eligible, axis=-1), slots, -1)  # [B, O]

    return in_turn(pick, candidates, options)


def best_position(valid: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """[B] int32: where among all O*K candidates the valid one of the highest score stands."""
    masked = tf.where(valid, scores, tf.float32.min)  # [B, O, K]
    flat = tf.reshape(masked, [tf.shape(valid)[0], -1])  # [B, O*K]
    return tf.argmax(flat, axis=-1, output_type=tf.int32)


def best_candidate(embeddings: tf.Tensor, valid: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """The embedding of each row's valid candidate with the highest score; ties go to the first.

    Args:
      embeddings: [B, O, K, D] float32.
      valid: [B, O, K] bool.
      scores: [B, O, K] float32.

    Returns:
      [B, D] float32.
    """
    batch, width = tf.shape(valid)[0], embeddings.shape[-1]
    flat = tf.reshape(embeddings, [batch, -1, width])  # [B, O*K, D]
    return tf.gather(flat, best_position(valid, scores), batch_dims=1)  # [B, D]
