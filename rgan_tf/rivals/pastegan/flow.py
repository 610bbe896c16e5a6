"""The flow net of PasteGAN: moves the values of a map by a predicted displacement."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rgan_tf.rivals.normalization import group_normalization

SLOPE = 0.1  # of every leaky ReLU in the published crop encoder, refiner and canvas

# Behind a normalisation the published 0.01 would move the values by half a cell at the start. Not
# 0 either: a displacement of 0 sits on the kink of the interpolation, where nothing is learnt.
_START = 5e-5


class FlowNet(tf.keras.layers.Layer):
    """Warps each map by a displacement that three convolutions predict from it.

    Starts as the identity, but for a displacement of less than a hundredth of a cell.

    Args:
      channels: of the two hidden convolutions.

    Call args:
      maps: [N, h, w, C] float32.

    Returns:
      [N, h, w, C] float32.
    """

    def __init__(self, *, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.hidden = [
            (
                _convolution(channels, 0.01, name=f"convolution_{index}"),
                group_normalization(channels, name=f"normalization_{index}"),
            )
            for index in range(2)
        ]
        self.last = _convolution(2, _START, name="last")

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        return warp(maps, self.displacement(maps))  # [N, h, w, C]

    def displacement(self, maps: tf.Tensor) -> tf.Tensor:
        """[N, h, w, 2] float32 (y, x) in [-1, 1]; see `warp`."""
        values = maps  # [N, h, w, C]
        for convolution, normalization in self.hidden:
            values = normalization(convolution(values))  # [N, h, w, c]
            values = tf.nn.leaky_relu(values, alpha=SLOPE)  # [N, h, w, c]
        return tf.tanh(self.last(values))  # [N, h, w, 2]


def warp(maps: tf.Tensor, displacement: tf.Tensor) -> tf.Tensor:
    """Reads every cell from a displaced place, bilinearly; outside of the map are zeros.

    Maps are small, so every cell weights all others: no gather, whose gradient adds in any order.

    Args:
      maps: [N, h, w, C] float32.
      displacement: [N, h, w, 2] float32 (y, x). From the first cell's centre to the last one's
        it is 2, so a displacement of 2 / (h - 1) moves by one cell.

    Returns:
      [N, h, w, C] float32.
    """
    height, width, channels = maps.shape[1:]
    shifts = displacement * [(height - 1) / 2, (width - 1) / 2]  # [N, h, w, 2] cells
    rows = tf.range(height, dtype=tf.float32)  # [h]
    columns = tf.range(width, dtype=tf.float32)  # [w]
    y = rows[:, tf.newaxis] + shifts[..., 0]  # [N, h, w]
    x = columns + shifts[..., 1]  # [N, h, w]
    of_rows = tf.nn.relu(1.0 - tf.abs(y[..., tf.newaxis] - rows))  # [N, h, w, h]
    of_columns = tf.nn.relu(1.0 - tf.abs(x[..., tf.newaxis] - columns))  # [N, h, w, w]
    weights = of_rows[..., tf.newaxis] * of_columns[..., tf.newaxis, :]  # [N, h, w, h, w]
    cells = height * width
    warped = tf.matmul(
        tf.reshape(weights, [-1, cells, cells]), tf.reshape(maps, [-1, cells, channels])
    )  # [N, h * w, C]
    return tf.reshape(warped, [-1, height, width, channels])  # [N, h, w, C]


def _convolution(filters: int, deviation: float, *, name: str) -> tf.keras.layers.Conv2D:
    normal = tf.keras.initializers.RandomNormal(stddev=deviation)
    return tf.keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer=normal, name=name)
