"""Learned embeddings of patches, on frozen backbone features: φ and the co-occurrence space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


class _UnitNormPerceptron(tf.keras.layers.Layer):
    """Fully-connected layers with ReLU between them and output vectors of length 1.

    Input features are standardised with statistics of the training bank (see `set_statistics`),
    then normalised per vector, so that the width of the backbone's output has no say in the scale.
    """

    def __init__(self, *, sizes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not sizes or min(sizes) < 1:
            raise ValueError(f"sizes must be positive integers, got {tuple(sizes)}")
        self.sizes = tuple(int(size) for size in sizes)
        self._normalisation = tf.keras.layers.LayerNormalization(center=False, scale=False)
        self._hidden = [
            tf.keras.layers.Dense(size, activation="relu", kernel_initializer="he_normal")
            for size in self.sizes[:-1]
        ]
        self._output = tf.keras.layers.Dense(self.sizes[-1])

    def build(self, input_shape: Any) -> None:
        """Creates all weights for features of width `input_shape[-1]`."""
        width = int(input_shape[-1])
        fixed = {"trainable": False, "dtype": tf.float32, "experimental_autocast": False}
        self._mean = self.add_weight("mean", [width], initializer="zeros", **fixed)
        self._deviation = self.add_weight("deviation", [width], initializer="ones", **fixed)
        for layer, layer_width in zip(
            [self._normalisation, *self._hidden, self._output],
            [width, width, *self.sizes[:-1]],
            strict=True,
        ):
            layer.build(tf.TensorShape([None, layer_width]))
        super().build(input_shape)

    def set_statistics(self, features: np.ndarray) -> None:
        """Fixes the input standardisation to the mean and deviation of these features.

        Args:
          features: [N, Dx], of the training bank or a sample of it. A constant dimension is only
            centred.
        """
        features = np.asarray(features)
        if not self.built:
            self.build((None, features.shape[-1]))
        deviation = features.std(axis=0, dtype=np.float64)
        self._mean.assign(features.mean(axis=0, dtype=np.float64))
        self._deviation.assign(np.where(deviation > 1e-6, deviation, 1.0))

    def standardise(self, features: tf.Tensor) -> tf.Tensor:
        """What the first fully-connected layer sees: [..., Dx] -> [..., Dx] float32."""
        # Flat, because Keras normalises the axis that was the last one when the layer was built.
        flat = tf.cast(tf.reshape(features, [-1, features.shape[-1]]), tf.float32)  # [M, Dx]
        flat = self._normalisation((flat - self._mean) / self._deviation)  # [M, Dx]
        return tf.reshape(flat, tf.shape(features))  # [..., Dx]

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Embeds [..., Dx] features to [..., D] float32 vectors of length 1."""
        width = features.shape[-1]
        vectors = self.standardise(tf.reshape(features, [-1, width]))  # [M, Dx]
        for layer in self._hidden:
            vectors = layer(vectors)  # [M, size]
        vectors = tf.cast(self._output(vectors), tf.float32)  # [M, D]
        vectors = tf.math.l2_normalize(vectors, axis=-1)  # [M, D]
        shape = tf.concat([tf.shape(features)[:-1], [self.sizes[-1]]], axis=0)
        vectors = tf.reshape(vectors, shape)  # [..., D]
        vectors.set_shape([*features.shape[:-1], self.sizes[-1]])
        return vectors

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "sizes": list(self.sizes)}


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class PatchEmbedding(_UnitNormPerceptron):
    """The learnable patch embedding φ, with the learned scale α of its distances.

    Differs from the paper, which leaves φ unnormalised: on unit vectors no distance exceeds 2,
    far below the Gumbel noise, so a positive scale is learned beside it (method §3.6).

    Args:
      sizes: widths of the fully-connected layers, the last one D. Each at least 1.
      initial_scale: initial α, above 0.

    Call args:
      features: [..., Dx] float, frozen backbone features.

    Returns:
      [..., D] float32, unit norm.

    Raises:
      ValueError: if a size is below 1 or `initial_scale` is not above 0.
    """

    def __init__(
        self, *, sizes: Sequence[int] = (512, 256, 128), initial_scale: float = 10.0, **kwargs: Any
    ) -> None:
        super().__init__(sizes=sizes, **kwargs)
        if initial_scale <= 0:
            raise ValueError(f"initial_scale must be above 0, got {initial_scale}")
        self.initial_scale = float(initial_scale)

    def build(self, input_shape: Any) -> None:
        """Creates all weights, the logarithm of the scale among them."""
        self._log_scale = self.add_weight(
            "log_scale",
            [],
            initializer=tf.keras.initializers.Constant(math.log(self.initial_scale)),
            dtype=tf.float32,
            experimental_autocast=False,
        )
        super().build(input_shape)

    @property
    def scale(self) -> tf.Tensor:
        """α: scalar float32, above 0; multiplies the distances between embeddings."""
        return tf.exp(self._log_scale)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "initial_scale": self.initial_scale}


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class CooccurrenceEmbedding(_UnitNormPerceptron):
    """C_occ: places patches that occur in one image close together (method §4.3).

    Args:
      sizes: widths of the fully-connected layers, the last one Dc. Each at least 1.

    Call args:
      features: [..., Dx] float, frozen backbone features.

    Returns:
      [..., Dc] float32, unit norm.

    Raises:
      ValueError: if a size is below 1.
    """

    def __init__(self, *, sizes: Sequence[int] = (512, 128), **kwargs: Any) -> None:
        super().__init__(sizes=sizes, **kwargs)
