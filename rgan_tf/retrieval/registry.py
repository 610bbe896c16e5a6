"""The registry of retrievers, by the names that `retrieval.choice` accepts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from rgan_tf import registered_names
from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.config import Config
from rgan_tf.errors import BadInput
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
    """The learned retriever, with a cache if a reader is given and candidates are many."""
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
"""Name -> factory."""

_BUILT_IN: dict[str, type[Retriever]] = {
    LEARNED: LearnedRetriever,
    NEAREST: NearestRetriever,
    NEAREST_RANDOM: NearestRandomRetriever,
    OWN: OwnPatches,
    NOISE: NoisePatches,
}


def register_retriever(name: str, make: Callable[[], Retriever]) -> None:
    """Registers a retriever for `retrieval.choice` in configs and as a row of `rgan compare`.

    Every process that opens such a run must have registered it: call this first, or put the call
    into a module and name that module in the environment variable RGAN_PLUGINS.

    Args:
      name: letters, digits and underscores; becomes the retriever's `name`.
      make: a factory without arguments, such as the class.

    Raises:
      ValueError: if the name is taken, also by a row of `rgan compare`, or contains other
        characters, or `make` needs arguments.

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
    if not (isinstance(name, str) and name.isidentifier()):
        raise ValueError(f"retriever {name!r}: name it by letters, digits and underscores")
    if not callable(make):
        raise ValueError(f"retriever {name!r}: pass the class itself, or a function")
    if name in RETRIEVERS or name in registered_names.RESERVED:
        raise ValueError(f"retriever {name!r}: there is one of this name; choose another name")
    if not _needs_nothing(make):
        raise ValueError(
            f"retriever {name!r}: needs arguments, but is made without any; pass a function that "
            "gives them"
        )

    def made(*_) -> Retriever:
        retriever = make()
        if not isinstance(retriever, Retriever):
            kind = type(retriever).__name__
            raise BadInput(f"retriever {name}: is not an rgan_tf.Retriever, but {kind}")
        _check_chooses(name, retriever)
        retriever.name = name  # tables and evaluations find it by the registered name
        return retriever

    RETRIEVERS[name] = made
    registered_names.RETRIEVERS.append(name)


def _needs_nothing(make: Callable) -> bool:
    """Whether a factory can be called without arguments, as far as it tells."""
    try:
        signature = inspect.signature(make)
    except ValueError:  # some of those that are written in C do not tell
        return True
    try:
        signature.bind()
    except TypeError:
        return False
    return True


def check_retriever(retriever: Any) -> None:
    """Refuses an object that a caller passes as a retriever and that is not one, such as a class.

    Raises:
      BadInput: if it is neither a `Retriever` nor None, cannot choose, or bears the name of a row
        or a baseline that it is not, under which its results would stand.
    """
    if retriever is None:
        return
    if not isinstance(retriever, Retriever):
        raise BadInput(f"retriever {retriever!r:.80}: must be an instance of rgan_tf.Retriever")
    name, kind = retriever.name, type(retriever)
    if not isinstance(name, str) or not name.strip() or "/" in name:
        raise BadInput(f"retriever {name!r:.80}: its name must be a text, without /")
    of_name = _BUILT_IN.get(name, Retriever)
    if name in registered_names.RESERVED or not isinstance(retriever, of_name):
        raise BadInput(
            f"retriever {name}: tables have another row of this name; give {kind.__name__} one of "
            "its own"
        )
    _check_chooses(name, retriever)


def _check_chooses(name: str, retriever: Retriever) -> None:
    kind = type(retriever)
    if kind.choose is Retriever.choose:
        raise BadInput(f"retriever {name}: {kind.__name__} has no method choose; define it")


def retriever_for(
    config: Config,
    embedding: PatchEmbedding | None = None,
    reader: PatchReader | None = None,
) -> Retriever:
    """Makes the retriever that a config names.

    Args:
      config: names it in `retrieval.choice`.
      embedding: φ; None if the retriever is bound to one later.
      reader: of the bank's patches, for training with more candidates than
        `retrieval.exact_candidates`.
    """
    return RETRIEVERS[config.retrieval.choice](config, embedding, reader)
