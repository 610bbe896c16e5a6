"""The patch bank: crops of objects with their features, graphs and provenance.

manifest.json      sizes, backbone, checksums of the files
vocabulary.json    names of the category ids
crops.npy          uint8 [N, S, S, 3]
features.npy       float16 [N, Dx]
table.jsonl        one JSON object per patch: category, image, box, licence, url, ...
columns.npy        int64 [N, 5]: category id, image id, byte offset of the patch's table line,
                   number of its graph, position in the graph
graph_*.npy        the scene graphs, see `rgan_tf.bank.graphs`

Arrays are memory-mapped and lines are read on demand, so a bank of any size opens at once. Nothing
is pickled. What a model derives from a bank (graph features, search index) is kept apart.
"""

from __future__ import annotations

import functools
import mmap
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rgan_tf.arguments import path_text
from rgan_tf.bank.format import (
    ADVICE,
    BANK,
    COLUMNS,
    CROPS,
    FEATURES,
    FILES,
    GRAPH_ENDS,
    GRAPH_OBJECTS,
    GRAPH_TRIPLES,
    TABLE,
    VOCABULARY,
)
from rgan_tf.bank.graphs import GraphTable
from rgan_tf.bank.table import PatchTable
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.refusals import is_refused
from rgan_tf.storage.manifest import Manifest
from rgan_tf.storage.mapped import rows_of, rows_or_zeros
from rgan_tf.vocabulary import IMAGE, Vocabulary

_IN_DATA = "bank"  # folder of the bank in prepared data
_ROWS_AT_ONCE = 512  # crops resized at a time
_CROPS_AT_ONCE = 4096  # read at a time: more than a batch needs, 50 MB
_CACHE_BYTES = 2**30  # arrays up to this size are kept in memory
_VERIFIED_BYTES = 2**29  # banks up to this size are compared with their checksums when opened


