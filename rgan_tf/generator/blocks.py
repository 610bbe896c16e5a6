"""Convolution pieces shared by the generators.

There are no normalisation layers, so an image does not depend on the others in its batch, and
training on several replicas equals training on one. Residual branches start small instead.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

SLOPE = 0.2  # of every leaky ReLU in image space


def convolution(
    filters: int,
    size: int,
    *,
    name: str,
    strides: int = 1,
    use_bias: bool = True,
    gain: float = 1.0,
) -> tf.keras.layers.Conv2D:
    """A "same" convolution with He initialisation.

    Args:
      filters: output channels.
      size: kernel side.
      name: name of the layer.
      strides: stride in both directions.
      use_bias: whether a bias is added.
      gain: factor on the initial standard deviation; positive so that gradients pass from the
        first step on, or 0 for a zero kernel, whose output starts at 0 but which learns at once.
    """
    scaled = tf.keras.initializers.VarianceScaling(
        2.0 * gain**2 or 1.0, mode="fan_in", distribution="truncated_normal"
    )
    return tf.keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=use_bias,
        kernel_initializer=scaled if gain else "zeros",
        name=name,
    )


def activate(values: tf.Tensor) -> tf.Tensor:
    """Leaky ReLU with the slope used in image space."""
    return tf.nn.leaky_relu(values, alpha=SLOPE)


def upsample(values: tf.Tensor) -> tf.Tensor:
    """Nearest-neighbour doubling, [B, H, W, C] -> [B, 2H, 2W, C].

    Written with broadcasting because nearest `UpSampling2D` has no gradient under XLA on a CPU.
    """
    height, width, channels = values.shape[1:]
    values = values[:, :, tf.newaxis, :, tf.newaxis]  # [B, H, 1, W, 1, C]
    values = tf.tile(values, [1, 1, 2, 1, 2, 1])  # [B, H, 2, W, 2, C]
    return tf.reshape(values, [-1, 2 * height, 2 * width, channels])  # [B, 2H, 2W, C]


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class ResidualBlock(tf.keras.layers.Layer):
    """x + conv(act(conv(act(x)))), the second convolution starting at a tenth of its scale.

    Args:
      channels: channels of input and output, at least 1.

    Call args:
      values: [B, H, W, channels] float32.

    Returns:
      [B, H, W, channels] float32.

    Raises:
      ValueError: if channels < 1.
    """

    def __init__(self, *, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        self.channels = channels
        self.first = convolution(channels, 3, name="first")
        self.second = convolution(channels, 3, gain=0.1, name="second")

    def call(self, values: tf.Tensor) -> tf.Tensor:
        hidden = self.first(activate(values))  # [B, H, W, C]
        return values + self.second(activate(hidden))  # [B, H, W, C]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}
