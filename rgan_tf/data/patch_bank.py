"""The patch bank: crops of objects with their features and where they come from.

manifest.json    sizes, backbone, checksums of the files
crops.npy        uint8 [N, S, S, 3]
features.npy     float16 [N, Dx]
table.jsonl      one JSON object per patch: category, image, box, licence, url, ...
columns.npy      int64 [N, 3]: category id, image id, and where in the table the patch's line begins

Arrays are memory-mapped and lines are read when asked for, so that a bank of any size opens at
once. Nothing is pickled.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.files import read_json, sha256_of, write_json_atomic

KIND = "rgan_patch_bank"
VERSION = 2
CROPS, FEATURES, TABLE, COLUMNS = "crops.npy", "features.npy", "table.jsonl", "columns.npy"
FILES = (CROPS, FEATURES, TABLE, COLUMNS)

_CACHE_BYTES = 2**30  # arrays up to this size are kept in memory
_VERIFIED_BYTES = 2**29  # banks up to this size are compared with their checksums when opened


class PatchBank:
    """Read access to a bank folder; open one with `PatchBank.open`.

    Attributes:
      folder: the bank.
      manifest: counts, sizes, backbone and the checksums of the files.
      crops: uint8 [N, S, S, 3], memory-mapped.
      features: float16 [N, Dx], memory-mapped.
      category_ids: [N] int64 object ids, memory-mapped.
      image_ids: [N] int64 source images, memory-mapped.
      rows: the table, a sequence of one dict per patch that reads what it is asked for.
    """

    def __init__(
        self,
        folder: Path,
        manifest: dict[str, Any],
        crops: np.ndarray,
        features: np.ndarray,
        columns: np.ndarray,
    ):
        self.folder = folder
        self.manifest = manifest
        self.crops = crops
        self.features = features
        self.category_ids = columns[:, 0]
        self.image_ids = columns[:, 1]
        self.rows = PatchTable(folder / TABLE, columns[:, 2])
        self._resized: dict[int, np.ndarray] = {}

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool | None = None) -> PatchBank:
        """Opens a bank. That all files are there and of the right size is always checked.

        Args:
          folder: as written by `PatchBankWriter`.
          verify: compare every file with its checksum (seconds per GB); None does so for banks up
            to half a GB.

        Raises:
          BadInput: if the folder is no patch bank, or of another version.
          CorruptData: if a file is missing, damaged or of another shape; names the file.
        """
        folder = Path(folder)
        try:
            manifest = read_json(folder / "manifest.json")
        except BadInput as error:
            raise CorruptData(f"{folder}/manifest.json: damaged; prepare again") from error
        if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
            raise BadInput(f"{folder}: not a patch bank")
        if manifest.get("version") != VERSION:
            raise BadInput(
                f"{folder}: version {manifest.get('version')} of the patch bank, this program "
                f"reads {VERSION}; prepare the data again"
            )
        if verify is None:
            verify = _bytes_of(manifest) <= _VERIFIED_BYTES
        check_files(folder, manifest.get("files"), FILES, verify=verify)
        shape = [manifest.get(key) for key in ("rows", "crop_size", "feature_size")]
        if not all(isinstance(number, int) for number in shape):
            raise CorruptData(f"{folder}/manifest.json: does not give the sizes; prepare again")
        rows, size, width = shape
        crops = _map_array(folder / CROPS, np.uint8, (rows, size, size, 3))
        features = _map_array(folder / FEATURES, np.float16, (rows, width))
        columns = _map_array(folder / COLUMNS, np.int64, (rows, 3))
        return cls(folder, manifest, crops, features, columns)

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def crop_size(self) -> int:
        """S, the side of a stored crop in px."""
        return int(self.crops.shape[1])

    @property
    def feature_size(self) -> int:
        """Dx, the width of the backbone features."""
        return int(self.features.shape[1])

    @functools.cached_property
    def styles(self) -> list[str]:
        """Hidden appearance labels of the procedural world; for evaluation only."""
        return [row["style"] for row in self.rows]

    def crops_at(self, ids: np.ndarray, size: int) -> np.ndarray:
        """Crops in another size.

        Args:
          ids: integer [...], rows; -1 gives black.
          size: side in px; smaller sizes are averaged over areas.

        Returns:
          uint8 [..., size, size, 3].
        """
        ids = np.asarray(ids)
        source = self._resized_crops(size)
        result = np.zeros((*ids.shape, size, size, 3), np.uint8)
        present = ids >= 0
        chosen = ids[present]
        if source is not None:
            result[present] = source[chosen]
        elif chosen.size:
            result[present] = resize_crops(self.crops[chosen], size)
        return result

    def features_at(self, ids: np.ndarray) -> np.ndarray:
        """Backbone features as float32 [..., Dx]; zeros where an id is -1."""
        ids = np.asarray(ids)
        result = np.zeros((*ids.shape, self.feature_size), np.float32)
        present = ids >= 0
        result[present] = self._float_features[ids[present]]
        return result

    @functools.cached_property
    def _float_features(self) -> np.ndarray:
        if self.features.size * 4 > _CACHE_BYTES:
            return self.features
        return self.features.astype(np.float32)

    def _resized_crops(self, size: int) -> np.ndarray | None:
        """All crops in that size, resized once; None where they would fill the memory."""
        if size not in self._resized:
            if len(self) * size * size * 3 > _CACHE_BYTES:
                return self.crops if size == self.crop_size else None
            self._resized[size] = resize_crops(np.asarray(self.crops), size)
        return self._resized[size]


class PatchTable(Sequence[dict[str, Any]]):
    """The lines of a bank's table as dicts, read when they are asked for.

    Args:
      path: the file.
      offsets: [N] where each line begins, in bytes.
    """

    def __init__(self, path: Path, offsets: np.ndarray):
        self._path = path
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index):
        """The row of a patch, or the rows of a slice.

        Raises:
          IndexError: if there is no such row.
          CorruptData: if its line is damaged.
        """
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self._path}: no row {index} among {len(self)}")
        with open(self._path, "rb") as file:
            file.seek(int(self._offsets[index]))
            return self._parse(file.readline())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        count = 0
        with open(self._path, "rb") as file:
            for line in file:
                yield self._parse(line)
                count += 1
        if count != len(self):
            raise CorruptData(f"{self._path}: {count} rows for {len(self)} patches; prepare again")

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise CorruptData(
                f"{self._path}: a line is not JSON; prepare the data again"
            ) from error
        return row


class PatchBankWriter:
    """Writes a bank row by row; `close` makes it whole.

    Args:
      folder: created; must lie in a folder that is itself put in place atomically.
      crop_size: S in px.
      feature_size: Dx.
      backbone: name of the network of the features, recorded in the manifest.
    """

    def __init__(self, folder: Path, *, crop_size: int, feature_size: int, backbone: str):
        folder.mkdir(parents=True)
        self._folder = folder
        self._crop_size = crop_size
        self._feature_size = feature_size
        self._backbone = backbone
        self._rows = 0
        self._crops = open(folder / CROPS, "wb")
        self._features = open(folder / FEATURES, "wb")
        self._table = open(folder / TABLE, "wb")
        self._columns: list[tuple[int, int, int]] = []
        self._write_headers()

    def __enter__(self) -> PatchBankWriter:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if kind is None:
            self.close()
            return
        for file in (self._crops, self._features, self._table):
            file.close()

    def append(self, crops: np.ndarray, features: np.ndarray, rows: list[dict[str, Any]]) -> None:
        """Adds patches.

        Args:
          crops: uint8 [n, S, S, 3].
          features: float [n, Dx].
          rows: n provenance dicts with at least category_id, image_id and style.

        Raises:
          ValueError: if the shapes do not agree or a feature is not a number.
        """
        count = len(rows)
        expected = (count, self._crop_size, self._crop_size, 3)
        if crops.shape != expected or crops.dtype != np.uint8:
            raise ValueError(f"crops must be uint8 {expected}, got {crops.dtype} {crops.shape}")
        if features.shape != (count, self._feature_size):
            raise ValueError(f"features must be {(count, self._feature_size)}: {features.shape}")
        if not np.isfinite(features).all():
            raise ValueError(f"the features of backbone {self._backbone} are not finite")
        largest = np.finfo(np.float16).max
        self._crops.write(np.ascontiguousarray(crops).tobytes())
        self._features.write(np.clip(features, -largest, largest).astype(np.float16).tobytes())
        for row in rows:
            self._columns.append((row["category_id"], row["image_id"], self._table.tell()))
            self._table.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self._rows += count

    def close(self) -> dict[str, Any]:
        """Writes the final headers and the manifest; returns the manifest."""
        self._write_headers()
        for file in (self._crops, self._features, self._table):
            file.flush()
            os.fsync(file.fileno())
            file.close()
        columns = np.array(self._columns, np.int64).reshape(-1, 3)
        np.save(self._folder / COLUMNS, columns, allow_pickle=False)
        manifest = {
            "kind": KIND,
            "version": VERSION,
            "rows": self._rows,
            "crop_size": self._crop_size,
            "feature_size": self._feature_size,
            "backbone": self._backbone,
            "files": describe_files(self._folder, FILES),
        }
        write_json_atomic(self._folder / "manifest.json", manifest)
        return manifest

    def _write_headers(self) -> None:
        # numpy pads its header so that the first axis can grow in place.
        for file, dtype, shape in (
            (self._crops, np.uint8, (self._rows, self._crop_size, self._crop_size, 3)),
            (self._features, np.float16, (self._rows, self._feature_size)),
        ):
            file.seek(0)
            np.lib.format.write_array_header_1_0(
                file,
                {
                    "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
                    "fortran_order": False,
                    "shape": shape,
                },
            )
            file.seek(0, os.SEEK_END)


def _bytes_of(manifest: dict[str, Any]) -> int:
    """Size of all files, by the manifest; 0 where it does not say."""
    files = manifest.get("files")
    sizes = [entry.get("bytes", 0) for entry in files.values()] if isinstance(files, dict) else []
    return sum(sizes)


def resize_crops(crops: np.ndarray, size: int) -> np.ndarray:
    """Resizes square crops, averaging over areas: uint8 [n, S, S, 3] -> [n, size, size, 3]."""
    stored = crops.shape[1]
    if size == stored:
        return crops
    if stored % size == 0:
        step = stored // size
        blocks = crops.reshape(len(crops), size, step, size, step, 3)
        sums = blocks.sum(axis=(2, 4), dtype=np.uint32)
        return ((sums + step * step // 2) // (step * step)).astype(np.uint8)
    filter_ = Image.Resampling.BOX if size < stored else Image.Resampling.BILINEAR
    result = np.empty((len(crops), size, size, 3), np.uint8)
    for index, crop in enumerate(crops):
        result[index] = np.asarray(Image.fromarray(crop).resize((size, size), filter_))
    return result


def describe_files(folder: Path, names) -> dict[str, dict[str, Any]]:
    """Size and checksum of files, as manifests hold them."""
    return {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
        for name in names
    }


def check_files(folder: Path, described, names=None, *, verify: bool) -> None:
    """Compares files with their description in a manifest.

    Raises:
      CorruptData: if one is missing, of another size or, with `verify`, of other content.
    """
    if not isinstance(described, dict) or not set(names or ()) <= set(described):
        raise CorruptData(f"{folder}/manifest.json: does not list its files; prepare again")
    for name, entry in described.items():
        path = folder / name
        if not path.is_file():
            raise CorruptData(f"{path}: is missing; prepare the data again")
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise CorruptData(
                f"{path}: {size} bytes, {entry['bytes']} were written; prepare the data again"
            )
        if verify and sha256_of(path) != entry["sha256"]:
            raise CorruptData(f"{path}: damaged (checksum differs); prepare the data again")


def _map_array(path: Path, dtype, shape: tuple[int, ...]) -> np.ndarray:
    try:
        # An empty array cannot be mapped.
        array = np.load(path, mmap_mode="r" if shape[0] else None, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CorruptData(f"{path}: not a numpy array; prepare the data again") from error
    if array.dtype != dtype or array.shape != shape:
        raise CorruptData(
            f"{path}: {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}; "
            "prepare the data again"
        )
    return array
