"""The paper's retriever: φ embeds candidates, Algorithm 1 chooses, gradients train φ."""

from __future__ import annotations

import copy

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.retrieval.cache import EmbeddingCache
from rgan_tf.retrieval.distance import unit_distance
from rgan_tf.retrieval.embedding import PatchEmbedding
from rgan_tf.retrieval.gumbel import gumbel_group_select, selection_probabilities
from rgan_tf.retrieval.patches import chosen_rows, mix_patches
from rgan_tf.retrieval.retriever import Batch, Compared, Patches, Related, Retrieved, Retriever
from rgan_tf.retrieval.rules import LEARNED
from rgan_tf.retrieval.selection import (
    Candidates,
    Options,
    Selection,
    choose_by_group,
    first_draws,
)

_NOISE_DEVIATION = 1.2825498  # of Gumbel(0, 1): pi / sqrt 6


class LearnedRetriever(Retriever):
    """Embeds, loads and differentiates every candidate of the batch.

    Args:
      config: the experiment; does not affect the choice at test time.
      embedding: φ; None if it is bound later (`bound_to`).

    Attributes:
      cache: embeddings of the bank if only some candidates are loaded; here None.
    """

    name = LEARNED
    monitors: tuple[str, ...] = ("retrieval/signal_to_noise",)
    cache: EmbeddingCache | None = None

    def __init__(self, config: Config | None = None, embedding: PatchEmbedding | None = None):
        self.config = config or Config()
        self.embedding = embedding

    def bound_to(self, embedding: PatchEmbedding) -> LearnedRetriever:
        """See `Retriever`."""
        bound = copy.copy(self)
        bound.embedding = embedding
        return bound

    def embed(self, patches: Patches) -> tf.Tensor:
        """See `Retriever`: φ of the backbone features."""
        return self.embedding(patches.features)

    def choose(self, candidates: Candidates, options: Options) -> Selection:
        """See `Retriever`."""
        group = choose_by_group(candidates, options, scale=self.embedding.scale)
        return Selection(group.choice, group.order)

    def distance_scale(self) -> tf.Tensor:
        """See `Retriever`: α, learned with φ."""
        return self.embedding.scale

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
        """See `Retriever`; the batch holds features, pixels and relations of the candidates."""
        del object_mask, step
        settings, scale = self.config.retrieval, self.embedding.scale
        candidates = self.candidates_of(batch)
        embeddings, valid = candidates.embeddings, candidates.valid  # [B, O, K, D], [B, O, K]
        own = self.embedding(batch["patch_features"])  # [B, O, D]
        gumbel, query = first_draws(candidates, Options(seeds=seeds))  # [B, O, K], [B, D]
        selection = gumbel_group_select(
            embeddings,
            valid,
            query,
            gumbel,
            scale=scale,
            temperature=temperature,
            straight_through=settings.straight_through,
            gradient=settings.gradient,
        )
        chances = selection_probabilities(embeddings, valid, query, selection, scale=scale)
        anchor = tf.gather(own, anchors, batch_dims=1)  # [B, D]
        return Retrieved(
            mix_patches(selection.weights, batch["candidate_crops"]),
            chosen_rows(candidates.ids, selection.choice),
            Compared(own, embeddings, valid, scale),
            Related(selection.weights, chances, batch["candidate_cooccurrence"]),
            {"retrieval/signal_to_noise": signal_to_noise(embeddings, valid, anchor, scale)},
        )


def signal_to_noise(
    embeddings: tf.Tensor, valid: tf.Tensor, query: tf.Tensor, scale: tf.Tensor
) -> tf.Tensor:
    """Spread of the scaled distances to a query, divided by the spread of Gumbel noise.

    Below 1 the noise decides which patch is retrieved, above 1 the embedding does.

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


def chooses_by_embedding(retriever: Retriever) -> bool:
    """Whether a retriever chooses by φ as it is, so that φ's own figures say what it does.

    A subclass that embeds or chooses in its own way does not, even under the name of this class.
    """
    kind = type(retriever)
    return isinstance(retriever, LearnedRetriever) and (
        (kind.embed, kind.choose) == (LearnedRetriever.embed, LearnedRetriever.choose)
    )
