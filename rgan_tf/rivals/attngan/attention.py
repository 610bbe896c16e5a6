"""Attention over the words of a text, of which some are padding."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rgan_tf.rivals.attngan.text_encoder import Text

_NEVER = -1e9


class WordAttention(tf.keras.layers.Layer):
    """What every pixel of a map reads in the words of its text.

    Args:
      channels: n, of the maps, to which words are projected.

    Call args:
      values: [B, s, s, n] float32.
      text: of the same rows.

    Returns:
      The words' contexts [B, s, s, n] and the attention [B, W, s, s], float32 both. The attention
      sums to 1 over the words at each pixel and is 0 at padding; a text without words gives zeros.
      A row depends on its own text only.
    """

    def __init__(self, *, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.project = tf.keras.layers.Dense(
            channels, use_bias=False, kernel_initializer="orthogonal", name="project"
        )

    def call(self, values: tf.Tensor, text: Text) -> tuple[tf.Tensor, tf.Tensor]:
        words = self.project(text.words)  # [B, W, n]
        logits = tf.einsum("bhvc,bwc->bhvw", values, words)  # [B, s, s, W]
        mask = text.mask[:, tf.newaxis, tf.newaxis]  # [B, 1, 1, W]
        attention = masked_softmax(logits, mask, axis=-1)  # [B, s, s, W]
        contexts = tf.einsum("bhvw,bwc->bhvc", attention, words)  # [B, s, s, n]
        return contexts, tf.transpose(attention, [0, 3, 1, 2])


def masked_softmax(logits: tf.Tensor, mask: tf.Tensor, *, axis: int) -> tf.Tensor:
    """Softmax over the places where the mask is True; 0 at the others, and where none is.

    Args:
      logits: [...] float32.
      mask: bool, broadcast to them.
      axis: of the sum.
    """
    shares = tf.nn.softmax(tf.where(mask, logits, _NEVER), axis=axis)  # [...]
    return tf.where(mask, shares, 0.0)  # [...]
