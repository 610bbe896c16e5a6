"""Predicts valid boxes from object vectors."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class BoxPredictor(tf.keras.layers.Layer):
    """Predicts one box per object (method of the paper, section 3.1).

    Differs from the public code, whose final ReLU gives inverted boxes: the network predicts the
    share of the image that the box takes and its place in the remaining room, so every output is
    ordered, inside the image and at least `minimum_size` wide and high.

    Args:
      hidden: size of the hidden layer, at least 1.
      minimum_size: smallest side of a box, fraction of the image in (0, 1).
      instance_codes: whether interchangeable objects, which have equal vectors, are distinguished
        by their rank in their group (the paper puts them on top of each other). Boxes of objects
        that are alone in their group do not depend on the codes' weights; these start at 0, so the
        codes have no effect before training. Off, there are no such weights.

    Call args:
      object_vectors: [B, O, W] float32.
      instances: [B, O, 2] int32 (rank, count) from `interchangeable.instances`; required with
        `instance_codes`, otherwise ignored.

    Returns:
      [B, O, 4] float32 boxes [y0, x0, y1, x1] in [0, 1]. Boxes of padded objects are valid but
      meaningless.

    Raises:
      ValueError: if an argument is out of range, or `instances` is missing but required.
    """

    def __init__(
        self,
        *,
        hidden: int = 512,
        minimum_size: float = 0.02,
        instance_codes: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {hidden}")
        if not 0.0 < minimum_size < 1.0:
            raise ValueError(f"minimum_size must be in (0, 1), got {minimum_size}")
        self.hidden = hidden
        self.minimum_size = minimum_size
        self.instance_codes = instance_codes
        self.hidden_layer = tf.keras.layers.Dense(
            hidden, kernel_initializer="he_normal", name="hidden_layer"
        )
        self.output_layer = tf.keras.layers.Dense(4, name="output_layer")
        if instance_codes:
            # Without bias, so that a code of zeros adds nothing.
            self.instance_layer = tf.keras.layers.Dense(
                hidden, use_bias=False, kernel_initializer="zeros", name="instance_layer"
            )

    def call(self, object_vectors: tf.Tensor, instances: tf.Tensor | None = None) -> tf.Tensor:
        hidden = self.hidden_layer(object_vectors)  # [B, O, hidden]
        if self.instance_codes:
            if instances is None:
                raise ValueError("a box predictor with instance codes needs instances, got None")
            hidden += self.instance_layer(instance_features(instances))  # [B, O, hidden]
        hidden = tf.nn.leaky_relu(hidden, alpha=0.01)  # [B, O, hidden]
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
            "instance_codes": self.instance_codes,
        }


def instance_features(instances: tf.Tensor) -> tf.Tensor:
    """The rank of an object among interchangeable ones as smooth numbers.

    Args:
      instances: [B, O, 2] int32 (rank, count), 0 <= rank < count.

    Returns:
      [B, O, 4] float32 in [-2, 1]: with c = 2 (rank + 0.5) / count - 1, which runs from left to
      right through 0, the features c, sin(pi c), cos(pi c) - 1 and 1 - 1 / count. The last
      distinguishes the middle of a group from a lone object, for which all are exactly 0.
    """
    rank, count = tf.unstack(tf.cast(instances, tf.float32), axis=-1)  # [B, O] each
    centred = (2.0 * rank + 1.0) / count - 1.0  # [B, O]
    angle = math.pi * centred  # [B, O]
    return tf.stack(
        [centred, tf.sin(angle), tf.cos(angle) - 1.0, 1.0 - 1.0 / count], axis=-1
    )  # [B, O, 4]
