"""Objects that the scene graph does not distinguish, and a canonical order for their boxes.

Two objects are interchangeable if they have one category and the same relations: equal multisets
of (role, predicate, other object), including the empty one. Swapping them then maps the graph to
itself, so every encoder that ignores the order of the list gives them one vector. Objects without
any relation (isolated look-alikes) are the most frequent case.

Only swaps of two objects are found. In two separate pairs "man riding horse" the men are alike
too, but only together with their horses; such objects count as distinguishable here.
"""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.vocabulary import PADDING


def interchangeable(objects: tf.Tensor, triples: tf.Tensor) -> tf.Tensor:
    """Which objects of a graph are interchangeable: an equivalence relation.

    Args:
      objects: [B, O] int32 category ids, 0 = padding; O is static.
      triples: [B, T, 3] int32 rows (subject, predicate, object) without the image, -1 = padding.
        A triple that touches a padded object counts as padding, as in the encoder.

    Returns:
      [B, O, O] bool; every object, even padding, is interchangeable with itself.
    """
    objects = tf.cast(objects, tf.int32)  # [B, O]
    triples = tf.cast(triples, tf.int32)  # [B, T, 3]
    owners, keys, valid = _relation_ends(objects, triples)  # [B, E], [B, E, 3], [B, E]
    positions = tf.range(objects.shape[1])  # [O]
    owned = (owners[:, tf.newaxis] == positions[:, tf.newaxis]) & valid[:, tf.newaxis]  # [B, O, E]
    equal_keys = tf.reduce_all(keys[:, :, tf.newaxis] == keys[:, tf.newaxis], axis=-1)  # [B, E, E]
    # How often an object has the key of each end: small integers, exact in float32.
    counts = tf.cast(owned, tf.float32) @ tf.cast(equal_keys, tf.float32)  # [B, O, E]
    # Every key of either object belongs to some end, so equal counts mean equal multisets.
    relations = tf.reduce_all(
        (counts[:, :, tf.newaxis] == counts[:, tf.newaxis]) | ~valid[:, tf.newaxis, tf.newaxis],
        axis=-1,
    )  # [B, O, O]
    categories = objects[:, :, tf.newaxis] == objects[:, tf.newaxis]  # [B, O, O]
    present = (objects != PADDING)[:, :, tf.newaxis]  # [B, O, 1]
    itself = tf.eye(objects.shape[1], dtype=tf.bool)  # [O, O]
    return (relations & categories & present) | itself  # [B, O, O]


def instances(objects: tf.Tensor, triples: tf.Tensor) -> tf.Tensor:
    """Ranks and counts in one tensor, for `BoxPredictor`.

    Args:
      objects, triples: see `interchangeable`.

    Returns:
      [B, O, 2] int32 (rank, count).
    """
    groups = interchangeable(objects, triples)  # [B, O, O]
    return tf.stack([_ranks(groups), _counts(groups)], axis=-1)  # [B, O, 2]


def match_interchangeable(boxes: tf.Tensor, objects: tf.Tensor, triples: tf.Tensor) -> tf.Tensor:
    """Permutes boxes within every group so that the object of rank r has the r-th from the left.

    "From the left" is by x of the centre, then y of the centre, then the coordinates, so the result
    does not depend on the annotation order of look-alikes. Relations hold for the permuted boxes as
    often as before, since the group's relations are the same.

    Args:
      boxes: [B, O, 4] float32 [y0, x0, y1, x1].
      objects, triples: see `interchangeable`.

    Returns:
      [B, O, 4] float32; objects alone in their group and padded ones keep their boxes.
    """
    groups = interchangeable(objects, triples)  # [B, O, O]
    earlier = tf.cast(_before(boxes), tf.int32)  # [B, O, O]
    places = tf.reduce_sum(earlier * tf.cast(groups, tf.int32), axis=1)  # [B, O]
    wanted = groups & (places[:, tf.newaxis] == _ranks(groups)[:, :, tf.newaxis])  # [B, O, O]
    sources = tf.argmax(tf.cast(wanted, tf.int32), axis=-1, output_type=tf.int32)  # [B, O]
    return tf.gather(boxes, sources, batch_dims=1)  # [B, O, 4]


def _relation_ends(
    objects: tf.Tensor, triples: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Both ends of every triple, E = 2T: owner, key (role, predicate, other object), validity.

    Returns:
      owners [B, E] int32, keys [B, E, 3] int32, valid [B, E] bool.
    """
    subjects, predicates, targets = tf.unstack(triples, axis=-1)  # [B, T] each
    valid = tf.reduce_all(triples >= 0, axis=-1)  # [B, T]
    present = objects != PADDING  # [B, O]
    for ends in (subjects, targets):
        valid &= tf.gather(present, tf.where(valid, ends, 0), batch_dims=1)  # [B, T]
    owners = tf.concat([subjects, targets], axis=1)  # [B, E]
    keys = tf.concat(
        [
            tf.stack([tf.zeros_like(predicates), predicates, targets], axis=-1),
            tf.stack([tf.ones_like(predicates), predicates, subjects], axis=-1),
        ],
        axis=1,
    )  # [B, E, 3]
    return owners, keys, tf.concat([valid, valid], axis=1)


def _ranks(groups: tf.Tensor) -> tf.Tensor:
    """How many members of its group precede each object: [B, O, O] -> [B, O] int32."""
    positions = tf.range(groups.shape[1])  # [O]
    earlier = positions[:, tf.newaxis] > positions  # [O, O], column before row
    return tf.reduce_sum(tf.cast(groups & earlier, tf.int32), axis=-1)  # [B, O]


def _counts(groups: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(groups, tf.int32), axis=-1)  # [B, O]


def _before(boxes: tf.Tensor) -> tf.Tensor:
    """Whether box i comes before box j: [B, O, 4] -> [B, O, O] bool (row i, column j).

    A strict total order: position breaks ties between equal boxes.
    """
    centres = boxes[..., :2] + boxes[..., 2:]  # [B, O, 2], doubled
    positions = tf.broadcast_to(
        tf.cast(tf.range(boxes.shape[1]), boxes.dtype), tf.shape(boxes)[:2]
    )  # [B, O]
    keys = [centres[..., 1], centres[..., 0], *tf.unstack(boxes, axis=-1), positions]
    before = tf.zeros([boxes.shape[1]] * 2, tf.bool)  # [O, O]
    for key in reversed(keys):  # lowest priority first
        row, column = key[:, :, tf.newaxis], key[:, tf.newaxis]  # [B, O, 1], [B, 1, O]
        before = (row < column) | ((row == column) & before)  # [B, O, O]
    return before