class PatchBank:
    """Read access to a bank folder; open one with `PatchBank.open`.

    Attributes:
      folder: the bank.
      manifest: counts, sizes, backbone and the checksums of the files.
      vocabulary: names of its category ids.
      crops: uint8 [N, S, S, 3], memory-mapped.
      features: float16 [N, Dx], memory-mapped.
      category_ids: [N] int64 object ids, memory-mapped.
      image_ids: [N] int64 source images, memory-mapped.
      graph_ids: [N] int64 number of the patch's graph, memory-mapped.
      graph_positions: [N] int64 its position among the objects of that graph, memory-mapped.
      graphs: the scene graphs.
      rows: the table, a lazy sequence with one dict per patch.
      fingerprint: of the manifest, which holds the checksum of every file; equal fingerprints mean
        equal banks.

    Example:
      ```python
      import rgan_tf

      bank = rgan_tf.PatchBank.open("DATA/bank")
      print(len(bank), bank.rows[0]["source"], bank.crops[0].shape)
      ```
    """

    def __init__(
        self,
        manifest: Manifest,
        vocabulary: Vocabulary,
        arrays: dict[str, np.ndarray],
    ):
        self._manifest = manifest
        self.folder = manifest.folder
        self.manifest = manifest.content
        self.fingerprint = manifest.fingerprint()
        self.vocabulary = vocabulary
        self.crops = arrays[CROPS]
        self.features = arrays[FEATURES]
        columns = arrays[COLUMNS]
        self.category_ids = columns[:, 0]
        self.image_ids = columns[:, 1]
        self.graph_ids = columns[:, 3]
        self.graph_positions = columns[:, 4]
        self.graphs = GraphTable(arrays[GRAPH_OBJECTS], arrays[GRAPH_TRIPLES], arrays[GRAPH_ENDS])
        self.rows = PatchTable(self.folder / TABLE, columns[:, 2])
        self._resized: dict[int, np.ndarray] = {}
        self._resizing = threading.Lock()

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool | None = None) -> PatchBank:
        """Opens a bank. Presence and size of all files are always checked.

        Args:
          folder: made by `prepare` or `rgan bank`.
          verify: compare every file with its checksum (seconds per GB); None does so for banks up
            to half a GB.

        Raises:
          BadInput: if the folder is not a patch bank, or of another version.
          CorruptData: if a file is missing, damaged or has the wrong shape; names the file.
        """
        folder = path_text(folder, "bank")
        try:
            manifest = BANK.open(folder)
        except BadInput as error:
            inside = Path(folder) / _IN_DATA
            if not (inside / BANK.file).is_file():
                raise
            raise BadInput(f"{folder}: not a patch bank, but holds one; name {inside}") from error
        content = manifest.content
        backbone = content.get("backbone")
        if not isinstance(backbone, str) or not backbone.strip():
            raise manifest.damaged("does not name the backbone of its features")
        if verify is None:
            verify = _bytes_of(content) <= _VERIFIED_BYTES
        manifest.check_files(FILES, verify=verify)
        shape = [content.get(key) for key in ("rows", "graphs", "crop_size", "feature_size")]
        if not all(isinstance(number, int) for number in shape):
            raise manifest.damaged("does not give the sizes")
        rows, graphs, size, width = shape
        expected = {
            CROPS: (np.uint8, (rows, size, size, 3)),
            FEATURES: (np.float16, (rows, width)),
            COLUMNS: (np.int64, (rows, 5)),
            GRAPH_OBJECTS: (np.int32, (None,)),
            GRAPH_TRIPLES: (np.int32, (None, 3)),
            GRAPH_ENDS: (np.int64, (graphs, 2)),
        }
        arrays = {
            name: _map_array(manifest.folder / name, dtype, shape)
            for name, (dtype, shape) in expected.items()
        }
        return cls(manifest, manifest.read(VOCABULARY, Vocabulary.from_json), arrays)

    def __fspath__(self) -> str:
        """Its folder: an opened bank may stand wherever a folder is asked for."""
        return str(self.folder)

    def __reduce__(self):
        """A copy in another process opens the folder again."""
        return PatchBank.open, (self.folder,)

    def verify(self) -> None:
        """Compares every file with its checksum, and the files with each other.

        Raises:
          CorruptData: at the first difference; names the file.
        """
        self._manifest.check_files(FILES, verify=True)
        if self.vocabulary.sha256() != self.manifest.get("vocabulary_sha256"):
            raise CorruptData(f"{self.folder / VOCABULARY}: not the bank's vocabulary; {ADVICE}")
        sizes = np.diff(self.graphs.ends[:, 0], prepend=0)  # [G] objects per graph
        is_sound = (
            (self.category_ids > IMAGE)
            & (self.category_ids < self.vocabulary.num_objects)
            & (self.graph_ids >= 0)
            & (self.graph_ids < len(self.graphs))
        )
        if is_sound.all():
            is_sound = self.graph_positions < sizes[self.graph_ids]
        if not is_sound.all():
            row = int(np.flatnonzero(~is_sound)[0])
            raise CorruptData(f"{self.folder / COLUMNS}: row {row} is out of range; {ADVICE}")
        for row, (entry, category) in enumerate(zip(self.rows, self.category_ids, strict=True)):
            if not isinstance(entry, dict) or entry.get("category_id") != category:
                raise CorruptData(f"{self.folder / TABLE}: row {row} is of another patch")

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

    @functools.cached_property
    def boxes(self) -> np.ndarray:
        """[N, 4] float64 [y0, x0, y1, x1], fractions: each patch's box in its image."""
        return np.array([row["box"] for row in self.rows], np.float64).reshape(-1, 4)

    def crops_at(self, ids: np.ndarray, size: int) -> np.ndarray:
        """Crops at another size.

        Args:
          ids: integer [...], rows; -1 gives black.
          size: side in px; smaller sizes are area-averaged.

        Returns:
          uint8 [..., size, size, 3].
        """
        ids = _rows(ids)
        source = self._resized_crops(size)
        if source is not None:
            return rows_or_zeros(source, ids)
        flat = ids.reshape(-1)
        result = np.zeros((len(flat), size, size, 3), np.uint8)
        present = np.flatnonzero(flat >= 0)
        for start in range(0, len(present), _CROPS_AT_ONCE):
            places = present[start : start + _CROPS_AT_ONCE]
            result[places] = resize_crops(rows_of(self.crops, flat[places]), size)
        return result.reshape(*ids.shape, size, size, 3)

    def all_crops(self, size: int) -> np.ndarray:
        """All crops at another size: uint8 [N, size, size, 3].

        Stored ones of that size stay in their file if they are many.
        """
        if size == self.crop_size:
            return self.crops
        return self.crops_at(np.arange(len(self)), size)

    def features_at(self, ids: np.ndarray) -> np.ndarray:
        """Backbone features as float32 [..., Dx]; zeros where an id is -1."""
        return rows_or_zeros(self.features, _rows(ids)).astype(np.float32)

    def _resized_crops(self, size: int) -> np.ndarray | None:
        """All crops at that size, resized once; None if they would fill the memory."""
        if len(self) * size * size * 3 > _CACHE_BYTES:
            return self.crops if size == self.crop_size else None
        with self._resizing:  # else two readers of a pipeline would both do it
            if size not in self._resized:
                self._resized[size] = resize_crops(np.asarray(self.crops), size)
                if size != self.crop_size:
                    _release(self.crops)
            return self._resized[size]


