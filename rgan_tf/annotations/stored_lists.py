"""JSON files whose long lists stay on the disk: a member is parsed when it is asked for.

As Python objects, the members of a file of several hundred MB would take ten times its size.
"""

from __future__ import annotations

import array
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from rgan_tf.errors import BadInput
from rgan_tf.progress import late_bar
from rgan_tf.storage.files import parse_json, read_json

_BLOCK = 1 << 20  # bytes read at a time; most members are far smaller
_BOM = b"\xef\xbb\xbf"
_SPACE = " \t\n\r"
_MOST_WHOLE = 1 << 26  # bytes; a larger file is not parsed again only to say more of its fault
_CUT = 16  # characters before the end of a text where its end can be the fault


class ChangedFile(BadInput):
    """A file was changed while it was read; more of it is as useless as what was met."""


class StoredList(Sequence[Any]):
    """The members of a JSON list, by their places in its file.

    Args:
      path: the file, which must not change while this is used.
      file: opened.
    """

    def __init__(self, path: Path, file: _Descriptor):
        self._path = path
        self._file = file
        self._starts = array.array("q")  # bytes from the beginning of the file
        self._ends = array.array("q")

    def __len__(self) -> int:
        return len(self._starts)

    def __repr__(self) -> str:
        return f"a list of {len(self)}"

    def __getitem__(self, index):
        """A member, or the members of a slice, parsed leniently (see `parse_json`).

        Raises:
          IndexError: if there is no such member.
          ChangedFile: if the file has changed.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        start, end = self._starts[index], self._ends[index]
        data = self._file.read(start, end)
        try:
            return parse_json(data, str(self._path), lenient=True)
        except BadInput as error:
            raise ChangedFile(f"{self._path}: has changed while it was read; repeat") from error

    def __iter__(self) -> Iterator[Any]:
        return (self[number] for number in range(len(self)))

    def add(self, start: int, end: int) -> None:
        """Adds the member between two places in bytes."""
        self._starts.append(start)
        self._ends.append(end)


def read_stored(path: str | Path) -> Any:
    """Reads a JSON file leniently, without the members of its lists.

    Lists at the top, or of an object at the top, are `StoredList`s; a list further inside is part
    of a member. A file that is anything else is parsed whole, and so is a pipe.

    Args:
      path: the file.

    Raises:
      BadInput: if the file is missing or not JSON (with the line).
    """
    path = Path(path)
    try:
        if path.is_file():
            bar = late_bar(f"read {path.name}", path.stat().st_size, unit="B")
            with open(path, "rb") as file, bar:
                return _Scan(path, file, bar.update).top()
    except _NotJson as error:
        if path.stat().st_size > _MOST_WHOLE:
            raise BadInput(
                f"{path}: not JSON ({error}); fetch or export it again if it is cut off"
            ) from error
    except (OSError, ValueError, RecursionError, BadInput):
        pass  # said below, where a number of thousands of digits can be read as well
    return read_json(path, lenient=True)


class _NotJson(ValueError):
    """What is wrong with a file, and at which byte."""


class _Descriptor:
    """An open file, once for all of its lists; closed when nothing needs it any more."""

    def __init__(self, file: BinaryIO):
        self._number = -1
        self._number = os.dup(file.fileno())

    def read(self, start: int, end: int) -> bytes:
        return os.pread(self._number, end - start, start)

    def __del__(self):
        if self._number >= 0:
            os.close(self._number)


class _Scan:
    """Finds where the members of lists begin and end.

    The text is decoded as Latin-1, so that positions are bytes: what lies outside of strings is
    ASCII in UTF-8 too. Of values, only those that are not members are kept.
    """

    def __init__(self, path: Path, file: BinaryIO, on_read: Callable[[int], Any]):
        self._path, self._file = path, file
        self._on_read = on_read  # is told how many bytes
        self._kept_open = _Descriptor(file)
        self._text, self._at = "", 0
        self._before = 0  # bytes before the text
        self._is_last = False  # no text follows
        self._parse = json.JSONDecoder().raw_decode
        self._more()
        if self._text.startswith(_BOM.decode("latin-1")):
            self._at = len(_BOM)

    def top(self) -> Any:
        """The value of the whole file.

        Raises:
          _NotJson: if it is not JSON or not UTF-8.
          ValueError: if it is neither a list nor an object with every key once.
        """
        first = self._peek()
        if first == "[":
            result = self._list()
        elif first == "{":
            result = self._object()
        else:
            raise ValueError("neither a list nor an object")
        if self._peek():
            raise self._fault("something follows")
        return result

    def _object(self) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for _ in self._members("}"):
            if self._peek() != '"':
                raise self._fault("no key")
            key = self._kept(*self._value())
            self._skip(":")
            if key in result:
                raise ValueError("a key is given twice")
            result[key] = self._list() if self._peek() == "[" else self._kept(*self._value())
        return result

    def _list(self) -> StoredList:
        result = StoredList(self._path, self._kept_open)
        for _ in self._members("]"):
            start, end = self._value()
            if not self._text[start:end].isascii():
                self._check_utf8(start, end)
            result.add(self._before + start, self._before + end)
        return result

    def _members(self, closing: str) -> Iterator[None]:
        """Steps over brackets and commas; between them, the caller reads one member."""
        self._at += 1
        if self._peek() == closing:
            self._at += 1
            return
        while True:
            yield
            if self._peek() == closing:
                self._at += 1
                return
            self._skip(",")

    def _value(self) -> tuple[int, int]:
        """Steps over a value; returns its beginning and end in the text."""
        self._peek()
        while True:
            try:
                end = self._parse(self._text, self._at)[1]
            except json.JSONDecodeError as error:
                # An open string is told of at its beginning.
                may_be_cut = error.msg.startswith("Unterminated") or (
                    error.pos >= len(self._text) - _CUT
                )
                if self._is_last or not may_be_cut:
                    raise self._fault(error.msg, error.pos) from error
            except ValueError:
                if self._is_last:
                    raise
            else:
                if end < len(self._text) or self._is_last:  # else a number may go on
                    start, self._at = self._at, end
                    return start, end
            self._more()

    def _kept(self, start: int, end: int) -> Any:
        data = self._text[start:end].encode("latin-1")
        return parse_json(data, str(self._path), lenient=True)

    def _check_utf8(self, start: int, end: int) -> None:
        try:
            self._text[start:end].encode("latin-1").decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._fault("no UTF-8", start + error.start) from error

    def _skip(self, character: str) -> None:
        if self._peek() != character:
            raise self._fault(f"no {character}")
        self._at += 1

    def _fault(self, what: str, at: int | None = None) -> _NotJson:
        place = self._before + (self._at if at is None else at)
        return _NotJson(f"{what.removesuffix(' at')} at byte {place}")

    def _peek(self) -> str:
        """The next character that is not a space; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if self._is_last:
                return ""
            self._more()

    def _more(self) -> None:
        """Reads on; at least doubles what is left, so that a long value is not parsed too often."""
        left = self._text[self._at :]
        data = self._file.read(max(_BLOCK, len(left)))
        self._text = left + data.decode("latin-1")
        self._before += self._at
        self._at = 0
        self._is_last = not data
        self._on_read(len(data))
