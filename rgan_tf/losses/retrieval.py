"""The losses that train retrieval: ground-truth selection and co-occurrence (method §4)."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.retrieval.distance import (
    distances_to_queries,
    l2_distance,
    pairwise_distance,
    unit_distance,
)
from rgan_tf.retrieval.noise import stateless_uniform

SELECTION_FORMS = ONE_STEP, ITERATIVE, EVERY_OBJECT = "one_step", "iterative", "every_object"
"""Forms of `selection_loss`."""

_LOWEST = -1e9  # logit of an entry that must not be chosen


def draw_anchors(
    object_mask: tf.Tensor,
    seed: tf.Tensor,
    *,
    first_row: tf.Tensor | int = 0,
) -> tf.Tensor:
    """Draws one object per example, uniformly among the real ones.

    Args:
      object_mask: [B, O] bool.
      seed: [2] int32, as for `tf.random.stateless_uniform`.
      first_row: index of the first example in a larger batch, so that a part of a batch draws
        what the whole would.

    Returns:
      [B] int32; 0 for an example without objects.
    """
    rows, objects = tf.shape(object_mask)[0], object_mask.shape[1]
    uniform = stateless_uniform([first_row + rows, objects], seed)[first_row:]  # [B, O]
    return tf.argmax(tf.where(object_mask, uniform, -1.0), axis=-1, output_type=tf.int32)  # [B]


def sharing_pixels(boxes: tf.Tensor) -> tf.Tensor:
    """Which objects of a scene show the same pixels because their boxes overlap.

    An own patch that overlaps the query's is recognised by the shared pixels, a cue that candidates
    from other images never offer, so the selection loss leaves such pairs out.

    Args:
      boxes: [B, O, 4] float [y0, x0, y1, x1]; all zeros for padding.

    Returns:
      [B, O, O] bool, symmetric; False where boxes only touch, and for padding.
    """
    top_left = tf.maximum(boxes[:, :, tf.newaxis, :2], boxes[:, tf.newaxis, :, :2])  # [B, O, O, 2]
    bottom_right = tf.minimum(boxes[:, :, tf.newaxis, 2:], boxes[:, tf.newaxis, :, 2:])
    return tf.reduce_all(bottom_right > top_left, axis=-1)  # [B, O, O]


def selection_loss(
    ground_truth: tf.Tensor,
    candidates: tf.Tensor,
    valid: tf.Tensor,
    object_mask: tf.Tensor,
    anchors: tf.Tensor,
    *,
    scale: tf.Tensor | float,
    form: str = "one_step",
    teacher_forcing: bool = True,
    left_out: tuple[tf.Tensor, tf.Tensor] | None = None,
    sharing: tf.Tensor | None = None,
) -> tf.Tensor:
    """Ground-truth selection loss: given one true patch, the other true patches should win.

    Each object's group is its true patch and its candidates. The loss is the mean, over the objects
    that count, of the cross-entropy of the true patch within its group, scored by the scaled
    distance to the query. `one_step`: the query is always the anchor's true patch. `iterative`:
    objects are visited in the order of Algorithm 1 without noise, and the query is the mean of the
    earlier selections (of the true patches, with `teacher_forcing`). `every_object`: each object is
    the anchor once, and the loss is the mean over all ordered pairs that count. If all do, that is
    the expectation of `one_step` over its anchor, without the noise of drawing it.

    The paper gives the loss in words only; all forms have the same optimum.

    Args:
      ground_truth: [B, O, D] float, embeddings of the objects' own patches.
      candidates: [B, O, K, D] float, embeddings of the candidates (without the true patch).
      valid: [B, O, K] bool.
      object_mask: [B, O] bool; O must be static.
      anchors: [B] int32, from `draw_anchors`; `every_object` ignores them.
      scale: scalar above 0, multiplies the distances.
      form: one of `SELECTION_FORMS`; for "every_object" embeddings have length 1.
      teacher_forcing: only for "iterative".
      left_out: further candidates, [B, O, K', D] of length 1 and [B, O, K'] bool, which count in
        the cross-entropy but get no gradient themselves. In the iterative form they affect neither
        the order nor, without teacher forcing, the query.

    Returns:
      [B] float32, per example; 0 for an example with fewer than two objects.

    Raises:
      ValueError: if `form` is unknown.
    """
    if form not in SELECTION_FORMS:
        raise ValueError(f"form must be one of {', '.join(SELECTION_FORMS)}, got {form!r}")
    ground_truth = tf.cast(ground_truth, tf.float32)  # [B, O, D]
    candidates = tf.cast(candidates, tf.float32)  # [B, O, K, D]
    scale = tf.cast(scale, tf.float32)
    features = tf.concat([ground_truth[:, :, tf.newaxis], candidates], axis=2)  # [B, O, 1+K, D]
    is_entry = tf.concat(
        [object_mask[:, :, tf.newaxis], valid & object_mask[:, :, tf.newaxis]], axis=2
    )  # [B, O, 1+K]
    anchor_feature = tf.gather(ground_truth, anchors, batch_dims=1)  # [B, D]
    num_objects = object_mask.shape[1]
    is_anchor = tf.one_hot(anchors, num_objects, True, False, dtype=tf.bool)  # [B, O]
    is_other = object_mask & ~is_anchor  # [B, O]
    if sharing is None:
        sharing = tf.zeros([1, num_objects, num_objects], tf.bool)  # [1, O, O]
    sharing = tf.broadcast_to(sharing, [tf.shape(anchors)[0], num_objects, num_objects])
    if form == EVERY_OBJECT:
        apart = ~(sharing | tf.eye(num_objects, dtype=tf.bool))  # [B, O, O]
        pairs = object_mask[:, :, tf.newaxis] & object_mask[:, tf.newaxis] & apart  # [B, O, O]
        return _mean_of_pairs(ground_truth, features, is_entry, pairs, scale, left_out)
    if form == ONE_STEP:
        logits = _logits(features, is_entry, anchor_feature, scale)  # [B, O, 1+K]
        losses = _cross_entropy(logits, _others(left_out, anchor_feature, scale))  # [B, O]
        counted = tf.cast(is_other & ~_sharing_with(sharing, is_anchor), tf.float32)  # [B, O]
    else:
        losses, counted = _iterative_losses(
            features,
            is_entry,
            anchor_feature,
            is_anchor,
            is_other,
            sharing,
            scale,
            teacher_forcing,
            left_out,
        )  # [B, O] twice
    number = tf.reduce_sum(counted, axis=-1)  # [B]
    return tf.reduce_sum(losses * counted, axis=-1) / tf.maximum(number, 1.0)  # [B]


def cooccurrence_loss(
    weights: tf.Tensor, candidate_cooccurrence: tf.Tensor, object_mask: tf.Tensor
) -> tf.Tensor:
    """Mean distance between the selected patches in the co-occurrence space (equation 5).

    Differs from the paper: divided by the number of pairs, so that it does not depend on the number
    of objects. Since the embedding is frozen, it is mixed with the selection weights, which is
    exact for one-hot weights and passes the gradient on to them.

    Args:
      weights: [B, O, K] float, from the group selection.
      candidate_cooccurrence: [B, O, K, Dc] float, frozen embeddings of the candidates.
      object_mask: [B, O] bool. Objects without any weight (no candidates) are left out too.

    Returns:
      [B] float32, per example; 0 without a pair.
    """
    weights = tf.cast(weights, tf.float32)  # [B, O, K]
    embeddings = tf.stop_gradient(tf.cast(candidate_cooccurrence, tf.float32))  # [B, O, K, Dc]
    selected = tf.einsum("bok,bokd->bod", weights, embeddings)  # [B, O, Dc]
    present = tf.cast(object_mask & (tf.reduce_sum(weights, axis=-1) > 0), tf.float32)  # [B, O]
    pairs = present[:, :, tf.newaxis] * present[:, tf.newaxis]  # [B, O, O]
    pairs *= 1.0 - tf.eye(tf.shape(weights)[1])  # [B, O, O]
    number = tf.reduce_sum(pairs, axis=[1, 2])  # [B]
    total = tf.reduce_sum(pairwise_distance(selected) * pairs, axis=[1, 2])  # [B]
    return total / tf.maximum(number, 1.0)  # [B]


def expected_cooccurrence_loss(
    probabilities: tf.Tensor, candidate_cooccurrence: tf.Tensor, object_mask: tf.Tensor
) -> tf.Tensor:
    """The expectation of equation 5: the mean of `cooccurrence_loss` without its noise.

    For every pair of objects i, j the distance is averaged over all pairs of candidates k, l with
    their probabilities: sum_kl p_ik p_jl |c_ik - c_jl|. Candidates of different objects are taken
    as independent, given the queries of the probabilities.

    Args:
      probabilities: [B, O, K] float, from `selection_probabilities`; sum to 1 per object, or are
        all 0 for an object without candidates.
      candidate_cooccurrence: [B, O, K, Dc] float, frozen embeddings of the candidates, of length 1.
      object_mask: [B, O] bool.

    Returns:
      [B] float32, per example; 0 without a pair.
    """
    probabilities = tf.cast(probabilities, tf.float32)  # [B, O, K]
    embeddings = tf.stop_gradient(tf.cast(candidate_cooccurrence, tf.float32))  # [B, O, K, Dc]
    batch, objects, candidates = (tf.shape(probabilities)[axis] for axis in range(3))
    flat = tf.reshape(embeddings, [batch, objects * candidates, embeddings.shape[-1]])
    squares = 2.0 - 2.0 * tf.matmul(flat, flat, transpose_b=True)  # [B, O*K, O*K]
    distances = tf.sqrt(tf.maximum(squares, 0.0))  # [B, O*K, O*K]
    # Each object's candidates against all others', then the mean over the others.
    weights = tf.reshape(probabilities, [batch, objects * candidates, 1])  # [B, O*K, 1]
    of_object = tf.eye(objects)[:, tf.newaxis] * probabilities[..., tf.newaxis]  # [B, O, K, O]
    of_object = tf.reshape(of_object, [batch, objects * candidates, objects])  # [B, O*K, O]
    between = tf.matmul(distances, of_object)  # [B, O*K, O]
    between = tf.reshape(weights * between, [batch, objects, candidates, objects])
    means = tf.reduce_sum(between, axis=2)  # [B, O, O]
    present = tf.cast(object_mask & (tf.reduce_sum(probabilities, axis=-1) > 0), tf.float32)
    pairs = present[:, :, tf.newaxis] * present[:, tf.newaxis] * (1.0 - tf.eye(objects))
    number = tf.reduce_sum(pairs, axis=[1, 2])  # [B]
    return tf.reduce_sum(means * pairs, axis=[1, 2]) / tf.maximum(number, 1.0)  # [B]


def _logits(features, is_entry, query, scale):
    distance = l2_distance(features, query[:, tf.newaxis, tf.newaxis])  # [B, O, 1+K]
    return tf.where(is_entry, -scale * distance, _LOWEST)  # [B, O, 1+K]


def _mean_of_pairs(queries, features, is_entry, pairs, scale, left_out):
    """Mean cross-entropy over pairs [B, O, O] bool of a query [B, O, D] and a group: [B]."""
    distances = distances_to_queries(features, queries)  # [B, O, O, 1+K]
    logits = tf.where(is_entry[:, tf.newaxis], -scale * distances, _LOWEST)  # [B, O, O, 1+K]
    others = None
    if left_out is not None:
        embeddings, is_left_out = left_out  # [B, O, K', D], [B, O, K']
        others = -scale * distances_to_queries(tf.stop_gradient(embeddings), queries)
        others = tf.where(is_left_out[:, tf.newaxis], others, _LOWEST)  # [B, O, O, K']
    counted = tf.cast(pairs, tf.float32)  # [B, O, O]
    total = tf.reduce_sum(_cross_entropy(logits, others) * counted, axis=[1, 2])  # [B]
    return total / tf.maximum(tf.reduce_sum(counted, axis=[1, 2]), 1.0)  # [B]


def _others(left_out, query, scale):
    """Logits of the candidates that are left out for a query [B, D]: [B, O, K'], or None."""
    if left_out is None:
        return None
    embeddings, is_left_out = left_out  # [B, O, K', D], [B, O, K']
    others = -scale * unit_distance(tf.stop_gradient(embeddings), query)  # [B, O, K']
    return tf.where(is_left_out, others, _LOWEST)  # [B, O, K']


def _cross_entropy(logits, others):
    """Cross-entropy [...] of the first entry of [..., 1+K] among all and `others` [..., K']."""
    if others is not None:
        together = tf.reduce_logsumexp(others, axis=-1, keepdims=True)  # [..., 1]
        logits = tf.concat([logits, together], axis=-1)  # [..., 1+K+1]
    return -tf.nn.log_softmax(logits)[..., 0]  # [...]


def _sharing_with(sharing, members):
    """[B, O] bool: objects that share pixels with one of the members [B, O] bool."""
    return tf.reduce_any(sharing & members[:, tf.newaxis], axis=-1)


def _iterative_losses(
    features, is_entry, query, is_anchor, is_other, sharing, scale, teacher_forcing, left_out
):
    """Cross-entropy of each object at its step, and which of them count.

    Both [B, O] float32, 0 for objects that are never visited.
    """
    num_objects, group_size = features.shape[1], tf.shape(features)[2]
    is_open, members = is_other, is_anchor  # [B, O] each
    selected_sum, count = query, tf.ones(tf.shape(query)[:1])  # [B, D], [B]
    losses = counted = tf.zeros(tf.shape(is_other))  # [B, O]
    for _ in range(num_objects - 1):
        mean = selected_sum / count[:, tf.newaxis]  # [B, D]
        logits = _logits(features, is_entry, mean, scale)  # [B, O, 1+K]
        best = tf.where(is_open, tf.reduce_max(logits, axis=-1), 2 * _LOWEST)  # [B, O]
        visited = tf.one_hot(tf.argmax(best, axis=-1), num_objects)  # [B, O]
        visited *= tf.cast(is_open, tf.float32)  # [B, O]; nothing once all are visited
        losses += _cross_entropy(logits, _others(left_out, mean, scale)) * visited  # [B, O]
        counted += visited * tf.cast(~_sharing_with(sharing, members), tf.float32)  # [B, O]
        if teacher_forcing:
            patches = features[:, :, 0]  # [B, O, D]
        else:
            winners = tf.one_hot(tf.argmax(logits, axis=-1), group_size)  # [B, O, 1+K]
            patches = tf.einsum("bok,bokd->bod", winners, features)  # [B, O, D]
        selected_sum += tf.einsum("bo,bod->bd", visited, patches)  # [B, D]
        count += tf.reduce_sum(visited, axis=-1)  # [B]
        is_open &= visited == 0  # [B, O]
        members |= visited > 0  # [B, O]
    return losses, counted