def _rows(ids: Any) -> np.ndarray:
    """Row numbers as an array; that of an empty list would hold floats."""
    array = np.asarray(ids)
    return array if array.size else array.astype(np.int64)


def _bytes_of(manifest: dict[str, Any]) -> int:
    """Total size of the files by the manifest; 0 if it does not say."""
    files = manifest.get("files")
    entries = files.values() if isinstance(files, dict) else ()
    sizes = [entry.get("bytes") for entry in entries if isinstance(entry, dict)]
    return sum(size for size in sizes if isinstance(size, int))


def _release(array: np.ndarray) -> None:
    """Frees the cached pages of a mapped file; they are read again on demand."""
    mapping = getattr(array, "_mmap", None)
    if mapping is not None and hasattr(mapping, "madvise"):  # not on Windows
        mapping.madvise(mmap.MADV_DONTNEED)


def resize_crops(crops: np.ndarray, size: int) -> np.ndarray:
    """Resizes square crops by area averaging: uint8 [n, S, S, 3] -> [n, size, size, 3].

    Works in blocks: the sums of a whole bank would take many times its size.
    """
    stored = crops.shape[1]
    if size == stored:
        return crops
    result = np.empty((len(crops), size, size, 3), np.uint8)
    if stored % size == 0:
        step = stored // size
        for start in range(0, len(crops), _ROWS_AT_ONCE):
            block = crops[start : start + _ROWS_AT_ONCE]
            parts = block.reshape(len(block), size, step, size, step, 3)
            sums = parts.sum(axis=(2, 4), dtype=np.uint32)
            result[start : start + len(block)] = (sums + step * step // 2) // (step * step)
        return result
    filter_ = Image.Resampling.BOX if size < stored else Image.Resampling.BILINEAR
    for index, crop in enumerate(crops):
        result[index] = np.asarray(Image.fromarray(crop).resize((size, size), filter_))
    return result


def _map_array(path: Path, dtype, shape: tuple[int | None, ...]) -> np.ndarray:
    """Memory-maps the array in a file; None in the shape stands for any number."""
    try:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError:  # an array without rows cannot be mapped
            array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        if is_refused(error):
            raise
        raise CorruptData(f"{path}: not a numpy array; {ADVICE}") from error
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        raise CorruptData(
            f"{path}: {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}; {ADVICE}"
        )
    return array
