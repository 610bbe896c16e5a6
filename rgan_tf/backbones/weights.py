"""Finds and reads the weight files of the pretrained networks."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf

from rgan_tf.arguments import path_text
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.refusals import is_refused
from rgan_tf.storage.files import sha256_of

SHIPPED = Path(__file__).resolve().parent.parent / "released" / "backbones"

_DOWNLOAD_ROOT = "https://storage.googleapis.com/tensorflow/keras-applications"
_CLASSIFIER = "predictions"  # name of the last layer in Keras Applications


def weight_places(weights_dir: str | Path | None) -> list[Path]:
    """Folders to search, in order: option, RGAN_WEIGHTS, files shipped with a release.

    Args:
      weights_dir: the folder named by the user, or None.

    Returns:
      Folders; they need not exist.
    """
    if weights_dir is not None:
        weights_dir = path_text(weights_dir, "--weights-dir")
    named = [weights_dir, os.environ.get("RGAN_WEIGHTS")]
    return [Path(place) for place in named if place] + [SHIPPED]


def find_weights(
    name: str,
    file_names: Sequence[str],
    weights_dir: str | Path | None = None,
    download: str | None = None,
) -> Path:
    """Finds one weight file, or downloads it from the Keras Applications store.

    Args:
      name: the backbone, for the message.
      file_names: acceptable files; within one folder the first takes precedence.
      weights_dir: the folder named by the user, or None.
      download: path of one of the files below the Keras Applications store; None if the network is
        not available there.

    Returns:
      The path of an existing file.

    Raises:
      BadInput: if no folder has the file and it cannot be downloaded.
      CorruptData: if a shipped file has changed.
    """
    places = weight_places(weights_dir)
    for place in places:
        for file_name in file_names:
            if (place / file_name).is_file():
                if place == SHIPPED:
                    _check_shipped(place / file_name)
                return place / file_name
    reason = "it is not available for download"
    if download is not None:
        try:
            return _fetch(download)
        except Exception as error:  # noqa: BLE001  (get_file raises bare Exception, OSError, ...)
            reason = f"the download failed ({' '.join(str(error).split())[:120]})"
    wanted = " or ".join(file_names)
    raise BadInput(
        f"backbone {name}: no {wanted} in {', '.join(map(str, places))}, and {reason}; "
        "put the file in a folder and name it with --weights-dir or RGAN_WEIGHTS"
    )


def load_layers(network: tf.keras.Model, path: Path) -> None:
    """Loads the weights of every layer by name and requires all of them.

    `load_weights(by_name=True)` alone would leave a layer that the file lacks at random values.

    Args:
      network: a built Keras model.
      path: an h5 weight file in Keras' layer-by-layer layout.

    Raises:
      CorruptData: if the file cannot be read, or a layer is missing or has other shapes.
    """
    needed = {layer.name for layer in network.layers if layer.weights}
    with _open(path) as group:
        missing = sorted(needed - set(_layer_names(group)))
        if missing:
            raise CorruptData(
                f"{path}: {len(missing)} layers are missing, the first is {missing[0]}; "
                "the file belongs to another network"
            )
        network.load_weights(str(path), by_name=True)


def load_layers_in_order(network: tf.keras.Model, path: Path) -> None:
    """Loads the weights of every layer in file order, ignoring names.

    Args:
      network: a built Keras model without a classifier; that of the file is skipped.
      path: see `load_layers`.

    Raises:
      CorruptData: if the file cannot be read, or its layers do not match the network's.
    """
    layers = [layer for layer in network.layers if layer.weights]
    with _open(path) as group:
        names = [name for name in _layer_names(group) if name != _CLASSIFIER]
        stored = [weights for name in names if (weights := _layer_weights(group, name))]
    if [[weight.shape for weight in weights] for weights in stored] != [
        [tuple(weight.shape) for weight in layer.weights] for layer in layers
    ]:
        raise CorruptData(
            f"{path}: its {len(stored)} layers are not the {len(layers)} of {network.name}; "
            "the file belongs to another network"
        )
    for layer, weights in zip(layers, stored, strict=True):
        layer.set_weights(weights)


def load_classifier(path: Path, width: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The last layer of a classifier, from pooled features to class logits.

    Args:
      path: see `load_layers`.
      width: D of the features.

    Returns:
      Kernel [D, C] and bias [C], or None if the file has no classifier.

    Raises:
      CorruptData: if the file cannot be read or the layer has another shape.
    """
    with _open(path) as group:
        if _CLASSIFIER not in _layer_names(group):
            return None
        weights = _layer_weights(group, _CLASSIFIER)
    shapes = [weight.shape for weight in weights]
    if len(shapes) != 2 or len(shapes[1]) != 1 or shapes[0] != (width, *shapes[1]):
        raise CorruptData(
            f"{path}: a classifier of the shapes {shapes} is not one of {width} features"
        )
    return weights[0], weights[1]


def save_layers(network: tf.keras.Model, path: str | Path) -> None:
    """Writes the weights of a network as one h5 file; the file appears only when complete.

    Args:
      network: a built Keras model.
      path: file to write; an existing file is replaced.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        temporary = Path(folder) / "weights.h5"  # Keras chooses the format by the suffix
        network.save_weights(str(temporary), save_format="h5")
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)


def _check_shipped(path: Path) -> None:
    """Compares a file with the checksum that was shipped with it."""
    try:
        lines = (path.parent / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        lines = []
    if f"{sha256_of(path)}  {path.name}" not in lines:
        raise CorruptData(f"{path}: damaged (checksum differs); install rgan_tf again")


def _fetch(download: str) -> Path:
    """Downloads into Keras' own cache, which `tf.keras.applications` shares."""
    return Path(
        tf.keras.utils.get_file(
            Path(download).name, f"{_DOWNLOAD_ROOT}/{download}", cache_subdir="models"
        )
    )


def _layer_names(group: h5py.Group) -> list[str]:
    return [_text(name) for name in group.attrs["layer_names"]]


def _layer_weights(group: h5py.Group, layer: str) -> list[np.ndarray]:
    return [group[layer][_text(name)][()] for name in group[layer].attrs["weight_names"]]


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


@contextlib.contextmanager
def _open(path: Path) -> Iterator[h5py.Group]:
    """Opens the layers' group of a weight file; errors become `CorruptData`."""
    try:
        with h5py.File(path, "r") as file:
            yield file["model_weights"] if "layer_names" not in file.attrs else file
    except (OSError, KeyError, ValueError) as error:
        if is_refused(error):
            raise
        detail = " ".join(str(error).split())[:160]
        raise CorruptData(f"{path}: not a usable weight file ({detail}); fetch it again") from error
