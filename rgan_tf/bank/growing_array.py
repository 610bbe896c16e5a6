"""A .npy file that grows row by row."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np


class GrowingArray:
    """Appends rows to a .npy file; after `close`, NumPy can map it.

    NumPy pads its header so that the first axis can grow in place: only the header is written
    twice.

    Args:
      path: of the file, which is created.
      dtype: of the array.
      shape: of one row; () for a vector.

    Attributes:
      rows: written so far.
    """

    def __init__(self, path: Path, dtype, shape: tuple[int, ...]):
        self._path = path
        self._dtype = np.dtype(dtype)
        self._shape = shape
        self.rows = 0
        self._file = open(path, "wb")
        self._write_header()

    def append(self, values: np.ndarray) -> None:
        """Adds [n, *shape] rows, cast to the array's type.

        Raises:
          ValueError: if the rows have another shape.
        """
        values = np.ascontiguousarray(values, self._dtype)
        if values.shape[1:] != self._shape or not values.ndim:
            raise ValueError(f"{self._path.name}: rows {self._shape}, got {values.shape[1:]}")
        self._file.write(values.data)
        self.rows += len(values)

    def close(self) -> None:
        """Writes the final number of rows."""
        if not self._file.closed:
            self._write_header()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def abandon(self) -> None:
        """Closes the file without updating its header."""
        with contextlib.suppress(OSError):  # a full disk refuses the buffered rest
            self._file.close()

    def _write_header(self) -> None:
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self.rows, *self._shape),
            },
        )
        self._file.seek(0, os.SEEK_END)
