"""The learned retriever for many candidates: scores all by cache, loads and trains on a few."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.config import Config
from rgan_tf.retrieval.cache import EmbeddingCache
from rgan_tf.retrieval.embedding import PatchEmbedding
from rgan_tf.retrieval.gumbel import (
    GroupSelection,
    gumbel_group_select,
    selection_probabilities,
)
from rgan_tf.retrieval.learned import LearnedRetriever, signal_to_noise
from rgan_tf.retrieval.noise import noise_and_scores
from rgan_tf.retrieval.patches import chosen_rows, mix_patches
from rgan_tf.retrieval.retriever import Batch, Compared, Related, Retrieved
from rgan_tf.retrieval.selection import best_position
from rgan_tf.retrieval.shortlist import (
    is_in_slots,
    likely_slots,
    nearest_slots,
    positions_in_slots,
    take_slots,
)


class Shortlisted(NamedTuple):
    """A selection among many candidates, repeated with gradient on m candidates per object.

    Attributes:
      selection: over the m; `choice` is a position among the m.
      ids: [B, O, m] int32, rows in the bank, -1 for padding.
      slots: [B, O, m] int32, positions among the K.
      probabilities: [B, O, m] float32, of `selection_probabilities`; excludes locked objects.
    """

    selection: GroupSelection
    ids: tf.Tensor
    slots: tf.Tensor
    probabilities: tf.Tensor


class CachedRetriever(LearnedRetriever):
    """Scores all candidates by cached embeddings; loads and differentiates m per object.

    The whole selection runs on the cache without gradient. Then m candidates per object (the chosen
    one and those with the largest relaxed weights) are re-embedded, and the selection is repeated
    on them with gradient, with the same noise and first query. With a fresh cache the choice equals
    that of the exact retrieval.

    The gradient leaves out:
      * of the selection: the candidates outside the m, in the softmax of equation 2 and in the
        straight-through estimate. They have the smallest weights, but at a high temperature many
        small ones add up. With m = K nothing is left out.
      * of the selection loss: less. It needs no pixels, so the `exact_candidates` nearest to the
        query are re-embedded; the others count by their cached vectors in the normaliser and in the
        gradients of scale and query. Only the gradient through the cached vectors is missing.
      * of the co-occurrence loss in expectation: the candidates outside the m, because the
        probabilities are over the m.
      * age: a cached vector is up to `cache_max_age_steps` old, so a candidate that the current
        weights would choose can be missing from the m.
    In soft mode (`straight_through` false) the mixture itself is also limited to m candidates.
    `rgan bench retrieval --gradients` measures all three; docs/retrieval.md has the figures.

    Args:
      config: the experiment.
      embedding: φ.
      cache: its embeddings of the bank.
      reader: pixels and features of the bank.
    """

    monitors = ("retrieval/signal_to_noise", "retrieval/cache_age_steps")

    def __init__(
        self,
        config: Config,
        embedding: PatchEmbedding,
        cache: EmbeddingCache,
        reader: PatchReader,
    ):
        super().__init__(config, embedding)
        self.cache = cache
        self._reader = reader

    def bound_to(self, embedding: PatchEmbedding) -> LearnedRetriever:
        """See `Retriever`; the cache is of this φ only, so another one is used without it."""
        return self if embedding is self.embedding else LearnedRetriever(self.config, embedding)

    def state(self) -> dict[str, tf.Module]:
        """See `Retriever`."""
        return {"cache": self.cache}

    def start(self) -> None:
        """Embeds the whole bank if the cache is empty; a restored checkpoint has filled it."""
        if self.cache.is_empty():
            self.cache.fill(tf.function(self._embed_rows, reduce_retracing=True, autograph=False))

    def finish_step(self, step: tf.Tensor) -> None:
        """Re-embeds this step's rows with the current weights; in replica context."""
        self.cache.refresh(step, self._embed_rows)

    def retrieve(
        self,
        batch: Batch,
        object_mask: tf.Tensor,
        *,
        seeds: tf.Tensor | None,
        anchors: tf.Tensor,
        temperature: tf.Tensor,
        step: tf.Tensor,
    ) -> Retrieved:
        """See `Retriever`; the batch only needs the ids of the candidates."""
        del object_mask
        ids, valid = batch["candidate_ids"], batch["candidate_valid"]  # [B, O, K] each
        cached = self.cache.lookup(ids)  # [B, O, K, D]
        shortlisted = self.select(ids, valid, cached, seeds, temperature=temperature)
        weights = shortlisted.selection.weights  # [B, O, m]
        patches = self._reader.load(shortlisted.ids)
        age = tf.where(valid, self.cache.age(ids, step), 0)  # [B, O, K]
        compared = self.compare(batch, cached, anchors)
        query = tf.gather(compared.own, anchors, batch_dims=1)  # [B, D]
        return Retrieved(
            mix_patches(weights, patches.crops),
            chosen_rows(shortlisted.ids, shortlisted.selection.choice),
            compared,
            Related(weights, shortlisted.probabilities, patches.cooccurrence),
            {
                "retrieval/signal_to_noise": signal_to_noise(
                    cached, valid, query, self.embedding.scale
                ),
                "retrieval/cache_age_steps": tf.cast(tf.reduce_max(age), tf.float32),
            },
        )

    def select(
        self,
        ids: tf.Tensor,
        valid: tf.Tensor,
        cached: tf.Tensor,
        seeds: tf.Tensor | None,
        *,
        temperature: tf.Tensor | float,
        locked: tf.Tensor | None = None,
    ) -> Shortlisted:
        """The selection on all K by cache, repeated on m with gradient.

        Args:
          ids: [B, O, K] int32, rows in the bank; -1 where not valid.
          valid: [B, O, K] bool.
          cached: [B, O, K, D] float32, from the cache.
          seeds: [B, 2] int32; None for the deterministic selection.
          temperature: of the selection.
          locked: [B, O] int32, the position among the K to which an object is locked, -1 = free.
        """
        settings, scale = self.config.retrieval, self.embedding.scale
        gumbel, scores = noise_and_scores(valid, seeds)  # [B, O, K] twice
        first = best_position(valid, scores)[:, tf.newaxis]  # [B, 1]
        batch, width = tf.shape(ids)[0], cached.shape[-1]
        first_cached = tf.gather(tf.reshape(cached, [batch, -1, width]), first, batch_dims=1)
        first_ids = tf.gather(tf.reshape(ids, [batch, -1]), first, batch_dims=1)  # [B, 1]
        slots = likely_slots(
            cached,
            valid,
            first_cached[:, 0],
            gumbel,
            count=min(settings.loaded_candidates, ids.shape[2]),
            scale=scale,
            temperature=temperature,
            straight_through=settings.straight_through,
            locked=locked,
            gradient=settings.gradient,
        )  # [B, O, m]
        kept_ids, kept_valid = take_slots(ids, slots), take_slots(valid, slots)  # [B, O, m] each
        kept_ids = tf.where(kept_valid, kept_ids, -1)  # [B, O, m]
        embeddings = self._embed_rows(kept_ids)  # [B, O, m, D]
        query = self._embed_rows(first_ids)[:, 0]  # [B, D]
        selection = gumbel_group_select(
            embeddings,
            kept_valid,
            query,
            take_slots(gumbel, slots),
            scale=scale,
            temperature=temperature,
            straight_through=settings.straight_through,
            locked=None if locked is None else positions_in_slots(locked, slots),
            gradient=settings.gradient,
        )
        chances = selection_probabilities(embeddings, kept_valid, query, selection, scale=scale)
        return Shortlisted(selection, kept_ids, slots, chances)

    def compare(self, batch: Batch, cached: tf.Tensor, anchors: tf.Tensor) -> Compared:
        """Own patches against all K for the selection loss, some of them with gradient.

        Those nearest to the query get a gradient, not those of the selection: in the cross-entropy
        a candidate's gradient is its probability, without noise. They are more than m because
        these probabilities are flatter than those of the selection: on a trained run 8 of 128 gave
        a cosine of 0.93 to the full gradient.
        """
        ids, valid = batch["candidate_ids"], batch["candidate_valid"]  # [B, O, K] each
        own = self.embedding(batch["patch_features"])  # [B, O, D]
        query = tf.gather(own, anchors, batch_dims=1)  # [B, D]
        settings = self.config.retrieval
        count = min(max(settings.loaded_candidates, settings.exact_candidates), ids.shape[2])
        slots = nearest_slots(cached, valid, query, count)  # [B, O, n]
        near_valid = take_slots(valid, slots)  # [B, O, n]
        near_ids = tf.where(near_valid, take_slots(ids, slots), -1)  # [B, O, n]
        return Compared(
            own,
            self._embed_rows(near_ids),
            near_valid,
            self.embedding.scale,
            left_out=(cached, valid & ~is_in_slots(slots, ids.shape[2])),
        )

    def _embed_rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Embeds rows of the bank with the current weights: [...] int32 -> [..., D] float32."""
        return self.embedding(self._reader.features(ids))
