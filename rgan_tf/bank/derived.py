"""Arrays that are computed from a bank and kept in its folder; they can be deleted."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.storage.files import atomic_folder
from rgan_tf.storage.manifest import ManifestKind, describe_files

DERIVED = "search"
"""Folder in a bank's folder, named after what first lay there."""

AGAIN = "making it again"

_FEATURES = "features.npy"
_IN_MEMORY_BYTES = 2**30  # larger arrays are memory-mapped, also just after they were made

Progress = Callable[[str], None]


def derived_kind(name: str, what: str) -> ManifestKind:
    """The manifest of a derived folder.

    Args:
      name: of the kind.
      what: the array, in words.
    """
    return ManifestKind(name, 1, what, advice=AGAIN, needs=("of", "files"), error=CorruptData)


class DerivedFolder:
    """A folder with one float16 array [N, W] and what it was computed from.

    If the folder is not writable, the array is kept in memory and a line reports it.

    Args:
      folder: to read from and write to; None keeps nothing on disk.
      kind: of its manifest.
      identity: what the array depends on, as JSON; another identity makes it anew.
      progress: called with a line about each problem; None logs it.
    """

    def __init__(
        self,
        folder: Path | None,
        kind: ManifestKind,
        identity: dict[str, Any],
        progress: Progress | None = None,
    ):
        self.folder = folder
        self._kind = kind
        self._identity = identity
        self._progress = progress or logging.getLogger(__name__).info

    def array(self, shape: tuple[int, int], compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The array, read from the folder or computed and stored there.

        Args:
          shape: (N, W).
          compute: returns the array, float16.
        """
        stored = self._stored(shape)
        if stored is not None:
            return stored
        computed = compute()
        self._store(computed)
        if computed.nbytes <= _IN_MEMORY_BYTES:
            return computed
        stored = self._stored(shape)  # read as later processes do, which frees the memory
        return computed if stored is None else stored

    @contextlib.contextmanager
    def tolerant(self) -> Iterator[None]:
        """Reports errors of writing and continues: derived files need not be kept."""
        try:
            yield
        except (OSError, BadInput) as error:  # BadInput: another process was faster
            self._progress(f"{self.folder}: could not be stored ({error})")

    def _stored(self, shape: tuple[int, int]) -> np.ndarray | None:
        if self.folder is None or not self.folder.is_dir():
            return None
        try:
            manifest = self._kind.open(self.folder)
            if manifest.content["of"] != self._identity:
                raise manifest.damaged("is of another bank or of other sizes")
            manifest.check_files((_FEATURES,), verify=True)
            return self._read(shape)
        except (BadInput, CorruptData) as error:
            self._progress(str(error))
        except OSError as error:
            self._progress(f"{error}; {AGAIN}")
        return None

    def _read(self, shape: tuple[int, int]) -> np.ndarray:
        path = self.folder / _FEATURES
        try:
            is_large = path.stat().st_size > _IN_MEMORY_BYTES
            array = np.load(path, mmap_mode="r" if is_large else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CorruptData(f"{path}: {error}; {AGAIN}") from error
        if array.shape != shape:
            raise CorruptData(f"{path}: of another shape, {array.shape}; {AGAIN}")
        return array

    def _store(self, array: np.ndarray) -> None:
        if self.folder is None:
            return
        with self.tolerant():
            shutil.rmtree(self.folder, ignore_errors=True)
            with atomic_folder(self.folder) as partial:
                np.save(partial / _FEATURES, array, allow_pickle=False)
                files = describe_files(partial, [_FEATURES])
                self._kind.write(partial, {"of": self._identity, "files": files})
