"""Where the weight files of the pretrained networks are looked for, and how they are read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import h5py
import tensorflow as tf

from rgan_tf.errors import BadInput, CorruptData

_DOWNLOAD_ROOT = "https://storage.googleapis.com/tensorflow/keras-applications"


def weight_places(weights_dir: str | Path | None) -> list[Path]:
    """The folders that are searched, in order: option, RGAN_WEIGHTS, files shipped with a release.

    Args:
      weights_dir: the folder named by the user, or None.

    Returns:
      Folders; they need not exist.
    """
    named = [weights_dir, os.environ.get("RGAN_WEIGHTS")]
    shipped = Path(__file__).resolve().parent.parent / "released" / "backbones"
    return [Path(place) for place in named if place] + [shipped]


def find_weights(
    name: str,
    file_names: Sequence[str],
    weights_dir: str | Path | None = None,
    download: str | None = None,
) -> Path:
    """Finds one weight file, or fetches it from the Keras Applications store.

    Args:
      name: the backbone, for the message.
      file_names: acceptable files; within one folder the first has precedence.
      weights_dir: the folder named by the user, or None.
      download: path of `file_names[0]` below the Keras Applications store; None where the
        network is not offered there.

    Returns:
      The path of an existing file.

    Raises:
      BadInput: if no folder has the file and it cannot be downloaded.
    """
    places = weight_places(weights_dir)
    for place in places:
        for file_name in file_names:
            if (place / file_name).is_file():
                return place / file_name
    reason = "it is not offered for download"
    if download is not None:
        try:
            return _fetch(file_names[0], download)
        except Exception as error:  # noqa: BLE001  (get_file raises bare Exception, OSError, ...)
            reason = f"the download failed ({' '.join(str(error).split())[:120]})"
    wanted = " or ".join(file_names)
    raise BadInput(
        f"backbone {name}: no {wanted} in {', '.join(map(str, places))}, and {reason}; "
        "put the file in a folder and name it with --weights-dir or RGAN_WEIGHTS"
    )


def load_layers(network: tf.keras.Model, path: Path) -> None:
    """Loads the weights of every layer by name and insists that none is missing.

    `load_weights(by_name=True)` alone would leave a layer that the file lacks at random values.

    Args:
      network: a built Keras model.
      path: an h5 weight file in Keras' layer-by-layer layout.

    Raises:
      CorruptData: if the file cannot be read, or a layer is missing or has other shapes.
    """
    needed = {layer.name for layer in network.layers if layer.weights}
    try:
        with h5py.File(path, "r") as file:
            group = file["model_weights"] if "layer_names" not in file.attrs else file
            stored = {
                name.decode() if isinstance(name, bytes) else name
                for name in group.attrs["layer_names"]
            }
        missing = sorted(needed - stored)
        if missing:
            raise CorruptData(
                f"{path}: {len(missing)} layers are missing, the first is {missing[0]}; "
                "the file belongs to another network"
            )
        network.load_weights(str(path), by_name=True)
    except (OSError, KeyError, ValueError) as error:
        detail = " ".join(str(error).split())[:160]
        raise CorruptData(f"{path}: not a usable weight file ({detail}); fetch it again") from error


def save_layers(network: tf.keras.Model, path: str | Path) -> None:
    """Writes the weights of a network as one h5 file; the file appears only when whole.

    Args:
      network: a built Keras model.
      path: where to write; an existing file is replaced.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        temporary = Path(folder) / "weights.h5"  # Keras picks the format by the ending
        network.save_weights(str(temporary), save_format="h5")
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)


def _fetch(file_name: str, download: str) -> Path:
    """Downloads into Keras' own cache, where `tf.keras.applications` looks too."""
    return Path(
        tf.keras.utils.get_file(file_name, f"{_DOWNLOAD_ROOT}/{download}", cache_subdir="models")
    )
