"""Retrieval within the joint training step: among few candidates exactly, among many by cache."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.config import Config
from rgan_tf.retrieval.cache import EmbeddingCache
from rgan_tf.retrieval.distance import unit_distance
from rgan_tf.retrieval.embedding import PatchEmbedding
from rgan_tf.retrieval.gumbel import (
    GroupSelection,
    gumbel_group_select,
    selection_probabilities,
)
from rgan_tf.retrieval.selector import (
    best_candidate,
    best_position,
    chosen_rows,
    mix_patches,
    noise_and_scores,
)
from rgan_tf.retrieval.shortlist import (
    is_in_slots,
    likely_slots,
    nearest_slots,
    positions_in_slots,
    take_slots,
)

_NOISE_DEVIATION = 1.2825498  # of Gumbel(0, 1): pi / sqrt 6


class Compared(NamedTuple):
    """What the ground-truth selection loss compares.

    Attributes:
      own: [B, O, D] float32, embeddings of the objects' own patches.
      candidates: [B, O, n, D] float32, with gradient.
      valid: [B, O, n] bool.
      scale: scalar above 0, multiplies the distances.
      left_out: further candidates, [B, O, K, D] and [B, O, K] bool, that count without gradient of
        their own; None where there are none.
    """

    own: tf.Tensor
    candidates: tf.Tensor
    valid: tf.Tensor
    scale: tf.Tensor
    left_out: tuple[tf.Tensor, tf.Tensor] | None = None


class Related(NamedTuple):
    """What the co-occurrence loss sums over.

    Attributes:
      weights: [B, O, m] float32, of the selection.
      probabilities: [B, O, m] float32, with which each candidate would have been chosen.
      vectors: [B, O, m, Dc] float32, the candidates in the co-occurrence space.
    """

    weights: tf.Tensor
    probabilities: tf.Tensor
    vectors: tf.Tensor


class Retrieved(NamedTuple):
    """What retrieval contributes to one step.

    Attributes:
      crops: [B, O, h, w, 3] float32 in [-1, 1], the selected patches.
      choice_ids: [B, O] int32, their rows in the bank, -1 where there is none.
      compared: for the selection loss; None where nothing is learned from it.
      related: for the co-occurrence loss; None where nothing is learned from it.
      monitors: name -> scalar float32.
    """

    crops: tf.Tensor
    choice_ids: tf.Tensor
    compared: Compared | None
    related: Related | None
    monitors: dict[str, tf.Tensor]


class ExactRetrieval:
    """Embeds, loads and differentiates every candidate of the batch.

    Args:
      config: the experiment.
      embedding: φ.
    """

    monitors = ("retrieval/signal_to_noise",)

    def __init__(self, config: Config, embedding: PatchEmbedding):
        self._config = config
        self._embedding = embedding

    def __call__(
        self,
        batch: dict[str, tf.Tensor],
        object_mask: tf.Tensor,
        *,
        seeds: tf.Tensor | None,
        anchors: tf.Tensor,
        temperature: tf.Tensor,
        step: tf.Tensor,
    ) -> Retrieved:
        """Retrieves for one batch of `scene_dataset` with the candidates' features and pixels.

        Args:
          batch: of the pipeline.
          object_mask: [B, O] bool.
          seeds: [B, 2] int32; None for the deterministic selection.
          anchors: [B] int32, the objects whose own patch is the query of the selection loss.
          temperature: of the selection.
          step: of the training.
        """
        valid = batch["candidate_valid"]  # [B, O, K]
        candidates = self._embedding(batch["candidate_features"])  # [B, O, K, D]
        own = self._embedding(batch["patch_features"])  # [B, O, D]
        settings, scale = self._config.retrieval, self._embedding.scale
        gumbel, scores = noise_and_scores(valid, seeds)  # [B, O, K] twice
        query = best_candidate(candidates, valid, scores)  # [B, D]
        selection = gumbel_group_select(
            candidates,
            valid,
            query,
            gumbel,
            scale=scale,
            temperature=temperature,
            straight_through=settings.straight_through,
            gradient=settings.gradient,
        )
        chances = selection_probabilities(candidates, valid, query, selection, scale=scale)
        return Retrieved(
            mix_patches(selection.weights, batch["candidate_crops"]),
            chosen_rows(batch["candidate_ids"], selection.choice),
            Compared(own, candidates, valid, scale),
            Related(selection.weights, chances, batch["candidate_cooccurrence"]),
            {
                "retrieval/signal_to_noise": signal_to_noise(
                    candidates, valid, tf.gather(own, anchors, batch_dims=1), scale
                )
            },
        )


class Shortlisted(NamedTuple):
    """A selection among many candidates, made and differentiated on m of each object.

    Attributes:
      selection: over the m; `choice` is a position among the m.
      ids: [B, O, m] int32, rows in the bank, -1 where there are fewer than m.
      slots: [B, O, m] int32, positions among the K.
      probabilities: [B, O, m] float32, of `selection_probabilities`; without locked objects.
    """

    selection: GroupSelection
    ids: tf.Tensor
    slots: tf.Tensor
    probabilities: tf.Tensor


class CachedRetrieval:
    """Scores every candidate by cached embeddings, loads and differentiates m of each object.

    The whole selection runs on the cache without gradient. Then m candidates of each object (the
    chosen one, and those with the largest relaxed weights) are embedded anew, and the selection is
    repeated on them with the same noise and the same first query, with gradient. With a fresh cache
    it chooses what the exact retrieval would choose.

    What this leaves out of the gradient:
      * of the selection, every candidate outside the m, in the softmax of equation 2 and in the
        straight-through estimate. They held the smallest weights, but at a high temperature many
        small ones add up. With m = K nothing is left out.
      * of the selection loss, less: it needs no pixels, so the `exact_candidates` nearest to the
        query are embedded anew, and all others count in the normaliser, and for the scale and the
        query, by their cached vectors. Only the gradient through these vectors is missing.
      * of the co-occurrence loss in expectation, the candidates outside the m altogether: the
        probabilities are those among the m.
      * a cached vector is up to `cache_max_age_steps` old. A candidate that the current weights
        would choose, and an old vector keeps out of the m, is not chosen.
    In soft mode (`straight_through` false) the mixture itself is cut to m candidates as well.
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
        self._config = config
        self._embedding = embedding
        self._cache = cache
        self._reader = reader

    def fill(self) -> None:
        """Embeds the whole bank."""
        self._cache.fill(tf.function(self._embed_rows, reduce_retracing=True))

    def refresh(self, step: tf.Tensor) -> None:
        """Embeds the rows of this step again, with the current weights; in replica context."""
        self._cache.refresh(step, self._embed_rows)

    def __call__(
        self,
        batch: dict[str, tf.Tensor],
        object_mask: tf.Tensor,
        *,
        seeds: tf.Tensor | None,
        anchors: tf.Tensor,
        temperature: tf.Tensor,
        step: tf.Tensor,
    ) -> Retrieved:
        """Retrieves for one batch of `scene_dataset`; arguments as for `ExactRetrieval`."""
        ids, valid = batch["candidate_ids"], batch["candidate_valid"]  # [B, O, K] each
        cached = self._cache.lookup(ids)  # [B, O, K, D]
        shortlisted = self.select(ids, valid, cached, seeds, temperature=temperature)
        weights = shortlisted.selection.weights  # [B, O, m]
        patches = self._reader.load(shortlisted.ids)
        age = tf.where(valid, self._cache.age(ids, step), 0)  # [B, O, K]
        compared = self.compare(batch, cached, anchors)
        query = tf.gather(compared.own, anchors, batch_dims=1)  # [B, D]
        return Retrieved(
            mix_patches(weights, patches.crops),
            chosen_rows(shortlisted.ids, shortlisted.selection.choice),
            compared,
            Related(weights, shortlisted.probabilities, patches.cooccurrence),
            {
                "retrieval/signal_to_noise": signal_to_noise(
                    cached, valid, query, self._embedding.scale
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
        """The selection on all K by cache, then on m with gradient.

        Args:
          ids: [B, O, K] int32, rows in the bank; -1 where not valid.
          valid: [B, O, K] bool.
          cached: [B, O, K, D] float32, from the cache.
          seeds: [B, 2] int32; None for the deterministic selection.
          temperature: of the selection.
          locked: [B, O] int32, position among the K that is fixed for an object, -1 = free.
        """
        settings, scale = self._config.retrieval, self._embedding.scale
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

    def compare(
        self, batch: dict[str, tf.Tensor], cached: tf.Tensor, anchors: tf.Tensor
    ) -> Compared:
        """For the selection loss: own patches against all K, some of them with gradient.

        These are the candidates nearest to the query, not those of the selection: in the
        cross-entropy a candidate's gradient is its probability, and no noise has a part in it.
        They are more than m because the probabilities are flatter than those of the selection: on
        a trained run 8 of 128 gave a cosine of 0.93 to the full gradient.
        """
        ids, valid = batch["candidate_ids"], batch["candidate_valid"]  # [B, O, K] each
        own = self._embedding(batch["patch_features"])  # [B, O, D]
        query = tf.gather(own, anchors, batch_dims=1)  # [B, D]
        settings = self._config.retrieval
        count = min(max(settings.loaded_candidates, settings.exact_candidates), ids.shape[2])
        slots = nearest_slots(cached, valid, query, count)  # [B, O, n]
        near_valid = take_slots(valid, slots)  # [B, O, n]
        near_ids = tf.where(near_valid, take_slots(ids, slots), -1)  # [B, O, n]
        return Compared(
            own,
            self._embed_rows(near_ids),
            near_valid,
            self._embedding.scale,
            left_out=(cached, valid & ~is_in_slots(slots, ids.shape[2])),
        )

    def _embed_rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Embeds rows of the bank with the current weights: [...] int32 -> [..., D] float32."""
        return self._embedding(self._reader.features(ids))


def signal_to_noise(
    embeddings: tf.Tensor, valid: tf.Tensor, query: tf.Tensor, scale: tf.Tensor
) -> tf.Tensor:
    """Spread of the scaled distances to a query over the spread of Gumbel noise.

    Below 1 the noise decides which patch is retrieved, above it the embedding does.

    Args:
      embeddings: [B, O, K, D] float32, of length 1.
      valid: [B, O, K] bool.
      query: [B, D] float32, of length 1.
      scale: [] of the distances.

    Returns:
      Scalar float32, without gradient.
    """
    embeddings, is_valid = tf.stop_gradient(embeddings), tf.cast(valid, tf.float32)
    count = tf.maximum(tf.reduce_sum(is_valid, axis=[1, 2]), 1.0)  # [B]
    distances = unit_distance(embeddings, tf.stop_gradient(query))  # [B, O, K]
    mean = tf.reduce_sum(distances * is_valid, axis=[1, 2]) / count  # [B]
    squares = (distances - mean[:, tf.newaxis, tf.newaxis]) ** 2  # [B, O, K]
    variance = tf.reduce_sum(is_valid * squares, axis=[1, 2]) / count  # [B]
    return tf.stop_gradient(scale * tf.reduce_mean(tf.sqrt(variance)) / _NOISE_DEVIATION)
