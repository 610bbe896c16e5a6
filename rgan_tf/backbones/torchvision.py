"""Networks for LPIPS whose weights the user supplies as a torchvision file.

Layers have the names of the file (`features.0` and so on).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from rgan_tf.backbones.torch_file import read_tensors
from rgan_tf.backbones.weights import find_weights
from rgan_tf.errors import CorruptData


def build_alexnet() -> tf.keras.Model:
    """AlexNet of "One weird trick", Krizhevsky 2014: its five maps after the ReLU."""
    x = inputs = tf.keras.layers.Input([None, None, 3])
    maps = []
    for name, channels, kernel, stride in (
        ("features.0", 64, 11, 4),
        ("features.3", 192, 5, 1),
        ("features.6", 384, 3, 1),
        ("features.8", 256, 3, 1),
        ("features.10", 256, 3, 1),
    ):
        if name in ("features.3", "features.6"):
            x = tf.keras.layers.MaxPooling2D(3, strides=2)(x)
        x = _convolution(x, name, channels, kernel, stride, padding=2 if kernel > 3 else 1)
        maps.append(x)
    return tf.keras.Model(inputs, maps, name="alexnet")


def build_vgg16() -> tf.keras.Model:
    """VGG16, Simonyan and Zisserman 2014: the last map, after the ReLU, of each of five blocks."""
    x = inputs = tf.keras.layers.Input([None, None, 3])
    maps, index = [], 0
    for channels, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        if maps:
            x = tf.keras.layers.MaxPooling2D(2)(x)
            index += 1
        for _ in range(depth):
            x = _convolution(x, f"features.{index}", channels, 3, 1, padding=1)
            index += 2  # includes the ReLU
        maps.append(x)
    return tf.keras.Model(inputs, maps, name="vgg16")


def build_squeezenet() -> tf.keras.Model:
    """SqueezeNet 1.1: the first map and those of the fire modules 3, 5, 6, 7, 8 and 9.

    Unlike `networks.build_squeezenet`, pooling keeps incomplete windows.
    """
    x = inputs = tf.keras.layers.Input([None, None, 3])
    x = _convolution(x, "features.0", 64, 3, 2, padding=0)
    maps = [x]
    for index, squeeze in (
        (3, 16),
        (4, 16),
        (6, 32),
        (7, 32),
        (9, 48),
        (10, 48),
        (11, 64),
        (12, 64),
    ):
        if index in (3, 6, 9):
            # Completes the windows with zeros, which never exceed the output of a ReLU.
            x = tf.keras.layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
            x = tf.keras.layers.MaxPooling2D(3, strides=2)(x)
        name = f"features.{index}"
        x = _convolution(x, f"{name}.squeeze", squeeze, 1, 1, padding=0)
        narrow = _convolution(x, f"{name}.expand1x1", 4 * squeeze, 1, 1, padding=0)
        wide = _convolution(x, f"{name}.expand3x3", 4 * squeeze, 3, 1, padding=1)
        x = tf.keras.layers.Concatenate()([narrow, wide])
        if index not in (3, 6):
            maps.append(x)
    return tf.keras.Model(inputs, maps, name="squeezenet")


@dataclasses.dataclass(frozen=True)
class TorchvisionSpec:
    """Describes one network.

    Attributes:
      build: makes the network, [B, H, W, 3] normalised -> list of maps, with random weights.
      weight_files: torchvision's names of the file.
    """

    build: Callable[[], tf.keras.Model]
    weight_files: tuple[str, ...]


TORCHVISION: dict[str, TorchvisionSpec] = {
    "alex": TorchvisionSpec(
        build_alexnet, ("alexnet-owt-7be5be79.pth", "alexnet-owt-4df8aa71.pth")
    ),
    "vgg": TorchvisionSpec(build_vgg16, ("vgg16-397923af.pth",)),
    "squeeze": TorchvisionSpec(
        build_squeezenet, ("squeezenet1_1-b8a52dc0.pth", "squeezenet1_1-f364aa15.pth")
    ),
}


def load_torchvision(name: str, weights_dir: str | Path | None = None) -> tf.keras.Model:
    """Loads one of the networks with the weights of a file from the user.

    Args:
      name: "alex", "vgg" or "squeeze".
      weights_dir: a folder with weight files, or None; see `weights.weight_places`.

    Returns:
      Frozen Keras model, [B, H, W, 3] float32 normalised as torchvision does -> list of maps
      [B, h, w, C].

    Raises:
      BadInput: if no file is found; nothing is downloaded.
      CorruptData: if the file is damaged or belongs to another network.
    """
    spec = TORCHVISION[name]
    path = find_weights(f"torchvision {name}", spec.weight_files, weights_dir)
    network = spec.build()
    tensors = read_tensors(path, prefix="features.")
    for layer in network.layers:
        if layer.weights:
            layer.set_weights(_layer_weights(layer, tensors, path))
    network.trainable = False
    return network


def _convolution(
    x: tf.Tensor, name: str, channels: int, kernel: int, stride: int, padding: int
) -> tf.Tensor:
    if padding:
        x = tf.keras.layers.ZeroPadding2D(padding)(x)
    return tf.keras.layers.Conv2D(channels, kernel, strides=stride, activation="relu", name=name)(x)


def _layer_weights(
    layer: tf.keras.layers.Layer, tensors: dict[str, np.ndarray], path: Path
) -> list[np.ndarray]:
    try:
        kernel, bias = tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"]
    except KeyError as error:
        raise CorruptData(
            f"{path}: has no {error.args[0]}; the file belongs to another network"
        ) from error
    if kernel.ndim != 4 or [kernel.transpose(2, 3, 1, 0).shape, bias.shape] != [
        tuple(weight.shape) for weight in layer.weights
    ]:
        raise CorruptData(
            f"{path}: {layer.name} has the shapes {list(kernel.shape)} and {list(bias.shape)}; "
            "the file belongs to another network"
        )
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise CorruptData(f"{path}: {layer.name} has weights that are not finite; fetch it again")
    return [kernel.transpose(2, 3, 1, 0), bias]  # [h, w, in, out] and [out]
