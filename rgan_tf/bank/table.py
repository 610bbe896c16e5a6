"""The table of a patch bank: one JSON line per patch, read on demand."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.bank.format import ADVICE
from rgan_tf.errors import CorruptData


class PatchTable(Sequence[dict[str, Any]]):
    """The lines of a bank's table as dicts.

    The file is mapped, so the table stays readable while the bank is edited.

    Args:
      path: the file.
      offsets: [N] where each line begins, in bytes.
    """

    def __init__(self, path: Path, offsets: np.ndarray):
        self._path = path
        self._offsets = offsets
        with open(path, "rb") as file:
            is_empty = not file.read(1)  # an empty file cannot be mapped
            self._bytes = b"" if is_empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._offsets)

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
        start = int(self._offsets[index])
        end = self._bytes.find(b"\n", start)
        return self._parse(self._bytes[start:end])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        start, count = 0, 0
        while (end := self._bytes.find(b"\n", start)) >= 0:
            yield self._parse(self._bytes[start:end])
            start, count = end + 1, count + 1
        if count != len(self):
            raise CorruptData(f"{self._path}: {count} rows for {len(self)} patches; {ADVICE}")

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise CorruptData(f"{self._path}: a line is not JSON; {ADVICE}") from error
        if not isinstance(row, dict):
            raise CorruptData(f"{self._path}: a line is not a JSON object; {ADVICE}")
        return row
