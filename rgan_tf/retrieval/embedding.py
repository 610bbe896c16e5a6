"""Learned embeddings of patches from frozen backbone features: φ and the co-occurrence space."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.retrieval.tensor_arguments import check_above_zero, is_real


class _UnitNormPerceptron(tf.keras.layers.Layer):
    """Fully-connected layers with ReLU between them and unit output vectors.

    Input features are standardised with statistics of the training bank (see `set_statistics`) and
    normalised per vector, so the scale does not depend on the width of the backbone's output.
    """

    def __init__(
        self, *, sizes: Sequence[int], last_kernel: str = "glorot_uniform", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.input_spec = tf.keras.layers.InputSpec(min_ndim=1)
        given, sizes = sizes, tuple(sizes) if isinstance(sizes, Iterable) else ()
        if not sizes or not all(_is_size(size) for size in sizes):
            shown = sizes or given
            raise ValueError(f"sizes must be a list of positive integers, got {shown!r:.80}")
        self.sizes = tuple(int(size) for size in sizes)
        self._normalisation = tf.keras.layers.LayerNormalization(center=False, scale=False)
        self._hidden = [
            tf.keras.layers.Dense(size, activation="relu", kernel_initializer="he_normal")
            for size in self.sizes[:-1]
        ]
        self._output = tf.keras.layers.Dense(self.sizes[-1], kernel_initializer=last_kernel)

    def build(self, input_shape: Any) -> None:
        """Creates all weights for features of width `input_shape[-1]`.

        Raises:
          ValueError: if the width is not known.
        """
        width = tf.TensorShape(input_shape)[-1]
        if width is None:
            raise ValueError(f"{self.name}: features must have a known width, got {input_shape}")
        self.input_spec = tf.keras.layers.InputSpec(min_ndim=1, axes={-1: width})
        fixed = {"trainable": False, "dtype": tf.float32, "experimental_autocast": False}
        self._mean = self.add_weight("mean", [width], initializer="zeros", **fixed)
        self._deviation = self.add_weight("deviation", [width], initializer="ones", **fixed)
        for layer, layer_width in zip(
            [self._normalisation, *self._hidden, self._output],
            [width, width, *self.sizes[:-1]],
            strict=True,
        ):
            with tf.name_scope(layer.name):  # unique names, for weights in HDF5
                layer.build(tf.TensorShape([None, layer_width]))
        super().build(input_shape)

    def set_statistics(self, features: np.ndarray) -> None:
        """Standardises inputs with the mean and deviation of these features.

        Args:
          features: [N, Dx], of the training bank or a sample of it. A constant dimension is centred
            but not scaled.

        Raises:
          ValueError: if there are none, they are of another shape, or not finite.
        """
        features = _array(features)
        is_number = features.dtype == bool or is_real(features)
        is_table = features.ndim == 2 and features.size and is_number
        if is_table:
            with np.errstate(over="ignore", invalid="ignore"):
                mean = features.mean(axis=0, dtype=np.float64)  # [Dx]
                deviation = features.std(axis=0, dtype=np.float64)  # [Dx]
                # Of values that are not finite, or beyond float32, these are not finite either.
                is_table = np.isfinite(np.array([mean, deviation], np.float32)).all()
        if not is_table:
            raise ValueError(
                f"features must be finite numbers [N, Dx], at least one row, got {features.dtype} "
                f"{features.shape}"
            )
        if not self.built:
            self.build((None, features.shape[1]))
        if features.shape[1] != self._mean.shape[0]:
            raise ValueError(
                f"features must be [N, {self._mean.shape[0]}], as the layer was built, got "
                f"{features.shape}"
            )
        self._mean.assign(mean)
        self._deviation.assign(np.where(deviation > 1e-6, deviation, 1.0))

    def standardise(self, features: tf.Tensor) -> tf.Tensor:
        """The input of the first fully-connected layer: [..., Dx] -> [..., Dx] float32."""
        # Flat, because Keras normalises the axis that was last when the layer was built.
        flat = tf.cast(tf.reshape(features, [-1, features.shape[-1]]), tf.float32)  # [M, Dx]
        flat = self._normalisation((flat - self._mean) / self._deviation)  # [M, Dx]
        return tf.reshape(flat, tf.shape(features))  # [..., Dx]

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Embeds features of patches.

        Args:
          features: [..., Dx] float, frozen backbone features.

        Returns:
          [..., D] float32, vectors of length 1.
        """
        width = features.shape[-1]
        standard = self.standardise(tf.reshape(features, [-1, width]))  # [M, Dx]
        vectors = standard  # [M, Dx]
        for layer in self._hidden:
            vectors = layer(vectors)  # [M, size]
        vectors = tf.cast(self._output(vectors), tf.float32)  # [M, D]
        vectors += self._base(standard)  # [M, D]
        vectors = tf.math.l2_normalize(vectors, axis=-1)  # [M, D]
        shape = tf.concat([tf.shape(features)[:-1], [self.sizes[-1]]], axis=0)
        vectors = tf.reshape(vectors, shape)  # [..., D]
        vectors.set_shape([*features.shape[:-1], self.sizes[-1]])
        return vectors

    def _base(self, standard: tf.Tensor) -> tf.Tensor | float:
        """Is added to the last layer's output [M, D]; 0 unless a subclass overrides it."""
        return 0.0

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "sizes": list(self.sizes)}


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class PatchEmbedding(_UnitNormPerceptron):
    """The learnable patch embedding φ, with the learned scale α of its distances.

    Unlike in the paper, φ is normalised. No distance between unit vectors exceeds 2, far below the
    Gumbel noise, so a positive scale is learned too (method §3.6).

    Args:
      sizes: widths of the fully-connected layers, the last one D. Each at least 1.
      initial_scale: initial α, above 0 and finite.
      start: "random", or "frozen": the layers start at zero and are added to the half-whitened
        principal components of the frozen features, which `set_statistics` computes. So φ starts at
        the backbone and learns improvements on it.

    Raises:
      ValueError: if a size is not an integer from 1 on, `initial_scale` is not above 0 and finite,
        or for another `start`.

    Example:
      ```python
      import rgan_tf
      import tensorflow as tf

      embed = rgan_tf.PatchEmbedding(sizes=(64, 16))
      assert embed(tf.random.normal([2, 3, 1008])).shape == [2, 3, 16]
      ```
    """

    def __init__(
        self,
        *,
        sizes: Sequence[int] = (512, 256, 128),
        initial_scale: float = 10.0,
        start: str = "random",
        **kwargs: Any,
    ) -> None:
        if start not in ("random", "frozen"):
            raise ValueError(f"start must be random or frozen, got {start!r}")
        last_kernel = "zeros" if start == "frozen" else "glorot_uniform"
        super().__init__(sizes=sizes, last_kernel=last_kernel, **kwargs)
        check_above_zero("initial_scale", initial_scale)
        self.initial_scale = float(initial_scale)
        self.start = start

    def build(self, input_shape: Any) -> None:
        """Creates all weights, including the logarithm of the scale."""
        self._log_scale = self.add_weight(
            "log_scale",
            [],
            initializer=tf.keras.initializers.Constant(math.log(self.initial_scale)),
            dtype=tf.float32,
            experimental_autocast=False,
        )
        if self.start == "frozen":
            self._components = self.add_weight(
                "components",
                [int(input_shape[-1]), self.sizes[-1]],
                initializer="glorot_uniform",
                trainable=False,
                dtype=tf.float32,
                experimental_autocast=False,
            )
        super().build(input_shape)

    def set_statistics(self, features: np.ndarray) -> None:
        """Standardises inputs by these features, and finds the components that φ may start from.

        Args:
          features: [N, Dx], of the training bank or a sample of it. A constant dimension is centred
            but not scaled.

        Raises:
          ValueError: if there are none, they are of another shape, or not finite.
        """
        super().set_statistics(features)
        if self.start == "frozen":
            standard = self.standardise(tf.cast(features, tf.float32)).numpy()
            self._components.assign(_half_whitening(standard, self.sizes[-1]))

    def _base(self, standard: tf.Tensor) -> tf.Tensor | float:
        return standard @ self._components if self.start == "frozen" else 0.0  # [M, D]

    def untrained(self, seed: int) -> PatchEmbedding:
        """A copy of φ from before training: same statistics and start, new random layers.

        Args:
          seed: of the random layers.

        Raises:
          ValueError: before this layer has weights.
        """
        self._check_built()
        other = type(self).from_config(self.get_config())
        other.build((None, int(self._mean.shape[0])))
        for variable, mine in zip(other.variables, self.variables, strict=True):
            if not mine.trainable:
                variable.assign(mine)
        kernels = [v for v in other.trainable_variables if len(v.shape) == 2]
        for number, kernel in enumerate(kernels):
            if np.any(kernel):  # with start "frozen" the last layer starts at zero
                kernel.assign(tf.keras.initializers.HeNormal(seed + number)(kernel.shape))
        return other

    @property
    def scale(self) -> tf.Tensor:
        """α: scalar float32, above 0; multiplies the distances between embeddings.

        Raises:
          ValueError: before the layer has weights.
        """
        self._check_built()
        return tf.exp(self._log_scale)

    def _check_built(self) -> None:
        if not self.built:
            raise ValueError(f"{self.name}: has no weights yet; call it, or build it, first")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        own = {"initial_scale": self.initial_scale, "start": self.start}
        return {**super().get_config(), **own}


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class CooccurrenceEmbedding(_UnitNormPerceptron):
    """C_occ: maps patches that occur in one image close together (method §4.3).

    Args:
      sizes: widths of the fully-connected layers, the last one Dc. Each at least 1.

    Call args:
      features: [..., Dx] float, frozen backbone features.

    Returns:
      [..., Dc] float32, unit norm.

    Raises:
      ValueError: if a size is not an integer from 1 on.
    """

    def __init__(self, *, sizes: Sequence[int] = (512, 128), **kwargs: Any) -> None:
        super().__init__(sizes=sizes, **kwargs)


