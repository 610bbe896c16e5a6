"""Image and object discriminators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.adapters.addons import spectral_normalization as _spectral_normalization
from rgan_tf.generator import blocks

# With its largest singular value at 1, a 4 x 4 convolution passes on about half of the deviation of
# its input. After four layers the logits of different crops would differ by thousandths, and
# neither head would learn. A gain of 2 after each normalised layer keeps the deviation level and
# the discriminator bounded. A gain of 4 learns faster alone, but from the first step on its
# gradient drives a new generator into saturation.
SPECTRAL_GAIN = 2.0


class _Trunk(tf.keras.layers.Layer):
    """4 x 4 convolutions of stride 2, each followed by a leaky ReLU."""

    def __init__(self, *, channels: Sequence[int], spectral_normalization: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.gain = SPECTRAL_GAIN if spectral_normalization else 1.0
        channels = tuple(channels)
        if not channels or min(channels) < 1:
            raise ValueError(f"channels needs entries above 0, got {channels}")
        self.convolutions = [
            _normalized(
                blocks.convolution(width, 4, strides=2, name=f"convolution_{index}"),
                spectral_normalization,
            )
            for index, width in enumerate(channels)
        ]

    def call(self, values: tf.Tensor, training: bool = False) -> tf.Tensor:
        for layer in self.convolutions:
            values = blocks.activate(_apply(layer, values, training) * self.gain)  # [N, h, w, c]
        return values


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class ImageDiscriminator(tf.keras.layers.Layer):
    """Judges overlapping parts of an image (sg2im's trunk with its classifier applied).

    Args:
      channels: channels of the convolutions, each halving the resolution.
      spectral_normalization: whether every kernel is divided by its largest singular value; the
        estimate moves by one power iteration per call with `training=True`.

    Call args:
      images: [B, H, W, 3] float32 in [-1, 1].
      training: whether this call may update the spectral estimate.

    Returns:
      [B, h, w] float32 logits, positive = real; h = H / 2^len(channels).

    Raises:
      ValueError: if channels is empty or has an entry below 1.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int] = (64, 128, 256),
        spectral_normalization: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.channels = tuple(channels)
        self.spectral_normalization = spectral_normalization
        self.trunk = _Trunk(
            channels=channels, spectral_normalization=spectral_normalization, name="trunk"
        )
        self.head = _normalized(
            blocks.convolution(1, 1, gain=0.5**0.5, name="head"), spectral_normalization
        )

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        values = self.trunk(images, training=training)  # [B, h, w, c]
        logits = _apply(self.head, values, training)[..., 0]  # [B, h, w]
        return tf.cast(logits, tf.float32)  # [B, h, w]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": list(self.channels),
            "spectral_normalization": self.spectral_normalization,
        }


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class ObjectDiscriminator(tf.keras.layers.Layer):
    """Judges crops of objects and names their category (auxiliary classifier).

    The class head is never normalised: it is a classifier, not a critic, and bounding its slope
    would only weaken it.

    Args:
      num_objects: rows of the object vocabulary, including reserved ids; at least 2.
      channels: channels of the convolutions, each halving the resolution.
      hidden: size of the common fully connected layer, at least 1.
      spectral_normalization: see `ImageDiscriminator`.

    Call args:
      crops: [B, O, h, w, 3] float32 in [-1, 1].
      training: whether this call may update the spectral estimate.

    Returns:
      logits [B, O] float32, positive = real, and class logits [B, O, num_objects] float32.
      Rows of padded objects are meaningless.

    Raises:
      ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        *,
        num_objects: int,
        channels: Sequence[int] = (64, 128, 256),
        hidden: int = 1024,
        spectral_normalization: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if num_objects < 2:
            raise ValueError(f"num_objects must be at least 2, got {num_objects}")
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {hidden}")
        self.num_objects = num_objects
        self.channels = tuple(channels)
        self.hidden = hidden
        self.spectral_normalization = spectral_normalization
        self.trunk = _Trunk(
            channels=channels, spectral_normalization=spectral_normalization, name="trunk"
        )
        self.hidden_layer = _normalized(
            tf.keras.layers.Dense(hidden, kernel_initializer="he_normal", name="hidden_layer"),
            spectral_normalization,
        )
        self.head = _normalized(tf.keras.layers.Dense(1, name="head"), spectral_normalization)
        # Small at first: the hidden layer's values are large, and the generator would first learn
        # from confident random guesses.
        self.class_head = tf.keras.layers.Dense(
            num_objects,
            kernel_initializer=tf.keras.initializers.VarianceScaling(0.01),
            name="class_head",
        )

    def call(self, crops: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        objects = crops.shape[1]
        values = tf.reshape(crops, [-1, *crops.shape[2:]])  # [B * O, h, w, 3]
        values = self.trunk(values, training=training)  # [B * O, h', w', c]
        values = tf.reduce_mean(values, axis=[1, 2])  # [B * O, c]
        values = _apply(self.hidden_layer, values, training) * self.trunk.gain  # [B * O, hidden]
        values = blocks.activate(values)  # [B * O, hidden]
        logits = tf.cast(_apply(self.head, values, training), tf.float32)  # [B * O, 1]
        classes = tf.cast(self.class_head(values), tf.float32)  # [B * O, num_objects]
        return (
            tf.reshape(logits, [-1, objects]),
            tf.reshape(classes, [-1, objects, self.num_objects]),
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_objects": self.num_objects,
            "channels": list(self.channels),
            "hidden": self.hidden,
            "spectral_normalization": self.spectral_normalization,
        }


def _normalized(layer: tf.keras.layers.Layer, enabled: bool) -> tf.keras.layers.Layer:
    return _spectral_normalization(layer) if enabled else layer


def _apply(layer: tf.keras.layers.Layer, values: tf.Tensor, training: bool) -> tf.Tensor:
    if isinstance(layer, tf.keras.layers.Wrapper):
        return layer(values, training=training)
    return layer(values)
