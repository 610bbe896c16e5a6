"""JSON lists written member by member: a whole one would not fit the memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO


class ListWriter:
    """Writes the members of one list; the brackets are closed by `close`.

    Args:
      file: open for writing.
    """

    def __init__(self, file: TextIO):
        self._file = file
        self._separator = "[\n"

    def add(self, members: Iterable[str]) -> None:
        """Appends members, each as JSON."""
        for member in members:
            self._file.write(self._separator + member)
            self._separator = ",\n"

    def close(self) -> None:
        """Ends the list."""
        self._file.write("]" if self._separator == ",\n" else "[]")
