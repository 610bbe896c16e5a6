"""Frozen pretrained networks as feature extractors."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from rgan_tf.arguments import path_text
from rgan_tf.backbones.networks import SPECS, NetworkSpec, preprocess
from rgan_tf.backbones.weights import (
    find_weights,
    load_classifier,
    load_layers,
    load_layers_in_order,
    save_layers,
)
from rgan_tf.devices import grow_gpu_memory
from rgan_tf.errors import BadInput, one_line
from rgan_tf.registered_names import OPEN_TO_MORE
from rgan_tf.storage.files import sha256_of

MIN_PERCEPTUAL_SIDE = 32  # px; below it the deepest map of SqueezeNet is empty


def load_backbone(name: str, weights_dir: str | Path | None = None) -> Backbone:
    """Finds the weights of a pretrained network.

    Searches `weights_dir`, the folder named by RGAN_WEIGHTS, the files shipped with a release, and
    last the Keras Applications store.

    Args:
      name: "mobilenet_v2", "squeezenet", "resnet50", "vgg19", "inception_v3", or one added by
        `register_backbone`.
      weights_dir: a folder with weight files, or None.

    Returns:
      The backbone; each of its networks is loaded at its first use.

    Raises:
      BadInput: if the name is unknown, or the weights are not found.
    """
    if name not in SPECS:
        raise BadInput(
            f"backbone {name!r} is not known; choose one of {', '.join(SPECS)}; {OPEN_TO_MORE}"
        )
    return _opened(name, SPECS[name], weights_dir)


def _opened(name: str, spec: NetworkSpec, weights_dir: str | Path | None) -> Backbone:
    grow_gpu_memory()
    return Backbone(name, spec, weights_dir)


def _copied(name: str, spec: NetworkSpec, folder: str | None, digest: str | None) -> Backbone:
    """The copy of a backbone in another process.

    Raises:
      BadInput: if the weights found here are not those of the original, or none are.
    """
    copy = _opened(name, spec, folder)
    if copy.feature_digest() != digest:
        raise BadInput(
            f"backbone {name}: a worker on {platform.node()} finds other weights than the command; "
            "every machine has to see the same file under the same path (--weights-dir, "
            "RGAN_WEIGHTS), and a network of your own has to have the same weights in every process"
        )
    return copy


class Backbone:
    """One frozen pretrained network, seen through selected layers.

    Deliberately not a `tf.Module`: a model that holds one neither saves it in its checkpoints nor
    counts its variables. An exported graph, which needs it, tracks `feature_network`.

    Attributes:
      name: as given to `load_backbone`.
      feature_size: Dx, width of the retrieval features.
      input_size: px, the side to which crops are resized for the retrieval features.
      perceptual_weights: one weight per perceptual map.
    """

    def __init__(self, name: str, spec: NetworkSpec, weights_dir: str | Path | None):
        self.name = name
        self._spec = spec
        if weights_dir:  # read later, from another working folder or process
            weights_dir = os.path.abspath(path_text(weights_dir, "--weights-dir"))
        self._weights_dir = weights_dir
        self._networks: dict[tuple[str, ...] | str, tf.keras.Model | None] = {}
        self._functions: dict[str, tf.types.experimental.GenericFunction] = {}
        if spec.weight_files:  # fails here, not in the middle of a run
            self._path(partial=bool(spec.feature_layers))
        self.input_size = spec.feature_input_size
        self.perceptual_weights = spec.perceptual_weights

    def __reduce__(self):
        """A copy in another process finds and loads the weights there, and no other ones."""
        return _copied, (self.name, self._spec, self._weights_dir, self.feature_digest())

    @property
    def offers_features(self) -> bool:
        """Whether there are retrieval features."""
        return bool(self._spec.feature_layers)

    def weights_sha256(self) -> str:
        """Checksum of the file with every layer, on which computed results depend."""
        return self._sha256(partial=False)

    @property
    def feature_weights_sha256(self) -> str:
        """Checksum of the file with the retrieval features' layers, which may hold only these."""
        return self._sha256(partial=True)

    def feature_digest(self) -> str | None:
        """Checksum of the weights behind the retrieval features, whatever file they are from.

        None if there are no retrieval features.
        """
        return _digest(self.feature_network.get_weights()) if self.offers_features else None

    @property
    def feature_size(self) -> int:
        return int(self.feature_network.output_shape[-1])

    @property
    def final_feature_size(self) -> int:
        return int(self.final_network.output_shape[-1])

    @property
    def feature_network(self) -> tf.keras.Model:
        """Keras model [B, S, S, 3] float32 in 0..255 -> [B, Dx], S = `input_size`."""
        return self._pooled(self._spec.feature_layers, self._spec.feature_input_size, partial=True)

    @property
    def final_network(self) -> tf.keras.Model:
        """Keras model [B, S, S, 3] float32 in 0..255 -> [B, Df]."""
        return self._pooled((self._spec.final_layer,), self._spec.final_input_size, partial=False)

    def perceptual_network(self) -> tf.keras.Model:
        """Keras model [B, H, W, 3] float32 in 0..255 -> list of maps [B, h, w, C]."""
        layers = self._spec.perceptual_layers
        partial = layers == self._spec.feature_layers
        return self._network(layers, None, partial, pool=False)

    @property
    def classifier_network(self) -> tf.keras.Model | None:
        """Keras model [B, S, S, 3] float32 in 0..255 -> ([B, Df], [B, 1000] probabilities).

        None if the weight file of the final features has no classifier.
        """
        if "classifier" not in self._networks:
            with tf.init_scope():
                self._networks["classifier"] = self._build_classifier()
        return self._networks["classifier"]

    def map_network(self, layers: Sequence[str]) -> tf.keras.Model:
        """Keras model [B, H, W, 3] float32 in 0..255 -> list of the maps [B, h, w, C] of layers.

        Args:
          layers: at least 2 names of layers.
        """
        return self._network(layers, None, partial=False, pool=False)

    def features(self, images) -> tf.Tensor:
        """Retrieval features: the concatenated mean-pooled maps of several layers.

        Args:
          images: [B, H, W, 3] uint8, or float32 in 0..255, RGB; resized to `input_size` if needed,
            by antialiased bilinear interpolation.

        Returns:
          [B, Dx] float32.
        """
        return self._run("features", self.feature_network, self.input_size, images)

    def final_features(self, images) -> tf.Tensor:
        """Mean-pooled last map, the features of a Fréchet distance.

        Args:
          images: [B, H, W, 3] uint8, or float32 in 0..255, RGB; always resized to one size (128
            px; 299 px for InceptionV3) by antialiased bilinear interpolation, so that different
            resolutions are comparable.

        Returns:
          [B, Df] float32.

        Raises:
          BadInput: if there is only a partial weight file.
        """
        return self._run("final", self.final_network, self._spec.final_input_size, images)

    def final_outputs(self, images) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The final features and the class probabilities, in one pass.

        Args:
          images: see `final_features`.

        Returns:
          `final_features`, [B, Df] float32, and the probabilities of the 1000 ImageNet classes,
          [B, 1000] float32, or None if the weight file has no classifier. Of two files in one
          folder, the one with a classifier is read.

        Raises:
          BadInput: if there is only a partial weight file.
          CorruptData: if the weight file is damaged.
        """
        network = self.classifier_network
        if network is None:
            return self.final_features(images), None
        features, probabilities = self._run(
            "classifier", network, self._spec.final_input_size, images
        )
        return features, probabilities

    def perceptual(self, images: tf.Tensor) -> list[tf.Tensor]:
        """The maps for the perceptual distance; differentiable in the images.

        Args:
          images: [B, H, W, 3] float32 in [-1, 1], at least 32 px a side.

        Returns:
          Maps [B, h, w, C] float32, shallow to deep.

        Raises:
          BadInput: if this network has no perceptual maps.
          ValueError: if the images are so small that a map would be empty.
        """
        sides = [side for side in images.shape[1:3] if side is not None]
        if sides and min(sides) < MIN_PERCEPTUAL_SIDE:
            raise ValueError(
                f"perceptual maps need images of {MIN_PERCEPTUAL_SIDE} px, got {min(sides)}"
            )
        maps = self.perceptual_network()((images + 1.0) * 127.5, training=False)
        return maps if isinstance(maps, list) else [maps]  # Keras unpacks a list of one

    def save_truncated(self, path: str | Path) -> None:
        """Writes only the layers that the retrieval features need, as h5.

        Args:
          path: file to write; under a name of `NetworkSpec.partial_weight_files` it is found again.
        """
        save_layers(self._frozen(self._spec.feature_layers, partial=True), path)

    def _run(self, key: str, network: tf.keras.Model, size: int, images):
        if key not in self._functions:

            def compute(images: tf.Tensor) -> tf.Tensor:
                images = tf.cast(images, tf.float32)  # [B, H, W, 3]
                if images.shape[1:3] != (size, size):
                    images = tf.image.resize(images, [size, size], antialias=True)  # [B, S, S, 3]
                return network(images, training=False)  # [B, Dx]

            # Another batch size (of the last batch) must not retrace.
            self._functions[key] = tf.function(compute, reduce_retracing=True, autograph=False)
        return self._functions[key](tf.convert_to_tensor(images))

    def _pooled(self, layers: tuple[str, ...], size: int, partial: bool) -> tf.keras.Model:
        return self._network(layers, size, partial, pool=True)

    def _network(
        self, layers: Sequence[str], size: int | None, partial: bool, pool: bool
    ) -> tf.keras.Model:
        if not layers:
            kind = "retrieval features" if pool else "perceptual maps"
            raise BadInput(f"backbone {self.name} has no {kind}; choose another one")
        key = (*layers, str(pool))
        if key not in self._networks:
            # Built outside of any traced graph, which would otherwise own its variables.
            with tf.init_scope():
                self._networks[key] = self._build(tuple(layers), size, partial, pool)
        return self._networks[key]

    def _build(
        self, layers: tuple[str, ...], size: int | None, partial: bool, pool: bool
    ) -> tf.keras.Model:
        base = self._frozen(layers, partial)
        self._check_input(base.input.shape, size)
        inputs = tf.keras.layers.Input([size, size, 3])
        maps = base(preprocess(inputs, self._spec.preprocessing), training=False)
        maps = maps if isinstance(maps, list) else [maps]
        if not pool:
            network = tf.keras.Model(inputs, maps)
        else:
            pooled = [tf.reduce_mean(item, axis=[1, 2]) for item in maps]  # each [B, C]
            network = tf.keras.Model(inputs, tf.concat(pooled, axis=-1))  # [B, Dx]
        network.trainable = False
        return network

    def _frozen(self, layers: tuple[str, ...], partial: bool) -> tf.keras.Model:
        whole = self._built() if self._spec.weight_files else self._given
        try:
            outputs = [whole.get_layer(name).output for name in layers]
        except ValueError as error:
            raise BadInput(f"backbone {self.name}: {one_line(str(error))}") from error
        for name, output in zip(layers, outputs, strict=True):
            shape = getattr(output, "shape", None)  # a layer may have several outputs
            if shape is None or shape.rank != 4:
                raise BadInput(
                    f"backbone {self.name}: layer {name} gives {shape or 'several outputs'}, and "
                    "maps [B, h, w, C] are needed; name a layer before the pooling"
                )
        base = tf.keras.Model(whole.input, outputs)
        if self._spec.weight_files:
            load = load_layers_in_order if self._spec.is_numbered else load_layers
            load(base, self._path(partial))
        base.trainable = False
        return base

    @functools.cached_property
    def _given(self) -> tf.keras.Model:
        """The network whose weights come from `build` itself, which may draw them: made once."""
        with tf.init_scope():
            return self._built()

    def _built(self) -> tf.keras.Model:
        network = self._spec.build()
        if not isinstance(network, tf.keras.Model):
            kind = type(network).__name__
            raise BadInput(f"backbone {self.name}: build must return a Keras model, got {kind}")
        if len(getattr(network, "inputs", None) or ()) != 1:  # not built, subclassed, or several
            raise BadInput(
                f"backbone {self.name}: build must return a model of one input, [None, None, 3]; "
                "make it by tf.keras.Model(inputs, outputs)"
            )
        return network

    def _check_input(self, shape: tf.TensorShape, size: int | None) -> None:
        """Refuses a network for other pictures than [B, size, size, 3]; None is any size."""
        fits = shape.rank == 4 and shape[3] in (None, 3)
        if not fits or any(side not in (None, size) for side in shape[1:3]):
            needed = f"[B, {size or 'h'}, {size or 'w'}, 3]"
            raise BadInput(
                f"backbone {self.name}: build makes a network for {shape}, and it gets {needed}; "
                "build it for an input of [None, None, 3], as tf.keras.applications do with "
                "include_top=False"
            )

    def _build_classifier(self) -> tf.keras.Model | None:
        base = self.final_network
        if not self._spec.weight_files:
            return None
        weights = load_classifier(self._path(partial=False), self.final_feature_size)
        if weights is None:
            return None
        layer = tf.keras.layers.Dense(len(weights[1]), activation="softmax", dtype="float32")
        network = tf.keras.Model(base.input, [base.output, layer(base.output)])
        layer.set_weights(weights)
        network.trainable = False
        return network

    def _sha256(self, partial: bool) -> str:
        if self._spec.weight_files:
            return sha256_of(self._path(partial))
        return _digest(self._given.get_weights())

    def _path(self, partial: bool) -> Path:
        names = self._spec.weight_files
        if partial:
            names = names + self._spec.partial_weight_files
        else:
            # Final features and class probabilities come from one file so that they are consistent.
            names = tuple(dict.fromkeys(self._spec.classifier_files + names))
        return find_weights(self.name, names, self._weights_dir, self._spec.download)


def _digest(weights: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(weight.tobytes())
    return digest.hexdigest()
