"""Retrieval of one patch per object, as a layer: noise, seed patch and group selection."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rgan_tf.retrieval.gumbel import WITHIN_GROUP, GroupSelection
from rgan_tf.retrieval.selection import Candidates, Options, choose_by_group


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class GroupRetrieval(tf.keras.layers.Layer):
    """Selects one compatible patch per object from its candidates (RetrieveGAN Algorithm 1).

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
        # Keras builds a model that it loads by calling it with floats in place of every input.
        integers = [None if x is None else tf.cast(x, tf.int32) for x in (seeds, locked, ids)]
        seeds, locked, ids = integers
        candidates = Candidates(
            ids,
            tf.cast(valid, tf.bool),
            distances,
            embeddings=tf.cast(candidate_embeddings, tf.float32),
        )
        return choose_by_group(
            candidates,
            Options(seeds=seeds, locked=locked, repeats=ids is None),
            scale=scale,
            temperature=temperature,
            straight_through=self.straight_through,
            gradient=self.gradient,
        )

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        own = {"straight_through": self.straight_through, "gradient": self.gradient}
        return {**super().get_config(), **own}
