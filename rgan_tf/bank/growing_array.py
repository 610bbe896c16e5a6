"""A .npy file that grows row by row and can be continued after an interruption."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from rgan_tf.errors import CorruptData

AGAIN = "delete the folder and start again"


def open_up_to(path: Path, end_of: Callable[[IO[bytes]], int]) -> IO[bytes]:
    """Opens a file to append to it, and cuts off what lies beyond its last record.

    Args:
      path: of the file.
      end_of: returns the file's size by its record.

    Raises:
      CorruptData: if the file is missing or shorter than that.
    """
    try:
        file = open(path, "r+b")
    except FileNotFoundError as error:
        raise CorruptData(f"{path}: is missing; {AGAIN}") from error
    try:
        end = end_of(file)
        if file.seek(0, os.SEEK_END) < end:
            raise CorruptData(f"{path}: shorter than its record; {AGAIN}")
        file.truncate(end)
        file.seek(end)
    except BaseException:
        file.close()
        raise
    return file


class GrowingArray:
    """Appends rows to a .npy file; after `close`, NumPy can map it.

    NumPy pads its header so that the first axis can grow in place: only the header is written
    twice.

    Args:
      path: of the file; created, or continued if `rows` is given.
      dtype: of the array.
      shape: of one row; () for a vector.
      rows: how many rows of the existing file to keep; None starts a new file.

    Attributes:
      rows: written so far.

    Raises:
      CorruptData: if the file to be continued is missing, damaged or has fewer rows.
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
        self._file = open_up_to(path, self._end_of)

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
        """Flushes the appended rows to disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Writes the final number of rows."""
        if not self._file.closed:
            self._write_header()
            self.sync()
            self._file.close()

    def abandon(self) -> None:
        """Closes the file without updating its header."""
        with contextlib.suppress(OSError):  # a full disk refuses the buffered rest
            self._file.close()

    def _end_of(self, file: IO[bytes]) -> int:
        try:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
        except ValueError as error:
            raise CorruptData(f"{self._path}: its header is damaged; {AGAIN}") from error
        return file.tell() + self.rows * self._dtype.itemsize * math.prod(self._shape)

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
