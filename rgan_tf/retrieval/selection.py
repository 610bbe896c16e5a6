"""Test-time retrieval: chooses one of its candidates for each object.

The building blocks of retrievers. Evaluation and exported graphs run these same functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from rgan_tf.retrieval.gumbel import WITHIN_GROUP, GroupSelection, gumbel_group_select
from rgan_tf.retrieval.noise import noise_and_scores
from rgan_tf.retrieval.repeats import without_taken
from rgan_tf.retrieval.tensor_arguments import check_shapes


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """The pre-filter's results for the objects of some scenes, nearest first.

    Arrays become tensors. A `tf.function` takes them as an argument.

    Attributes:
      ids: [B, O, K] int32, rows of the bank; -1 where not valid.
      valid: [B, O, K] bool; an object without a valid candidate gets no patch.
      distances: [B, O, K] float32, to the object's graph feature; None in training and evaluation,
        where only their order is known.
      embeddings: [B, O, K, D] float32, from the retriever's `embed`.
      searched: how many of the K the pre-filter found; later slots hold patches that only objects
        locked to them may take. None: all.

    Raises:
      ValueError: if one is no tensor of numbers, or known to have another shape.
    """

    ids: tf.Tensor | None
    valid: tf.Tensor
    distances: tf.Tensor | None
    embeddings: tf.Tensor
    searched: int | None = None

    def __post_init__(self) -> None:
        names = ("valid", "ids", "distances", "embeddings")
        check_shapes(**{name: getattr(self, name) for name in names})
        _make_tensors(self, valid=tf.bool, ids=tf.int32, distances=None, embeddings=None)

    def __tf_flatten__(self) -> tuple[tuple, tuple]:
        return (self.searched,), (self.ids, self.valid, self.distances, self.embeddings)

    @classmethod
    def __tf_unflatten__(cls, metadata: tuple, components: tuple) -> Candidates:
        return _with_fields(cls, (*components, *metadata))


@dataclasses.dataclass(frozen=True, eq=False)
class Options:
    """How patches are chosen at test time.

    Arrays become tensors. A `tf.function` takes them as an argument.

    Attributes:
      seeds: [B, 2] int32, one per scene, of all random draws; None means no randomness.
      is_random: [B] bool, the scenes that draw; others ignore their seeds. None: all.
      temperature: [B] float32, at least 0: amount of randomness. None is 1.
      locked: [B, O] int32, the slot that an object must take, -1 = free; None: all are free. An
        object locked to an invalid slot is free.
      repeats: whether objects of a scene may get the same patch while others are free; a bool, or
        [B] bool.

    Raises:
      ValueError: if one is no tensor of numbers, or known to have another shape; if `repeats` is
        None.
    """

    seeds: tf.Tensor | None = None
    is_random: tf.Tensor | None = None
    temperature: tf.Tensor | None = None
    locked: tf.Tensor | None = None
    repeats: bool | tf.Tensor = True

    def __post_init__(self) -> None:
        if self.repeats is None:
            raise ValueError("repeats must be [B] bool or a bool, got None")
        is_for_all = isinstance(self.repeats, (bool, np.bool_))
        repeats = None if is_for_all else self.repeats
        names = ("seeds", "is_random", "temperature", "locked")
        check_shapes(**{name: getattr(self, name) for name in names}, repeats=repeats)
        kinds = {"is_random": tf.bool, "temperature": tf.float32}
        _make_tensors(self, seeds=tf.int32, locked=tf.int32, **kinds)
        if is_for_all:
            object.__setattr__(self, "repeats", bool(self.repeats))
        else:
            _make_tensors(self, repeats=tf.bool)

    def __tf_flatten__(self) -> tuple[tuple, tuple]:
        return (), tuple(getattr(self, field.name) for field in dataclasses.fields(self))

    @classmethod
    def __tf_unflatten__(cls, metadata: tuple, components: tuple) -> Options:
        return _with_fields(cls, components)


def _make_tensors(value: Any, **kinds: tf.DType | None) -> None:
    """Turns fields of a frozen dataclass into tensors of these types; None keeps the type."""
    for name, kind in kinds.items():
        given = getattr(value, name)
        if given is not None:
            tensor = tf.convert_to_tensor(given) if kind is None else tf.cast(given, kind)
            object.__setattr__(value, name, tensor)


def _with_fields(kind: type, values: tuple) -> Any:
    """A dataclass of these fields; TensorFlow also puts other things in the place of tensors."""
    result = object.__new__(kind)
    for field, value in zip(dataclasses.fields(kind), values, strict=True):
        object.__setattr__(result, field.name, value)
    return result


class Selection(NamedTuple):
    """A retriever's choice.

    Attributes:
      choice: [B, O] int32, the slot of every object among its K candidates, -1 = none.
      order: [B, O] int32, the object that chose at each step, -1 past the end. Excludes locked
        objects.
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
    """Algorithm 1: each choice is conditioned on the earlier ones.

    Args:
      candidates: of B scenes with O objects of K candidates each.
      options: seeds, temperature, locks, repeats.
      scale: scalar above 0, multiplies the distances.
      temperature: scalar above 0, of the gradient; that of the options multiplies the noise, which
        is equivalent to dividing the logits.
      straight_through: see `gumbel_group_select`.
      gradient: likewise.

    Returns:
      The weights, the order and the choice.
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
    """The noise and first query of a group selection.

    Numbers are drawn only for the slots that the pre-filter found, as in training, so further slots
    for locked patches do not change them.

    Returns:
      Gumbel noise [B, O, K] float32, 0 without randomness, and the first query [B, D]: a candidate
      drawn uniformly, or else the nearest of all objects.
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
    """Lets the objects choose one after another, in order.

    Locked objects keep their slot. Without repeats an object avoids the patches of earlier and of
    locked objects.

    Args:
      pick: chooses for all objects among the allowed candidates: [B, O, K] bool -> [B, O] int32
        slot, -1 for none.
      candidates, options: see `Candidates`, `Options`. O is static.
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
    """For each object the valid candidate with the highest score; ties go to the nearer one.

    Args:
      scores: [B, O, K] float.
      candidates: of B scenes with O objects of K candidates each.
      options: its locks and repeats are respected.

    Returns:
      The choice, and the order in which objects chose.

    Raises:
      ValueError: if the scores have another shape.
    """
    scores, shape = tf.convert_to_tensor(scores), candidates.valid.shape
    # One score per object, or [B, O, 1], could be broadcast to all of its candidates.
    if not scores.shape.is_compatible_with(shape):
        raise ValueError(
            "best_in_turn: scores must be one number per candidate, [B, O, K] = "
            f"{shape.as_list()}, got shape {scores.shape}"
        )

    def pick(valid: tf.Tensor) -> tf.Tensor:
        masked = tf.where(valid, scores, scores.dtype.min)  # [B, O, K]
        slots = tf.argmax(masked, axis=-1, output_type=tf.int32)  # [B, O]
        return tf.where(tf.reduce_any(valid, axis=-1), slots, -1)

    return in_turn(pick, candidates, options)


def nearest_in_turn(candidates: Candidates, options: Options, *, random_of: int = 1) -> Selection:
    """For each object one of its nearest candidates.

    Args:
      candidates: of B scenes with O objects of K candidates each.
      options: its locks and repeats are respected.
      random_of: number of candidates to draw from uniformly, if there are seeds.

    Returns:
      The choice, and the order in which objects chose.
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
    """[B] int32: position of the valid candidate with the highest score among all O*K."""
    masked = tf.where(valid, scores, tf.float32.min)  # [B, O, K]
    flat = tf.reshape(masked, [-1, tf.reduce_prod(tf.shape(valid)[1:])])  # [B, O*K]
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
    places, width = tf.reduce_prod(tf.shape(valid)[1:]), embeddings.shape[-1]
    flat = tf.reshape(embeddings, [-1, places, width])  # [B, O*K, D]
    return tf.gather(flat, best_position(valid, scores), batch_dims=1)  # [B, D]
