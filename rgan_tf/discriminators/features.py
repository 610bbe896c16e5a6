"""A discriminator on the maps of a frozen pretrained network (Sauer et al., NeurIPS 2021).

Real and generated images differ in the maps of a pretrained network long before a discriminator
that starts from pixels has found the differences. Heads on the raw maps would use a few telling
channels and leave the others unconstrained; fixed random mixing across channels and scales spreads
every channel over everything that the heads see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.discriminators.pixels import ImageDiscriminator
from rgan_tf.generator.layout import crop_objects
from rgan_tf.seeds import Purpose, derive_seed

_SMALLEST_SIDE = 4  # px; heads halve their map down to this
_SMALLEST_DEVIATION = 1e-6  # of a map; a constant map teaches nothing


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class RandomMixing(tf.keras.layers.Layer):
    """Mixes maps across channels, and from deep to shallow across scales; never trained.

    Always computes in float32. The kernels are a function of the seed, but are saved too.

    Args:
      sides: px, of the square maps, shallow to deep; none larger than the one before.
      map_channels: channels of each map.
      channels: of every result, at least 1.
      seed: of the kernels.

    Call args:
      maps: each [B, side, side, map channels] float32.

    Returns:
      For each map [B, side, side, channels] float32.

    Raises:
      ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        *,
        sides: Sequence[int],
        map_channels: Sequence[int],
        channels: int = 64,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**{"dtype": "float32", **kwargs, "trainable": False})
        self.sides, self.map_channels = tuple(sides), tuple(map_channels)
        self.channels, self.seed = channels, seed
        if not self.sides or len(self.sides) != len(self.map_channels):
            raise ValueError(f"one side per map is needed, got {self.sides}, {self.map_channels}")
        if list(self.sides) != sorted(self.sides, reverse=True) or self.sides[-1] < 1:
            raise ValueError(f"sides must go from shallow to deep, got {self.sides}")
        if min(channels, *self.map_channels) < 1:
            raise ValueError(f"channels must be at least 1, got {channels}, {self.map_channels}")
        self._offsets, self._across, self._around = [], [], []
        for index, depth in enumerate(self.map_channels):
            self._offsets.append(self._fixed(f"offset_{index}", [depth], tf.zeros))
            for kernels, name, shape in (
                (self._across, "across_channels", [1, 1, depth, channels]),
                (self._around, "across_scales", [3, 3, channels, channels]),
            ):
                stream = 2 * index + (name == "across_scales")
                kernels.append(self._fixed(f"{name}_{index}", shape, self._kaiming(stream)))

    def calibrate(self, maps: Sequence[tf.Tensor]) -> None:
        """Normalises maps of this kind to mean 0 per channel and deviation 1 over all.

        The deviations of a pretrained network's maps differ by a factor of ten and more; the
        largest would dominate the sum.

        Args:
          maps: as for a call, of images that roughly look like photographs.
        """
        for index, values in enumerate(maps):
            mean = tf.reduce_mean(values, axis=[0, 1, 2])  # [C]
            deviation = tf.sqrt(tf.reduce_mean(tf.square(values - mean)))  # []
            kernel = self._kaiming(2 * index)(self._across[index].shape)  # [1, 1, C, channels]
            self._offsets[index].assign(mean)
            self._across[index].assign(kernel / tf.maximum(deviation, _SMALLEST_DEVIATION))

    def call(self, maps: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        mixed: list[tf.Tensor] = []  # deep to shallow
        for index in reversed(range(len(self.sides))):
            values = maps[index] - self._offsets[index]  # [B, h, w, C]
            values = tf.nn.conv2d(values, self._across[index], 1, "SAME")  # [B, h, w, channels]
            if mixed:
                deeper = _resize(mixed[-1], self.sides[index])  # [B, h, w, channels]
                values = (values + deeper) * 0.5**0.5  # [B, h, w, channels], deviation stays
            mixed.append(tf.nn.conv2d(values, self._around[index], 1, "SAME"))  # [B, h, w, chan.]
        return mixed[::-1]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "sides": list(self.sides),
            "map_channels": list(self.map_channels),
            "channels": self.channels,
            "seed": self.seed,
        }

    def _fixed(self, name: str, shape: Sequence[int], values) -> tf.Variable:
        return self.add_weight(
            name, shape, trainable=False, initializer=lambda shape, dtype=None: values(shape)
        )

    def _kaiming(self, stream: int):
        """Makes a kernel that preserves the deviation, given its shape."""

        def draw(shape):
            fan_in = tf.TensorShape(shape)[:-1].num_elements()
            seed = derive_seed(self.seed, stream, 0, Purpose.FEATURE_MIXING)  # [2]
            return tf.random.stateless_normal(shape, seed, alg="philox") * fan_in**-0.5

        return draw


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class FeatureDiscriminator(tf.keras.layers.Layer):
    """Judges an image by its maps in a frozen network: one head per map, after `RandomMixing`.

    Args:
      sides, map_channels, seed: see `RandomMixing`.
      channels: of the mixed maps and of the heads, at least 1.
      spectral_normalization: of the heads; see `ImageDiscriminator`.

    Call args:
      maps: each [B, side, side, map channels] float32, shallow to deep.
      training: see `ImageDiscriminator`.

    Returns:
      For each map logits [B, h, w] float32, positive = real. Heads halve their map until its side
      is at most 4, at least once.

    Raises:
      ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        *,
        sides: Sequence[int],
        map_channels: Sequence[int],
        channels: int = 64,
        seed: int = 0,
        spectral_normalization: bool = True,
        **kwargs: Any,
    ):
        # The mixing gets the maps in float32, whatever precision the heads have.
        super().__init__(autocast=False, **kwargs)
        self.channels, self.seed = channels, seed
        self.spectral_normalization = spectral_normalization
        self.mixing = RandomMixing(
            sides=sides, map_channels=map_channels, channels=channels, seed=seed, name="mixing"
        )
        self.heads = [
            ImageDiscriminator(
                channels=[channels] * _halvings(side),
                spectral_normalization=spectral_normalization,
                name=f"head_{index}",
            )
            for index, side in enumerate(sides)
        ]

    def call(self, maps: Sequence[tf.Tensor], training: bool = False) -> list[tf.Tensor]:
        mixed = self.mixing(maps)  # [B, side, side, channels] each
        return [
            head(values, training=training) for head, values in zip(self.heads, mixed, strict=True)
        ]  # [B, h, w] each

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "sides": list(self.mixing.sides),
            "map_channels": list(self.mixing.map_channels),
            "channels": self.channels,
            "seed": self.seed,
            "spectral_normalization": self.spectral_normalization,
        }


def noise_pictures(count: int, size: int, seed: int) -> tf.Tensor:
    """Noise of all scales with the contrast of photographs, for calibrating maps.

    Args:
      count: B.
      size: px, at least 2.
      seed: of the noise.

    Returns:
      [B, size, size, 3] float32 in [-1, 1].
    """
    total = tf.zeros([count, size, size, 3])
    side = 2
    while side <= size:
        noise = tf.random.stateless_uniform(
            [count, side, side, 3],
            derive_seed(seed, side, 1, Purpose.FEATURE_MIXING),
            minval=-1.0,
            alg="philox",
        )  # [B, side, side, 3]
        total += _resize(noise, size)  # [B, size, size, 3]
        side *= 2
    return tf.clip_by_value(0.5 * total / tf.math.reduce_std(total), -1.0, 1.0)


def _halvings(side: int) -> int:
    """How often a head halves its map: until its side is at most 4, at least once."""
    count = 1
    while -(-side // 2**count) > _SMALLEST_SIDE:
        count += 1
    return count


def _resize(values: tf.Tensor, side: int) -> tf.Tensor:
    """Bilinear resize: [B, h, w, C] -> [B, side, side, C], by matrix products as in crops."""
    whole = tf.tile(tf.constant([[[0.0, 0.0, 1.0, 1.0]]]), [tf.shape(values)[0], 1, 1])  # [B, 1, 4]
    return crop_objects(values, whole, side)[:, 0]  # [B, side, side, C]
