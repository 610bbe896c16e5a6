"""The text encoder: a bidirectional LSTM over the words of a text."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rgan_tf.retrieval.noise import row_uniforms
from rgan_tf.rivals.attngan.sentences import PADDING_WORD

_DROPOUT = 0.5  # of a word's numbers, in training
_START = 0.1  # the embedding starts uniform in [-0.1, 0.1]


class Text(NamedTuple):
    """An encoded text.

    Attributes:
      words: [B, W, D] float32, 0 at padding.
      sentence: [B, D] float32.
      mask: [B, W] bool, False = padding.
    """

    words: tf.Tensor
    sentence: tf.Tensor
    mask: tf.Tensor


class TextEncoder(tf.keras.layers.Layer):
    """A vector per word and one for the whole text.

    Args:
      num_words: ids of words, padding included.
      embedding: numbers of a word before the LSTM.
      hidden: of the LSTM, per direction; D is twice that.

    Call args:
      tokens: [B, W] int32, 0 = padding, all of it at the end.
      seeds: [B, 2] int32, one per row, of the dropout; None: without dropout.
      trims: whether to leave out places that are padding in every row, which changes no result
        but W.

    Returns:
      A `Text`. Neither padding nor the other rows change a row.
    """

    def __init__(self, *, num_words: int, embedding: int, hidden: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.hidden = hidden
        self.embedding = tf.keras.layers.Embedding(
            num_words,
            embedding,
            embeddings_initializer=tf.keras.initializers.RandomUniform(-_START, _START),
            name="embedding",
        )
        self.recurrent = tf.keras.layers.Bidirectional(
            tf.keras.layers.LSTM(hidden, return_sequences=True, return_state=True),
            name="recurrent",
        )

    def call(
        self, tokens: tf.Tensor, seeds: tf.Tensor | None = None, *, trims: bool = False
    ) -> Text:
        mask = tokens != PADDING_WORD  # [B, W]
        vectors = self.embedding(tokens)  # [B, W, E]
        if seeds is not None:
            is_kept = row_uniforms(seeds, vectors.shape[1:]) >= _DROPOUT  # [B, W, E]
            vectors = tf.where(is_kept, vectors / (1.0 - _DROPOUT), 0.0)  # [B, W, E]
        if trims:
            longest = tf.reduce_max(tf.reduce_sum(tf.cast(mask, tf.int32), axis=1))  # []
            longest = tf.maximum(longest, 1)
            vectors, mask = vectors[:, :longest], mask[:, :longest]
        words, forward, _, backward, _ = self.recurrent(vectors, mask=mask)  # [B, W, D], [B, D/2]
        words = tf.where(mask[..., tf.newaxis], words, 0.0)  # [B, W, D]
        sentence = tf.concat([forward, backward], axis=-1)  # [B, D]
        # Static again: an operation of unknown size would be missing where operations are counted.
        return Text(words, tf.ensure_shape(sentence, [tokens.shape[0], 2 * self.hidden]), mask)
