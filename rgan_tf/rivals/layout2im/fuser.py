"""Fuses the objects of a scene: a convolutional LSTM that reads them one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class SequenceFuser(tf.keras.layers.Layer):
    """Several layers of a convolutional LSTM over the objects; the last state is the canvas.

    Args:
      channels: of the layers.
      kernel: side of all convolutions.

    Call args:
      maps: [B, O, h, w, C] float32, in the order in which they are read.
      is_there: [B, O] bool; the state is carried over the others.

    Returns:
      [B, h, w, channels[-1]] float32; 0 for a scene without objects.
    """

    def __init__(self, *, channels: Sequence[int], kernel: int = 5, **kwargs: Any):
        super().__init__(**kwargs)
        self.lstms = [
            ConvolutionalLstm(channels=width, kernel=kernel, name=f"layer_{index}")
            for index, width in enumerate(channels)
        ]

    def call(self, maps: tf.Tensor, is_there: tf.Tensor) -> tf.Tensor:
        for layer in self.lstms:
            maps = layer(maps, is_there)  # [B, O, h, w, c]
        return maps[:, -1]  # [B, h, w, c]


class ConvolutionalLstm(tf.keras.layers.Layer):
    """One layer (Shi et al., NeurIPS 2015), without peepholes; gates by sigmoid, values by tanh.

    Keras's `ConvLSTM2D` is the same function, but its loop cannot be unrolled, so its operations
    would be counted once, and its input is convolved step by step.

    Args:
      channels: c of the state.
      kernel: side of the convolutions.

    Call args:
      maps: [B, O, h, w, C] float32.
      is_there: [B, O] bool, False = a step that changes nothing.

    Returns:
      [B, O, h, w, c] float32, the hidden state after each step; it starts at 0.
    """

    def __init__(self, *, channels: int, kernel: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = channels
        self.of_input = tf.keras.layers.Conv2D(
            4 * channels, kernel, padding="same", name="of_input"
        )
        self.of_state = tf.keras.layers.Conv2D(
            4 * channels, kernel, padding="same", use_bias=False, name="of_state"
        )

    def call(self, maps: tf.Tensor, is_there: tf.Tensor) -> tf.Tensor:
        steps, height, width = maps.shape[1:4]
        flat = tf.reshape(maps, [-1, height, width, maps.shape[4]])  # [B * O, h, w, C]
        inputs = tf.reshape(
            self.of_input(flat), [-1, steps, height, width, 4 * self.channels]
        )  # [B, O, h, w, 4 c]
        hidden = cell = tf.zeros([tf.shape(maps)[0], height, width, self.channels])
        states = []
        for step in range(steps):
            gates = inputs[:, step] + self.of_state(hidden)  # [B, h, w, 4 c]
            reads, keeps, candidate, writes = tf.split(gates, 4, axis=-1)  # [B, h, w, c] each
            new_cell = tf.sigmoid(keeps) * cell + tf.sigmoid(reads) * tf.tanh(candidate)
            new_hidden = tf.sigmoid(writes) * tf.tanh(new_cell)  # [B, h, w, c]
            is_read = is_there[:, step, tf.newaxis, tf.newaxis, tf.newaxis]  # [B, 1, 1, 1]
            cell = tf.where(is_read, new_cell, cell)  # [B, h, w, c]
            hidden = tf.where(is_read, new_hidden, hidden)  # [B, h, w, c]
            states.append(hidden)
        return tf.stack(states, axis=1)  # [B, O, h, w, c]
