"""The retrievers that `retrieval.choice` of a config names."""

from __future__ import annotations

from collections.abc import Callable

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.config import Config
from rgan_tf.retrieval.cache import EmbeddingCache
from rgan_tf.retrieval.cached import CachedRetriever
from rgan_tf.retrieval.embedding import PatchEmbedding
from rgan_tf.retrieval.learned import LearnedRetriever
from rgan_tf.retrieval.retriever import Retriever
from rgan_tf.retrieval.rules import (
    LEARNED,
    NEAREST,
    NEAREST_RANDOM,
    NOISE,
    OWN,
    NearestRandomRetriever,
    NearestRetriever,
    NoisePatches,
    OwnPatches,
)


def learned_retriever(
    config: Config, embedding: PatchEmbedding | None, reader: PatchReader | None
) -> LearnedRetriever:
    """The learned retriever; with a reader, and more candidates than are loaded, it has a cache."""
    settings = config.retrieval
    if reader is None or settings.candidates <= settings.exact_candidates:
        return LearnedRetriever(config, embedding)
    cache = EmbeddingCache(
        rows=len(reader),
        width=settings.embedding_sizes[-1],
        max_age_steps=settings.cache_max_age_steps,
    )
    return CachedRetriever(config, embedding, cache, reader)


RETRIEVERS: dict[str, Callable[[Config, PatchEmbedding | None, PatchReader | None], Retriever]] = {
    LEARNED: learned_retriever,
    NEAREST: lambda *_: NearestRetriever(),
    NEAREST_RANDOM: lambda *_: NearestRandomRetriever(),
    OWN: lambda *_: OwnPatches(),
    NOISE: lambda *_: NoisePatches(),
}
"""Name -> how it is made."""


def retriever_for(
    config: Config,
    embedding: PatchEmbedding | None = None,
    reader: PatchReader | None = None,
) -> Retriever:
    """The retriever that a config names.

    Args:
      config: names it in `retrieval.choice`.
      embedding: φ; None where the retriever is bound to one later.
      reader: of the bank's patches, for training with more candidates than
        `retrieval.exact_candidates`.
    """
    return RETRIEVERS[config.retrieval.choice](config, embedding, reader)