def _is_size(value: Any) -> bool:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and value >= 1 and float(value).is_integer()


def _array(values: Any) -> np.ndarray:
    """An array of any values; of those that make no array, an array of objects."""
    try:
        return np.asarray(values)
    except ValueError:  # rows of different lengths
        return np.asarray(None)


def _half_whitening(vectors: np.ndarray, width: int) -> np.ndarray:
    """Maps vectors to their first principal components, each divided by the root of its deviation.

    Half way between plain projection, where a few directions of large variance dominate, and
    whitening, which amplifies the noise of small ones.

    Args:
      vectors: [N, Dx].
      width: D. If Dx is smaller, the last columns are 0.

    Returns:
      [Dx, D] float32; mapped vectors have a mean square length of 1.
    """
    # One row has no covariance, and that of one column is a scalar.
    covariance = np.cov(np.asarray(vectors, np.float64).T) if len(vectors) > 1 else 0.0
    covariance = np.broadcast_to(covariance, [vectors.shape[1]] * 2)  # [Dx, Dx]
    variances, directions = np.linalg.eigh(covariance)
    order = np.argsort(variances)[::-1][:width]
    kept = np.maximum(variances[order], 1e-6)
    result = np.zeros([vectors.shape[1], width])
    result[:, : len(order)] = directions[:, order] * kept**-0.25
    length = np.sqrt(np.mean(np.sum((vectors @ result) ** 2, axis=1)))
    return (result / max(length, 1e-6)).astype(np.float32)
