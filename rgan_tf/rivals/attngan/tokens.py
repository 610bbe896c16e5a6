"""Texts of scene graphs within a TensorFlow graph: the numbers of `sentences`, by table look-up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from rgan_tf.rivals.attngan.sentences import LINK, PADDING_WORD, Dictionary
from rgan_tf.rivals.noise import row_order
from rgan_tf.rivals.rival import Graph
from rgan_tf.vocabulary import IN_IMAGE, RESERVED_OBJECTS, RESERVED_PREDICATES, Vocabulary


class SceneTexts:
    """Writes graphs as texts, in the numbers of `Dictionary.ids_of`.

    A plain object: it has no variables, and a model that holds it saves nothing of it.

    Args:
      vocabulary: of the run.

    Raises:
      BadInput: see `Dictionary`.
    """

    def __init__(self, vocabulary: Vocabulary):
        self.dictionary = Dictionary(vocabulary)
        self._objects = self._table(vocabulary.objects, len(RESERVED_OBJECTS))  # [N, Wo]
        self._predicates = self._table(vocabulary.predicates, len(RESERVED_PREDICATES))  # [P, Wp]
        self._object_words = _first_equal(self._objects, len(RESERVED_OBJECTS))  # [N]
        self._predicate_words = _first_equal(self._predicates, len(RESERVED_PREDICATES))  # [P]

    def __call__(
        self, graph: Graph, order: tf.Tensor | None = None, *, most_words: int | None = None
    ) -> tf.Tensor:
        """The texts.

        Args:
          graph: B scenes of up to O objects and T triples.
          order: [B, T] int32, the order of the triples, see `triple_order`; None: as they stand.
          most_words: W; by default every text has room. Whole sentences are left out from the end.

        Returns:
          [B, W] int32 ids of words, then `PADDING_WORD`.
        """
        objects, triples = graph["objects"], graph["triples"]
        if most_words is None:
            most_words = self.dictionary.longest(objects=objects.shape[1], triples=triples.shape[1])
        if order is not None:
            triples = tf.gather(triples, order, batch_dims=1)  # [B, T, 3]
        is_mentioned = mentioned(triples)  # [B, T]
        names = tf.gather(self._objects, objects)  # [B, O, Wo]
        subjects, predicates, targets = tf.unstack(tf.maximum(triples, 0), axis=-1)  # [B, T] each
        sentences = tf.concat(
            [
                tf.gather(names, subjects, batch_dims=1),
                tf.gather(self._predicates, predicates),
                tf.gather(names, targets, batch_dims=1),
            ],
            axis=-1,
        )  # [B, T, 2 Wo + Wp]
        sentences = tf.where(is_mentioned[..., tf.newaxis], sentences, PADDING_WORD)
        has_triples = tf.reduce_any(is_mentioned, axis=1, keepdims=True)  # [B, 1]
        return tf.where(
            has_triples, self._linked(sentences, most_words), self._linked(names, most_words)
        )  # [B, W]

    def keys(self, graph: Graph) -> tf.Tensor:
        """Numbers that are equal for two scenes exactly if they have the same sentences.

        In any order: scenes whose texts say the same do not make wrong pairs. So names of the same
        words ("wall-brick", "wall brick") are one name here.

        Returns:
          [B, K] int64.
        """
        triples = graph["triples"]
        objects = tf.gather(self._object_words, graph["objects"])  # [B, O]
        subjects, predicates, targets = tf.unstack(tf.maximum(triples, 0), axis=-1)  # [B, T] each
        predicates = tf.gather(self._predicate_words, predicates)  # [B, T]
        first, second = (
            tf.cast(tf.gather(objects, end, batch_dims=1), tf.int64) for end in (subjects, targets)
        )  # [B, T] each
        code = first * len(self._predicates) + tf.cast(predicates, tf.int64)  # [B, T]
        code = 1 + code * len(self._objects) + second  # [B, T]
        code = tf.where(mentioned(triples), code, 0)  # [B, T]
        width = max(objects.shape[1], triples.shape[1])
        of_triples = _sorted(code, width)  # [B, K]
        of_names = -_sorted(tf.cast(objects, tf.int64), width)  # [B, K]
        return tf.where(tf.reduce_any(code > 0, axis=1, keepdims=True), of_triples, of_names)

    def _table(self, names: Sequence[str], reserved: int) -> np.ndarray:
        """[names, W] int32, the ids of the words of each; nothing for the reserved ones."""
        ids = [
            [] if index < reserved else self.dictionary.ids_of(name)
            for index, name in enumerate(names)
        ]
        table = np.full([len(names), max(map(len, ids), default=0)], PADDING_WORD, np.int32)
        for row, words in zip(table, ids, strict=True):
            row[: len(words)] = words
        return table

    def _linked(self, sentences: tf.Tensor, most_words: int) -> tf.Tensor:
        """Sentences [B, S, w] with gaps -> [B, W], linked by "and", without gaps."""
        (link,) = self.dictionary.ids_of(LINK)
        is_there = tf.reduce_any(sentences != PADDING_WORD, axis=-1)  # [B, S]
        is_later = is_there & (tf.cumsum(tf.cast(is_there, tf.int32), axis=1) > 1)  # [B, S]
        links = tf.where(is_later, link, PADDING_WORD)[..., tf.newaxis]  # [B, S, 1]
        pieces = tf.concat([links, sentences], axis=-1)  # [B, S, 1 + w]
        counts = tf.reduce_sum(tf.cast(pieces != PADDING_WORD, tf.int32), axis=-1)  # [B, S]
        fits = tf.cumsum(counts, axis=1) <= most_words  # [B, S]
        pieces = tf.where(fits[..., tf.newaxis], pieces, PADDING_WORD)  # [B, S, 1 + w]
        places = pieces.shape[1] * pieces.shape[2]
        flat = tf.reshape(pieces, [-1, places])  # [B, M]
        # All keys differ, so that no sort can change the order of the words.
        key = tf.range(places) + tf.where(flat == PADDING_WORD, places, 0)  # [B, M]
        flat = tf.gather(flat, tf.argsort(key, axis=-1), batch_dims=1)  # [B, M]
        missing = max(most_words - places, 0)
        return tf.pad(flat, [[0, 0], [0, missing]])[:, :most_words]  # [B, W]


def _first_equal(table: np.ndarray, reserved: int) -> np.ndarray:
    """[N] int32, for every row of a table the first row like it; reserved rows keep their own."""
    first: dict[bytes, int] = {}
    own = range(len(table))
    rows = [row if row < reserved else first.setdefault(table[row].tobytes(), row) for row in own]
    return np.asarray(rows, np.int32)


def mentioned(triples: tf.Tensor) -> tf.Tensor:
    """[B, T] bool: which triples [B, T, 3] are sentences of the text."""
    return (triples[..., 0] >= 0) & (triples[..., 1] != IN_IMAGE)


def triple_order(triples: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """A random order [B, T] of triples [B, T, 3]; it stands for several captions of one image."""
    return row_order(mentioned(triples), seeds)


def same_text(keys: tf.Tensor) -> tf.Tensor:
    """[B, B] bool: which scenes of `SceneTexts.keys` [B, K] have the same text."""
    return tf.reduce_all(keys[:, tf.newaxis] == keys[tf.newaxis], axis=-1)  # [B, B]


def _sorted(codes: tf.Tensor, width: int) -> tf.Tensor:
    """[B, N] -> [B, width], the largest first, filled with 0."""
    codes = tf.sort(codes, axis=-1, direction="DESCENDING")  # [B, N]
    return tf.pad(codes, [[0, 0], [0, width - codes.shape[1]]])  # [B, width]
