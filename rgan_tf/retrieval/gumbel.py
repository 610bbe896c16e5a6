"""Differentiable selection of one candidate per object (Algorithm 1, method §3.4).

Weighted reservoir sampling, relaxed as in Xie & Ermon, IJCAI 2019, with the paper's change that
choosing a candidate closes its whole group (equation 4 in place of equation 3, method §3.2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rgan_tf.retrieval.distance import l2_distance
from rgan_tf.retrieval.repeats import without_taken
from rgan_tf.retrieval.tensor_arguments import EPSILON, check_above_zero, check_shapes

# ε of log(max(1 - u, ε)).
_LOG_EPSILON = float(np.log(EPSILON))
_LOWEST = float(np.finfo(np.float32).min)

GRADIENTS = WITHIN_GROUP, EXPECTED, PAPER = "within_group", "expected", "paper"
"""Choices of the relaxed gradient; see `gumbel_group_select`."""


class GroupSelection(NamedTuple):
    """The result of `gumbel_group_select`.

    Attributes:
      weights: [B, O, K] float32; each object with a valid candidate has weights that sum to 1,
        every other entry is 0.
      order: [B, O] int32; the object chosen at step t, -1 past the end. Excludes locked objects.
      choice: [B, O] int32; the candidate chosen for each object, -1 if it has none.
    """

    weights: tf.Tensor
    order: tf.Tensor
    choice: tf.Tensor


def gumbel_group_select(
    features: tf.Tensor,
    valid: tf.Tensor,
    query: tf.Tensor,
    gumbel: tf.Tensor,
    *,
    scale: tf.Tensor | float = 1.0,
    temperature: tf.Tensor | float = 1.0,
    straight_through: bool = True,
    locked: tf.Tensor | None = None,
    gradient: str = WITHIN_GROUP,
    ids: tf.Tensor | None = None,
) -> GroupSelection:
    """Chooses one candidate per object, each choice conditioned on all earlier ones.

    Each step scores every open candidate by `gumbel - scale * |feature - query|` (equations 1 and
    2), takes the best one over all objects, closes its object (equation 4) and moves the query to
    the mean of everything selected so far. The caller's noise is the same for all steps; the
    log-mask of closed objects is kept apart from the scores, which change with the query. The
    arithmetic ignores the precision policy: it is float32, on the soft path float64.

    With `straight_through` the forward weights are exactly one-hot for any `gradient`. The gradient
    is that of relaxed weights of one of three kinds:

      * `within_group`: the object is chosen by the hard maximum, and equation 2 is taken over the
        candidates of this object only. No weight moves between objects, as in the forward pass, so
        a loss that depends only on an object's total weight has gradient 0. Use a temperature near
        1.
      * `expected`: the same without noise and temperature: the probabilities with which the
        object's candidates win. If the loss is linear in an object's weights, this is the gradient
        of its expectation for a given query, free of the noise's variance.
      * `paper`: equation 2 over all candidates of all objects.

    Without `straight_through` the weights are the soft ones of equation 2 over everything,
    normalised within each object, because their raw sum drops some objects and counts others
    twice.

    Args:
      features: [B, O, K, D] float, embedded candidates, finite in padding too; O must be static.
      valid: [B, O, K] bool, False for padding; an object without a valid candidate is skipped.
      query: [B, D] float, the initial query; unused in rows with a locked object.
      gumbel: [B, O, K] float, Gumbel(0, 1) noise; zeros make the selection deterministic.
      scale: scalar, at least 0, multiplies the distances; at 0 noise alone chooses.
      temperature: scalar above 0, divides the logits of the softmax.
      straight_through: one-hot weights with the soft gradient, or the soft weights themselves.
      locked: [B, O] int32, the candidate to which an object is locked; -1 (or an invalid candidate)
        means free. Locked features count from the start and form the first query.
      gradient: "within_group", "expected" or "paper"; does not affect the forward pass; ignored
        without `straight_through`.
      ids: [B, O, K] int32, rows of the bank; an object then takes a patch that another object has
        only if all its candidates are taken. None, and rows of -1, let patches repeat as in the
        paper. With soft weights it is the hard decisions that do not repeat.

    Returns:
      The selection. In soft mode `order` and `choice` are the hard decisions of the soft path.

    Raises:
      ValueError: if the number of objects is not static, `gradient` is unknown, an argument is no
        tensor of numbers, known to have another shape, or none of objects or candidates, the
        temperature is known not to be above 0, or the scale to be below 0.

    Example:
      ```python
      import rgan_tf
      import tensorflow as tf

      candidates = tf.random.normal([2, 3, 5, 8])  # [B, O, K, D]
      valid = tf.ones([2, 3, 5], tf.bool)  # [B, O, K]
      query, noise = tf.zeros([2, 8]), tf.zeros([2, 3, 5])  # [B, D], [B, O, K]
      selection = rgan_tf.gumbel_group_select(candidates, valid, query, noise)
      assert selection.choice.shape == [2, 3]
      ```
    """
    check_shapes(features=features, valid=valid, query=query, gumbel=gumbel, locked=locked, ids=ids)
    return relaxed_group_select(
        features,
        valid,
        query,
        gumbel,
        scale=scale,
        temperature=temperature,
        straight_through=straight_through,
        locked=locked,
        gradient=gradient,
        ids=ids,
    )[0]


def selection_probabilities(
    features: tf.Tensor,
    valid: tf.Tensor,
    query: tf.Tensor,
    selection: GroupSelection,
    *,
    scale: tf.Tensor | float,
) -> tf.Tensor:
    """The probability with which each candidate would have been chosen at its object's turn.

    At an object's turn the query is the mean of the earlier selections. Given this query and turn,
    Gumbel noise makes candidate k win with probability softmax_k(-scale * |feature - query|).

    Args:
      features: [B, O, K, D] float, as given to `gumbel_group_select`.
      valid: [B, O, K] bool.
      query: [B, D] float, the first query.
      selection: of these features, without locked objects; order and choice carry no gradient.
      scale: scalar above 0.

    Returns:
      [B, O, K] float32; sums to 1 for each chosen object, else 0. The gradient reaches the features
      both as candidates and, through the queries, as selected patches.
    """
    features = tf.cast(features, tf.float32)  # [B, O, K, D]
    objects = features.shape[1]
    turn = tf.one_hot(selection.order, objects)  # [B, step, O]
    chosen = tf.gather(features, tf.maximum(selection.choice, 0), batch_dims=2)  # [B, O, D]
    in_turn = tf.matmul(turn, chosen)  # [B, step, D]
    before = tf.cumsum(in_turn, axis=1, exclusive=True)  # [B, step, D]
    counts = tf.range(objects, dtype=tf.float32)[:, tf.newaxis]  # [step, 1]
    queries = tf.where(
        counts > 0,
        before / tf.maximum(counts, 1.0),
        tf.cast(query, tf.float32)[:, tf.newaxis],
    )  # [B, step, D]
    queries = tf.matmul(turn, queries, transpose_a=True)  # [B, O, D], at each object's turn
    distance = l2_distance(features, queries[:, :, tf.newaxis])  # [B, O, K]
    has_turn = tf.reduce_any(turn > 0, axis=1)  # [B, O]
    open_ones = valid & has_turn[:, :, tf.newaxis]  # [B, O, K]
    return _masked_softmax(-scale * distance, open_ones, 1.0, axes=(2,))[0]  # [B, O, K]


def relaxed_group_select(
    features: tf.Tensor,
    valid: tf.Tensor,
    query: tf.Tensor,
    gumbel: tf.Tensor,
    *,
    scale: tf.Tensor | float = 1.0,
    temperature: tf.Tensor | float = 1.0,
    straight_through: bool = True,
    locked: tf.Tensor | None = None,
    gradient: str = WITHIN_GROUP,
    ids: tf.Tensor | None = None,
) -> tuple[GroupSelection, tf.Tensor]:
    """Like `gumbel_group_select`, but also returns the relaxed weights.

    Returns:
      The selection, and [B, O, K]: the sum over all steps of the relaxed weights. A candidate's
      share of it is its share of the gradient. Without `straight_through` these are the selection's
      weights.
    """
    if gradient not in GRADIENTS:
        raise ValueError(f"gradient must be one of {', '.join(GRADIENTS)}, got {gradient!r}")
    check_above_zero("scale", scale, or_zero=True)
    check_above_zero("temperature", temperature)
    # On the soft path each step divides the rounding of the step before by the temperature; at
    # scale 10 and temperature 0.1 float32 leaves errors above 1e-5 after five steps.
    kind = tf.float32 if straight_through else tf.float64
    features = tf.cast(features, kind)  # [B, O, K, D]
    query = tf.cast(query, kind)  # [B, D]
    gumbel = tf.cast(gumbel, kind)  # [B, O, K]
    scale = tf.cast(scale, kind)
    temperature = tf.cast(temperature, kind)
    num_objects = features.shape[1]
    if num_objects is None:
        raise ValueError("features must have a static number of objects, got [B, None, K, D]")
    num_candidates = features.shape[2] or tf.shape(features)[2]
    valid = tf.cast(valid, tf.bool)  # [B, O, K]
    ids = None if ids is None else tf.cast(ids, tf.int32)  # [B, O, K]

    if locked is None:
        locked = tf.fill(tf.shape(valid)[:2], -1)
    locked = tf.cast(locked, tf.int32)  # [B, O]; NumPy's integers have 64 bits
    lock_weights = tf.one_hot(locked, num_candidates, dtype=kind)  # [B, O, K]
    lock_weights *= tf.cast(valid, kind)  # [B, O, K]
    is_locked = tf.reduce_any(lock_weights > 0, axis=-1)  # [B, O]
    selected_sum = tf.einsum("bok,bokd->bd", lock_weights, features)  # [B, D]
    selected_count = tf.reduce_sum(tf.cast(is_locked, kind), axis=-1)  # [B]
    query = tf.where(
        selected_count[:, tf.newaxis] > 0,
        selected_sum / tf.maximum(selected_count, 1.0)[:, tf.newaxis],
        query,
    )  # [B, D]

    selectable = valid & ~is_locked[:, :, tf.newaxis]  # [B, O, K]
    is_open = tf.reduce_any(selectable, axis=-1)  # [B, O]
    num_steps = tf.reduce_sum(tf.cast(is_open, tf.int32), axis=-1)  # [B]
    log_mask = tf.zeros(tf.shape(is_open), kind)  # [B, O]
    hard_weights = lock_weights  # [B, O, K]
    relaxed_sum = tf.zeros_like(lock_weights)  # [B, O, K]
    log_weights = []  # of each step, [B, O, K]
    order = []  # of each step, [B]
    choice = tf.where(is_locked, locked, -1)  # [B, O]

    pickable = selectable  # [B, O, K]
    for step in range(num_objects):
        if ids is not None:
            pickable = without_taken(selectable, ids, choice)  # [B, O, K]
        is_active = step < num_steps  # [B]
        distance = l2_distance(features, query[:, tf.newaxis, tf.newaxis])  # [B, O, K]
        # log π up to a constant per row, which softmax and argmax ignore. Subtracting the nearest
        # distance, not the normaliser, keeps the digits that a low temperature magnifies.
        nearest = _lowest(distance, pickable)  # [B, 1, 1]
        drawback = scale * (distance - nearest)  # [B, O, K]
        logits = gumbel - drawback + log_mask[:, :, tf.newaxis]  # [B, O, K]

        # Closed objects are masked here too: one far ahead in score could otherwise outweigh log ε
        # and be chosen twice.
        scores = tf.where(pickable & is_open[:, :, tf.newaxis], logits, _LOWEST)  # [B, O, K]
        flat = tf.reshape(scores, [-1, num_objects * num_candidates])  # [B, O*K]
        position = tf.argmax(flat, axis=-1, output_type=tf.int32)  # [B]
        chosen_object = tf.where(is_active, position // num_candidates, -1)  # [B]
        chosen_candidate = position % num_candidates  # [B]
        is_chosen = tf.one_hot(chosen_object, num_objects, True, False, dtype=tf.bool)  # [B, O]
        is_open &= ~is_chosen  # [B, O]
        order.append(chosen_object)
        choice = tf.where(is_chosen, chosen_candidate[:, tf.newaxis], choice)  # [B, O]

        active = tf.cast(is_active, kind)[:, tf.newaxis, tf.newaxis]  # [B, 1, 1]
        if gradient == PAPER or not straight_through:
            shares, log_shares = _masked_softmax(logits, pickable, temperature)  # [B, O, K] twice
            shares *= active  # [B, O, K]
        else:
            in_group = pickable & is_chosen[:, :, tf.newaxis]  # [B, O, K]
            if gradient == WITHIN_GROUP:
                shares, _ = _masked_softmax(logits, in_group, temperature, axes=(2,))  # [B, O, K]
            else:
                shares, _ = _masked_softmax(-drawback, in_group, 1.0, axes=(2,))  # [B, O, K]
        if straight_through:
            hard = (
                tf.cast(is_chosen, kind)[:, :, tf.newaxis]
                * tf.one_hot(chosen_candidate, num_candidates, dtype=kind)[:, tf.newaxis]
            )  # [B, O, K]
            # hard + (s - s), not (hard - s) + s: the latter is not exactly one-hot in float32.
            step_weights = hard + (shares - tf.stop_gradient(shares))  # [B, O, K]
            hard_weights += hard  # [B, O, K]
            relaxed_sum += shares  # [B, O, K]
            log_mask += tf.where(is_chosen, _LOG_EPSILON, 0.0)  # [B, O]
        else:
            step_weights = shares  # [B, O, K]
            log_weights.append(tf.where(is_active[:, tf.newaxis, tf.newaxis], log_shares, _LOWEST))
            remainder = _one_minus_group_maximum(shares)  # [B, O]
            log_mask += tf.where(
                is_active[:, tf.newaxis], tf.math.log(tf.maximum(remainder, EPSILON)), 0.0
            )  # [B, O]
        selected_sum += tf.einsum("bok,bokd->bd", step_weights, features)  # [B, D]
        selected_count += active[:, 0, 0]  # [B]
        query = selected_sum / tf.maximum(selected_count, 1.0)[:, tf.newaxis]  # [B, D]

    if straight_through:
        weights = hard_weights + (relaxed_sum - tf.stop_gradient(relaxed_sum))  # [B, O, K]
    else:
        # Σ_t s_t, divided by its sum over the object, in logarithms: nothing underflows to 0/0.
        total = tf.reduce_logsumexp(tf.stack(log_weights), axis=0)  # [B, O, K]
        weights = _masked_softmax(total, selectable, 1.0, axes=(2,))[0] + lock_weights  # [B, O, K]
        relaxed_sum = weights  # [B, O, K]
    weights, relaxed = tf.cast(weights, tf.float32), tf.cast(relaxed_sum, tf.float32)
    return GroupSelection(weights, tf.stack(order, axis=-1), choice), relaxed


def _lowest(values: tf.Tensor, mask: tf.Tensor, axes: tuple[int, ...] = (1, 2)) -> tf.Tensor:
    """The lowest unmasked value over `axes` (kept), without gradient; 0 if all are masked."""
    lowest = tf.reduce_min(tf.where(mask, values, np.inf), axis=axes, keepdims=True)
    return tf.stop_gradient(tf.where(tf.math.is_finite(lowest), lowest, 0.0))


def _masked_softmax(
    logits: tf.Tensor,
    mask: tf.Tensor,
    temperature: tf.Tensor | float,
    axes: tuple[int, ...] = (1, 2),
) -> tuple[tf.Tensor, tf.Tensor]:
    """Softmax of logits / temperature over the unmasked entries, and its logarithm.

    Finite for any logits; the shares are 0 where everything is masked.
    """
    gap = logits + _lowest(-logits, mask, axes)  # [B, O, K], at most 0
    powers = tf.where(mask, gap, 0.0) / temperature  # [B, O, K]
    exponentials = tf.where(mask, tf.exp(powers), 0.0)  # [B, O, K]
    total = tf.reduce_sum(exponentials, axis=axes, keepdims=True)
    total = tf.where(total > 0, total, 1.0)
    return exponentials / total, powers - tf.math.log(total)


def _one_minus_group_maximum(shares: tf.Tensor) -> tf.Tensor:
    """1 - max_k shares[b, o, k], as the sum of the other shares to avoid cancellation.

    Args:
      shares: [B, O, K], sums to 1 over O and K.

    Returns:
      [B, O], the same type.
    """
    num_objects, num_candidates = shares.shape[1], tf.shape(shares)[2]
    maximum = tf.argmax(shares, axis=-1)  # [B, O]
    is_maximum = tf.one_hot(maximum, num_candidates, dtype=shares.dtype)  # [B, O, K]
    own_rest = tf.reduce_sum(shares * (1.0 - is_maximum), axis=-1)  # [B, O]
    others = tf.reduce_sum(shares, axis=-1) @ (1.0 - tf.eye(num_objects, dtype=shares.dtype))
    return own_rest + others
