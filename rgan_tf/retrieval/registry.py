"""The retrievers that `retrieval.choice` of a config names."""

from __future__ import annotations

from collections.abc import Callable

from rgan_tf import registered_names
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


Make = Callable[[Config, PatchEmbedding | None, PatchReader | None], Retriever]

RETRIEVERS: dict[str, Make] = {
    LEARNED: learned_retriever,
    NEAREST: lambda *_: NearestRetriever(),
    NEAREST_RANDOM: lambda *_: NearestRandomRetriever(),
    OWN: lambda *_: OwnPatches(),
    NOISE: lambda *_: NoisePatches(),
}
"""Name -> how it is made."""


def register_retriever(name: str, make: Callable[[], Retriever]) -> None:
    """Adds a retriever, which configs then know as `retrieval.choice` and `rgan compare` as a row.

    Every process that meets a run of it has to have registered it: put the call into a module and
    name the module in the environment variable RGAN_PLUGINS, or call it before.

    Args:
      name: letters, digits and underscores.
      make: makes it, without arguments; a class does.

    Raises:
      ValueError: if the name is taken or has other characters.

    Example:
      ```python
      import rgan_tf
      from rgan_tf.retrieval.selection import nearest_in_turn

      class Nearest(rgan_tf.Retriever):
          name = "my_nearest"

          def choose(self, candidates, options):
              return nearest_in_turn(candidates, options)

      rgan_tf.register_retriever("my_nearest", Nearest)
      ```
    """
    if not name.isidentifier():
        raise ValueError(f"retriever {name!r}: name it by letters, digits and underscores")
    if name in RETRIEVERS:
        raise ValueError(f"retriever {name!r}: there is one of this name; choose another name")
    RETRIEVERS[name] = lambda *_: make()
    registered_names.RETRIEVERS.append(name)


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
