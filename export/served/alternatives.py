"""What a user may take in place of a patch: by the others of a scene, and by likeness.

Both compare patches by the vectors that the retriever embeds them as. A retriever that knows
nothing of a patch embeds it as a vector of no width; then there is nothing to compare, and the
answers say so instead of giving equal distances to all.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from export.signatures import NO_PATCH, NO_SCORE
from rgan_tf.retrieval.bank_variables import ServedBank
from rgan_tf.retrieval.distance import l2_distance
from rgan_tf.vocabulary import IMAGE


def group_distances(
    embeddings: tf.Tensor, valid: tf.Tensor, given: tf.Tensor, is_given: tf.Tensor
) -> tf.Tensor:
    """Distances of candidates from the mean of the patches that the other objects have.

    That mean is the query of the selection step (`rgan_tf.retrieval.gumbel`).

    Args:
      embeddings: [O, K, D] float32, of the candidates.
      valid: [O, K] bool.
      given: [O, D] float32, of the patch that each object has; anything where it has none.
      is_given: [O] bool, whether it has one.

    Returns:
      [O, K] float32; `NO_SCORE` where no other object has a patch, where not valid, and if D is 0.
    """
    objects, width = given.shape
    if not width:
        return tf.fill(tf.shape(valid), NO_SCORE)
    is_other = is_given & ~tf.eye(objects, dtype=tf.bool)  # [O, O]
    others = tf.cast(is_other, tf.float32)  # [O, O]
    given = tf.where(is_given[:, tf.newaxis], given, 0.0)  # [O, D]
    count = tf.reduce_sum(others, axis=1, keepdims=True)  # [O, 1]
    mean = tf.matmul(others, given) / tf.maximum(count, 1.0)  # [O, D]
    distances = l2_distance(embeddings, mean[:, tf.newaxis])  # [O, K]
    return tf.where(valid & (count > 0.0), distances, NO_SCORE)


def neighbours_of(
    bank: ServedBank, patch_id: tf.Tensor, licences_refused: tf.Tensor, k: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The patches most like one, first those of its category.

    Args:
      bank: the patches; those of reserved categories are never found.
      patch_id: [] int32, row of the bank; itself never found, and under any licence.
      licences_refused: [L] bool; patches under such a licence are never found.
      k: how many.

    Returns:
      Rows of the bank [k] int32, `NO_PATCH` at the end if there are fewer, and distances [k]
      float32, `NO_SCORE` there. Equal distances go to the lower row. None if embeddings have no
      width.
    """
    rows, width = bank.embeddings.shape
    if not width:
        return tf.fill([k], NO_PATCH), tf.fill([k], NO_SCORE)
    own = tf.gather(bank.embeddings, patch_id)  # [D]
    nearness = -l2_distance(bank.embeddings, own)  # [N]
    allowed = (tf.range(rows) != patch_id) & (bank.category_ids > IMAGE)  # [N]
    allowed &= ~tf.gather(licences_refused, bank.licence_ids)  # [N]
    is_same = bank.category_ids == tf.gather(bank.category_ids, patch_id)  # [N]

    wanted = min(k, rows)
    parts = [
        tf.math.top_k(tf.where(allowed & part, nearness, -np.inf), wanted)  # ties: the lower row
        for part in (is_same, ~is_same)
    ]
    top = tf.concat([part.values for part in parts], axis=0)  # [2 * wanted]
    ids = tf.concat([part.indices for part in parts], axis=0)  # [2 * wanted]
    is_found = top > -np.inf  # [2 * wanted]
    first = tf.argsort(tf.cast(~is_found, tf.int32), stable=True)[:k]  # [at most k]
    is_found = tf.gather(is_found, first)  # [at most k]
    ids = tf.where(is_found, tf.gather(ids, first), NO_PATCH)  # [at most k]
    distances = tf.where(is_found, -tf.gather(top, first), NO_SCORE)  # [at most k]
    missing = [[0, k - min(k, 2 * wanted)]]
    return (
        tf.pad(ids, missing, constant_values=NO_PATCH),
        tf.pad(distances, missing, constant_values=NO_SCORE),
    )
