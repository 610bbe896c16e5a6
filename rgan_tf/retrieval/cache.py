"""Embeddings of the whole bank, cached while the network that makes them is trained."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

Embed = Callable[[tf.Tensor], tf.Tensor]
"""Embeds rows of the bank, [n] int32, with the current weights: [n, D] float."""


class EmbeddingCache(tf.Module):
    """The patch embedding of every row of the bank, at most `max_age_steps` old.

    Each step re-embeds the next `rows_per_step` rows, round robin. Which rows is a function of the
    step alone, so a resumed run refreshes the same rows. Each of n replicas embeds 1/n of them and
    sends its vectors to the others. The vectors are float32, so a fresh cache leads to the same
    decisions as the network itself.

    Args:
      rows: N, rows of the bank; at least 1.
      width: D of the embedding.
      max_age_steps: maximum age, at least 1.

    Attributes:
      vectors: [N, D] float32 variable, not trained; saved in the checkpoint.
      rows_per_step: rows re-embedded per step, ceil(N / max_age_steps).

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
        """Whether nothing was embedded yet: an embedding has length 1, so is never all zeros."""
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
        """[rows_per_step] int32: the rows that the given step re-embeds."""
        start = tf.cast(step, tf.int64) * self.rows_per_step
        rows = (start + tf.range(self.rows_per_step, dtype=tf.int64)) % self.rows
        return tf.cast(rows, tf.int32)

    def refresh(self, step: tf.Tensor, embed: Embed) -> None:
        """Re-embeds this step's rows; call it in replica context, after the weight update."""
        context = tf.distribute.get_replica_context()
        rows = self.rows_of_step(step)  # [n]
        replicas = context.num_replicas_in_sync
        if replicas == 1:
            vectors = tf.cast(embed(rows), tf.float32)  # [n, D]
        else:
            share = -(-self.rows_per_step // replicas)
            places = context.replica_id_in_sync_group * share + tf.range(share)  # [share]
            # The last replicas repeat the last row where n is not a multiple of their number.
            own = tf.gather(rows, tf.minimum(places, self.rows_per_step - 1))  # [share]
            parts = context.all_gather(tf.cast(embed(own), tf.float32), axis=0)
            vectors = parts[: self.rows_per_step]  # [n, D], in the order of the replicas

        def write(variable, rows, vectors):
            variable.scatter_update(tf.IndexedSlices(vectors, rows))

        def merge(strategy, rows, vectors):
            strategy.extended.update(self.vectors, write, args=(rows, vectors))

        # All replicas have the same vectors; each writes to its own copy.
        context.merge_call(merge, args=(rows, vectors))

    def age(self, ids: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Weight updates since the given rows were embedded.

        Args:
          ids: [...] int, rows of the bank.
          step: integer scalar, the current step, before its own refresh.

        Returns:
          [...] int64, below `max_age_steps`.
        """
        step = tf.cast(step, tf.int64)
        # How far each row lies behind the most recently refreshed one.
        behind = (step * self.rows_per_step - 1 - tf.cast(ids, tf.int64)) % self.rows  # [...]
        return tf.minimum(behind // self.rows_per_step, step)
