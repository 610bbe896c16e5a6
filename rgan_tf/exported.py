"""Reads names and patches of an exported model without running it.

`export.model_folder` describes and writes `assets.extra`.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.near_names import spelled_otherwise
from rgan_tf.refusals import is_refused
from rgan_tf.storage.manifest import Manifest, ManifestKind
from rgan_tf.storage.plain_folder import plain_folder
from rgan_tf.vocabulary import Vocabulary

SAVED_MODEL_FILE = "saved_model.pb"
EXTRA = "assets.extra"
ADVICE = "export the model again"
MODEL = ManifestKind(
    "rgan_model",
    2,
    "a model written by rgan export",
    advice=ADVICE,
    needs=("files",),
    file=f"{EXTRA}/manifest.json",
)

_NAMES, _PATCHES = f"{EXTRA}/vocabulary.json", f"{EXTRA}/provenance.jsonl"
_VARIABLES = "variables/variables"
_CROPS = "bank/crops"  # name of the variable, see `rgan_tf.retrieval.bank_variables`
MAX_VERSION = 2**63 - 1
_MAX_DIGITS = len(str(MAX_VERSION))
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # TensorFlow's key for the names of variables


def versions(model: str | Path) -> list[Path]:
    """The version folders of a model, oldest first.

    Raises:
      BadInput: if two have the same number, such as 7 and 007.
    """
    folder = Path(model)
    if not folder.is_dir():
        return []
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        number = version_number(path.name)
        if number is None or not path.is_dir():
            continue
        if number in found:
            raise BadInput(
                f"{folder}: {found[number].name} and {path.name} are both version {number}; "
                "rename or delete one"
            )
        found[number] = path
    return [path for _, path in sorted(found.items())]


def version_number(name: str) -> int | None:
    """The version number of a folder name, with or without leading zeros; None if it is not one."""
    if not (name.isascii() and name.isdigit()):
        return None
    digits = name.lstrip("0") or "0"
    # The protocols use 64 bits.
    return int(digits) if len(digits) <= _MAX_DIGITS and int(digits) <= MAX_VERSION else None


def is_exported(path: str | Path) -> bool:
    """Whether a folder is a version of an exported model, or contains versions."""
    return _is_one_version(Path(path)) or any(map(_is_one_version, versions(path)))


def find_version(path: str | Path, option: str = "--model ") -> Manifest:
    """The manifest of a model's newest version, or of the version that `path` names.

    Args:
      path: a folder of versions, or one version.
      option: beginning of messages.

    Raises:
      BadInput: if there is no model, or it was written by another version of this project.
      CorruptData: if its manifest is damaged.
    """
    folder = Path(path)
    if not _is_one_version(folder):
        found = versions(folder)
        if not found:
            advice = spelled_otherwise(folder) or "; make one with rgan export"
            raise BadInput(f"{option}{folder}: no exported model{advice}")
        folder = found[-1]
    return MODEL.open(folder, f"{option}{folder}")


def read_provenance(folder: Path) -> list[dict[str, Any]]:
    """For each patch its category, source, image_id, box [x0, y0, x1, y1], licence and url.

    Raises:
      CorruptData: if the file is not one JSON object per line.
    """
    path = folder / _PATCHES
    try:
        with open(path, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
    except (OSError, ValueError) as error:
        if is_refused(error):
            raise
        raise CorruptData(f"{path}: unreadable; {ADVICE}") from error
    if not all(isinstance(row, dict) for row in rows):
        raise CorruptData(f"{path}: unreadable; {ADVICE}")
    return rows


class ExportedPatches:
    """The patches of one version, with the same attributes as a `PatchBank`.

    Attributes:
      folder: of the version.
      manifest: origin, index and files.
      vocabulary: names of its category ids.
      rows: provenance of each patch, by id.
      category_ids: [N] int64.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], vocabulary: Vocabulary):
        self.folder = folder
        self.manifest = manifest
        self.vocabulary = vocabulary
        self.rows = read_provenance(folder)
        self.category_ids = np.array(
            [vocabulary.object_id(row["category"]) for row in self.rows], np.int64
        )

    @classmethod
    def open(cls, path: str | Path, option: str = "") -> ExportedPatches:
        """Opens a model's newest version, or the version that `path` names.

        Needs only `assets.extra`; `crops` also needs the variables.

        Raises:
          BadInput: if there is no model.
          CorruptData: if a file is missing or damaged; names the file.
        """
        manifest = find_version(path, option)
        manifest.check_files((_NAMES, _PATCHES), verify=True, below=f"{EXTRA}/")
        vocabulary = manifest.read(_NAMES, Vocabulary.from_json)
        try:
            return cls(manifest.folder, manifest.content, vocabulary)
        except (BadInput, KeyError, TypeError, ValueError) as error:
            raise manifest.damaged(f"is of other patches ({error})") from error

    def __len__(self) -> int:
        return len(self.rows)

    @functools.cached_property
    def crops(self) -> np.ndarray:
        """uint8 [N, h, w, 3], the patches at the size that the generator reads.

        Raises:
          BadInput: if the version has no variables.
          CorruptData: if the variables are damaged.
        """
        import tensorflow as tf
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

        if not (self.folder / f"{_VARIABLES}.index").is_file():
            raise BadInput(f"{self.folder}: has no variables, so the patches cannot be drawn")
        try:
            with plain_folder(self.folder) as folder:
                reader = tf.train.load_checkpoint(str(folder / _VARIABLES))
                graph = TrackableObjectGraph.FromString(reader.get_tensor(_OBJECT_GRAPH))
                keys = {
                    attribute.full_name: attribute.checkpoint_key
                    for node in graph.nodes
                    for attribute in node.attributes
                }
                crops = reader.get_tensor(keys[_CROPS])
        except (tf.errors.OpError, KeyError, ValueError, RuntimeError) as error:
            raise CorruptData(f"{self.folder / _VARIABLES}: damaged; {ADVICE}") from error
        if len(crops) != len(self):
            raise CorruptData(f"{self.folder}: {len(crops)} crops for {len(self)} patches")
        return crops


def _is_one_version(folder: Path) -> bool:
    return (folder / EXTRA).is_dir() or (folder / SAVED_MODEL_FILE).is_file()
