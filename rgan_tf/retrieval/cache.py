"""Embeddings of the whole bank, kept beside a network that goes on learning."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

Embed = Callable[[tf.Tensor], tf.Tensor]
"""Rows of the bank, [n] int32, to their embeddings by the current weights, [n, D] float."""


class EmbeddingCache(tf.Module):
    """The patch embedding of every row of the bank, at most `max_age_steps` old.

    Every step embeds the next `rows_per_step` rows again, round robin. Which ones is a function of
    the step alone, so that a continued run refreshes what it would have refreshed anyway, and every
    replica refreshes the same ones. The vectors are float32, so that a fresh cache decides as the
    network itself would.

    Args:
      rows: N, of the bank; at least 1.
      width: D of the embedding.
      max_age_steps: bound of the age, at least 1.

    Attributes:
      vectors: [N, D] float32 variable, not trained; belongs in the checkpoint.
      rows_per_step: how many rows a step embeds again, ceil(N / max_age_steps).

    Raises:
      ValueError: if an argument is below 1.
    """

    def __init__(self, *, rows: int, width: int, max_age_steps: int):
        super().__init__(name="embedding_cache")
        if min(rows, width, max_age_steps) < 1:
            raise ValueError(
                "rows, width and max_age_steps must be at least 1, got "
                f"{rows}, {width}, {max_age_steps}"
            )
        self.rows = rows
        self.rows_per_step = -(-rows // max_age_steps)
        self.vectors = tf.Variable(
            tf.zeros([rows, width]),
            trainable=False,
            name="embedding_cache",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def is_empty(self) -> bool:
        """Whether nothing was embedded yet: an embedding has length 1, and is never all zeros."""
        return not bool(tf.reduce_any(self.vectors != 0.0))

    def fill(self, embed: Embed, *, block: int = 4096) -> None:
        """Embeds the whole bank, outside of replicas."""
        blocks = [
            embed(tf.range(start, min(start + block, self.rows)))
            for start in range(0, self.rows, block)
        ]
        self.vectors.assign(tf.concat(blocks, axis=0))

    def lookup(self, ids: tf.Tensor) -> tf.Tensor:
        """Cached embeddings: [...] int32 rows (-1: any row) -> [..., D] float32, no gradient."""
        return tf.stop_gradient(tf.gather(self.vectors, tf.maximum(ids, 0)))

    def rows_of_step(self, step: tf.Tensor) -> tf.Tensor:
        """[rows_per_step] int32: what the given step embeds again, a function of the step alone."""
        start = tf.cast(step, tf.int64) * self.rows_per_step
        rows = (start + tf.range(self.rows_per_step, dtype=tf.int64)) % self.rows
        return tf.cast(rows, tf.int32)

    def refresh(self, step: tf.Tensor, embed: Embed) -> None:
        """Embeds this step's rows again; called in replica context, after the weights' update."""
        rows = self.rows_of_step(step)  # [n]
        vectors = tf.cast(embed(rows), tf.float32)  # [n, D]

        def write(variable, rows, vectors):
            variable.scatter_update(tf.IndexedSlices(vectors, rows))

        def merge(strategy, rows, vectors):
            strategy.extended.update(self.vectors, write, args=(rows, vectors))

        # Every replica has computed the same vectors; each writes its own to its own copy.
        tf.distribute.get_replica_context().merge_call(merge, args=(rows, vectors))

    def age(self, ids: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Updates of the weights since the given rows were embedded.

        Args:
          ids: [...] int, rows of the bank.
          step: integer scalar, the running step, before its own refresh.

        Returns:
          [...] int64, below `max_age_steps`.
        """
        step = tf.cast(step, tf.int64)
        # How far behind the most recently refreshed row each one lies.
        behind = (step * self.rows_per_step - 1 - tf.cast(ids, tf.int64)) % self.rows  # [...]
        return tf.minimum(behind // self.rows_per_step, step)
