"""A .npy file that grows row by row and can go on after an interruption."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

import numpy as np

from rgan_tf.errors import CorruptData

_AGAIN = "delete the folder and start again"


class GrowingArray:
    """Rows appended to a .npy file; `close` makes it one that NumPy can map.

    NumPy pads its header so that the first axis can grow in place: only the header is written
    twice.

    Args:
      path: of the file; made, or with `rows` continued.
      dtype: of the array.
      shape: of one row; () for a vector.
      rows: how many rows of the existing file to keep; None starts it.

    Attributes:
      rows: written so far.

    Raises:
      CorruptData: if the file to be continued is missing, damaged or shorter than that.
    """

    def __init__(self, path: Path, dtype, shape: tuple[int, ...], rows: int | None = None):
        self._path = path
        self._dtype = np.dtype(dtype)
        self._shape = shape
        self.rows = rows or 0
        if rows is None:
            self._file = open(path, "wb")
            self._write_header()
            return
        try:
            self._file = open(path, "r+b")
        except FileNotFoundError as error:
            raise CorruptData(f"{path}: is missing; {_AGAIN}") from error
        try:
            self._go_on_after(rows)
        except BaseException:
            self._file.close()
            raise

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

    def sync(self) -> None:
        """Forces what was appended to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Writes the final number of rows."""
        if not self._file.closed:
            self._write_header()
            self.sync()
            self._file.close()

    def abandon(self) -> None:
        """Closes the file as it is."""
        with contextlib.suppress(OSError):  # a full disk refuses what is still in the buffer
            self._file.close()

    @property
    def _row_bytes(self) -> int:
        return self._dtype.itemsize * math.prod(self._shape)

    def _go_on_after(self, rows: int) -> None:
        try:
            end = self._header_bytes() + rows * self._row_bytes
        except ValueError as error:
            raise CorruptData(f"{self._path}: its header is damaged; {_AGAIN}") from error
        if os.fstat(self._file.fileno()).st_size < end:
            raise CorruptData(f"{self._path}: shorter than its record; {_AGAIN}")
        self._file.truncate(end)
        self._file.seek(end)

    def _header_bytes(self) -> int:
        self._file.seek(0)
        np.lib.format.read_magic(self._file)
        np.lib.format.read_array_header_1_0(self._file)
        return self._file.tell()

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
