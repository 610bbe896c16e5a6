"""Object vectors to boxes that are valid by construction."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class BoxPredictor(tf.keras.layers.Layer):
    """Predicts one box per object (method of the paper, section 3.1).

    Differs from the public code, whose final ReLU gives inverted boxes: the network predicts the
    share of the image that the box takes and where in the remaining room it lies, so every output
    is ordered, inside the image and at least `minimum_size` wide and high.

    Args:
      hidden: size of the hidden layer, at least 1.
      minimum_size: smallest side of a box, fraction of the image in (0, 1).

    Call args:
      object_vectors: [B, O, W] float32.

    Returns:
      [B, O, 4] float32 boxes [y0, x0, y1, x1] in [0, 1]. Boxes of padded objects are valid too
      and mean nothing.

    Raises:
      ValueError: if an argument is out of range.
    """

    def __init__(self, *, hidden: int = 512, minimum_size: float = 0.02, **kwargs: Any):
        super().__init__(**kwargs)
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {hidden}")
        if not 0.0 < minimum_size < 1.0:
            raise ValueError(f"minimum_size must be in (0, 1), got {minimum_size}")
        self.hidden = hidden
        self.minimum_size = minimum_size
        self.hidden_layer = tf.keras.layers.Dense(
            hidden, kernel_initializer="he_normal", name="hidden_layer"
        )
        self.output_layer = tf.keras.layers.Dense(4, name="output_layer")

    def call(self, object_vectors: tf.Tensor) -> tf.Tensor:
        hidden = tf.nn.leaky_relu(self.hidden_layer(object_vectors), alpha=0.01)  # [B, O, hidden]
        shares = tf.sigmoid(self.output_layer(hidden))  # [B, O, 4]
        size = self.minimum_size + (1.0 - self.minimum_size) * shares[..., :2]  # [B, O, 2] (h, w)
        start = (1.0 - size) * shares[..., 2:]  # [B, O, 2] (y0, x0)
        stop = tf.minimum(start + size, 1.0)  # [B, O, 2], whatever the rounding
        return tf.concat([start, stop], axis=-1)  # [B, O, 4]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden": self.hidden,
            "minimum_size": self.minimum_size,
        }
