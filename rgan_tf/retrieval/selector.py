"""Retrieval of one patch per object, as a layer: noise, seed patch and group selection."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rgan_tf.retrieval.gumbel import WITHIN_GROUP, GroupSelection, gumbel_group_select
from rgan_tf.retrieval.noise import draw_noise


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class GroupRetrieval(tf.keras.layers.Layer):
    """Selects one compatible patch per object from its candidates (Algorithm 1, method §3.4).

    With seeds the first query is a candidate drawn uniformly and the scores carry Gumbel noise;
    without, the selection is deterministic and starts from the best candidate of the pre-filter.
    Every row draws from its own seed, so that a row's result never depends on its neighbours.

    Args:
      straight_through: exactly one-hot weights with the soft gradient, or soft weights.
      gradient: of the one-hot weights: "within_group", "expected" or "paper", see
        `gumbel_group_select`.

    Call args:
      candidate_embeddings: [B, O, K, D] float.
      valid: [B, O, K] bool, False = padding.
      seeds: [B, 2] int32, or None for the deterministic selection.
      scale: scalar above 0, multiplies the distances.
      temperature: scalar above 0.
      locked: [B, O] int32, the candidate fixed for an object, -1 = free; or None.
      distances: [B, O, K] float, pre-filter distances; used by the deterministic selection to find
        its first query. Without them it is the first valid candidate of the first object that has
        one, since candidates come best first.
      ids: [B, O, K] int32, rows of the bank, to keep patches from repeating within a scene; or
        None, which lets them.

    Returns:
      `GroupSelection`, always float32.
    """

    def __init__(
        self, *, straight_through: bool = True, gradient: str = WITHIN_GROUP, **kwargs: Any
    ) -> None:
        kwargs.setdefault("autocast", False)  # half precision would decide between near ties
        super().__init__(**kwargs)
        self.straight_through = straight_through
        self.gradient = gradient

    def call(
        self,
        candidate_embeddings: tf.Tensor,
        valid: tf.Tensor,
        seeds: tf.Tensor | None = None,
        *,
        scale: tf.Tensor | float = 1.0,
        temperature: tf.Tensor | float = 1.0,
        locked: tf.Tensor | None = None,
        distances: tf.Tensor | None = None,
        ids: tf.Tensor | None = None,
    ) -> GroupSelection:
        """Runs the selection; see the class for arguments and result."""
        embeddings = tf.cast(candidate_embeddings, tf.float32)  # [B, O, K, D]
        gumbel, scores = noise_and_scores(valid, seeds, distances)  # [B, O, K] twice
        query = best_candidate(embeddings, valid, scores)  # [B, D]
        return gumbel_group_select(
            embeddings,
            valid,
            query,
            gumbel,
            scale=scale,
            temperature=temperature,
            straight_through=self.straight_through,
            locked=locked,
            gradient=self.gradient,
            ids=ids,
        )

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        own = {"straight_through": self.straight_through, "gradient": self.gradient}
        return {**super().get_config(), **own}


def noise_and_scores(
    valid: tf.Tensor, seeds: tf.Tensor | None, distances: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The noise of a selection, and what decides on its first query.

    Args:
      valid: [B, O, K] bool.
      seeds: [B, 2] int32, or None for the deterministic selection.
      distances: [B, O, K] float, pre-filter distances, for the deterministic selection.

    Returns:
      Gumbel noise (zeros without seeds) and the scores of the first query, the highest of which
      wins; both [B, O, K] float32.
    """
    if seeds is not None:
        return draw_noise(seeds, tf.shape(valid)[1:])
    zeros = tf.zeros(tf.shape(valid))  # [B, O, K]
    return zeros, zeros if distances is None else tf.cast(-distances, tf.float32)


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


def chosen_rows(ids: tf.Tensor, choice: tf.Tensor) -> tf.Tensor:
    """Rows of the bank that were chosen.

    Args:
      ids: [B, O, K] int32, rows of the candidates.
      choice: [B, O] int32, position among the K, -1 = none.

    Returns:
      [B, O] int32, -1 = none.
    """
    chosen = tf.gather(ids, tf.maximum(choice, 0), batch_dims=2)  # [B, O]
    return tf.where(choice >= 0, chosen, -1)


def mix_patches(weights: tf.Tensor, crops: tf.Tensor) -> tf.Tensor:
    """The selected patch of each object: crops mixed by the selection weights (method §3.5).

    One-hot weights give exactly one crop; the gradient to each weight is the inner product of the
    incoming gradient with that crop.

    Args:
      weights: [B, O, K] float.
      crops: [B, O, K, h, w, 3], uint8 or float in [-1, 1].

    Returns:
      [B, O, h, w, 3] float32 in [-1, 1]; 0 (mid grey) for objects without weight.
    """
    weights = tf.cast(weights, tf.float32)  # [B, O, K]
    mixed = tf.einsum("bok,bokhwc->bohwc", weights, tf.cast(crops, tf.float32))  # [B, O, h, w, 3]
    if crops.dtype == tf.uint8:
        # Scaled after mixing: K times less arithmetic than scaling every candidate.
        total = tf.reduce_sum(weights, axis=-1)[:, :, tf.newaxis, tf.newaxis, tf.newaxis]
        mixed = mixed / 127.5 - total  # [B, O, h, w, 3]
    return mixed
