"""Reads and writes files so that nobody ever sees one half-written.

Every artefact is written to a temporary sibling, flushed to disk and renamed: after a crash, either
the old or the new content is intact. Leftovers of a killed process end in `.partial` and can be
deleted.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import math
import os
import shutil
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rgan_tf.errors import BadInput
from rgan_tf.near_names import spelled_otherwise
from rgan_tf.refusals import is_refused, naming
from rgan_tf.storage.renames import (
    exchange,
    make_parent,
    new_place,
    partial_sibling,
    refuse_mount,
    rename_to_free,
    require_free,
    sync,
)

_BLOCK = 1 << 20  # bytes read at a time when hashing
_MAX_NAME = 1024  # characters of a path that comes from a file
_MAX_DIGITS = 4000  # of an integer; Python refuses to read a few more


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Replaces the file at `path` by `data`, or leaves it unchanged.

    Missing parent folders are created.

    Raises:
      BadInput: if `path` is an existing folder or its parent cannot be a folder.
      OSError: if the disk is full or fails, with a path; the old file is then intact.
    """
    path = Path(path)
    if path.is_dir():
        raise BadInput(f"{path}: is a folder; name a file to write")
    make_parent(path)
    temporary = partial_sibling(path)
    try:
        with naming(path), open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_json_atomic(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON, keys in the given order; refuses NaN and infinity."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        # A path may hold bytes that are not text; escaped, it is read as it was.
        data = json.dumps(value, indent=1, allow_nan=False).encode("ascii")
    write_bytes_atomic(path, data + b"\n")


def json_value(value: Any) -> Any:
    """Converts to JSON types: paths to text, NumPy scalars to numbers, NaN and infinity to null."""
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, (str, bool, int, float)) and hasattr(value, "tolist"):
        return json_value(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def append_line(path: str | Path, line: str) -> None:
    """Appends a line to a file (created if missing), or leaves the file unchanged.

    Raises:
      OSError: if the disk is full or fails, with the path.
    """
    data = (line.rstrip("\n") + "\n").encode("utf-8")
    with naming(path), open(path, "ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            while data:
                data = data[file.write(data) :]
        except BaseException:
            file.truncate(before)
            raise


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Builds a folder that appears under its name only when it is complete.

    Args:
      path: the folder to create; it must not exist, or be empty.

    Yields:
      A temporary sibling folder to write into. It becomes `path` when the block ends, and is
      removed when the block raises.

    Raises:
      BadInput: if `path` is a file, a mount point or a non-empty folder; before any writing.
    """
    path = new_place(path)  # "." has no name of its own, beside which another could be
    require_free(path)
    make_parent(path)
    temporary = partial_sibling(path)
    temporary.mkdir()
    try:
        with naming(path):
            yield temporary
            _sync_tree(temporary)
        rename_to_free(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync(path.parent)


@contextlib.contextmanager
def replaced_folder(path: str | Path) -> Iterator[Path]:
    """Like `atomic_folder`, for an existing folder: replaces its content in one step.

    Args:
      path: an existing folder.

    Yields:
      An empty temporary sibling folder. When the block ends, it replaces `path` and the old content
      is deleted; when the block raises, `path` is unchanged.

    Raises:
      BadInput: if `path` is a mount point, which cannot be exchanged.
    """
    path = Path(path)
    refuse_mount(path)
    with contextlib.ExitStack() as stack:
        temporary = partial_sibling(path)
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        temporary.mkdir()
        with naming(path):
            yield temporary
            _sync_tree(temporary)
        exchange(temporary, path)
        sync(path.parent)


def _sync_tree(root: Path) -> None:
    for folder, _, names in os.walk(root):
        for name in names:
            sync(Path(folder) / name)
        sync(Path(folder))


def sync_files(paths: Iterable[Path]) -> None:
    """Flushes files and the folders that contain them to disk."""
    folders = set()
    for path in paths:
        with naming(path):
            sync(path)
        folders.add(path.parent)
    for folder in folders:
        sync(folder)


def sha256_of(path: str | Path) -> str:
    """The sha256 of a file's content, in hexadecimal.

    Raises:
      OSError: if the file cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def name_inside(root: str | Path, name: str) -> str:
    """Resolves a file name from an untrusted file to a path inside a folder.

    Annotation tools write backslashes and absolute paths; both are accepted if they lead into the
    folder, and refused otherwise. A file is also found where its name has a letter and its accent
    apart and `name` together, or the other way round. Links inside the folder are followed: its
    owner put them there.

    Args:
      root: a trusted folder.
      name: a path of at most 1024 characters, relative to `root` or absolute, with slashes or
        backslashes. It may not exist yet.

    Returns:
      The path relative to `root`, with forward slashes and without "..".

    Raises:
      BadInput: if `name` is empty, too long, contains NUL, begins with a drive letter, or leads out
        of `root`.
    """
    shown = repr(name if not isinstance(name, str) or len(name) <= 80 else name[:77] + "...")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or "\0" in name:
        raise BadInput(f"file name {shown}: expected a path inside {root}")
    if name[1:2] == ":":
        raise BadInput(f"file name {shown}: is on a drive of another machine, not inside {root}")
    base = os.path.abspath(root)
    if "\\" in name and not os.path.lexists(os.path.join(base, name)):
        name = name.replace("\\", "/")
    # Of one name with an accent, systems make files under two names.
    forms = (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))
    name = next((form for form in forms if os.path.lexists(os.path.join(base, form))), name)
    path = os.path.normpath(os.path.join(base, name))
    # The folder may be named through a link.
    for inner, outer in ((path, base), (os.path.realpath(path), os.path.realpath(base))):
        if inner.startswith(os.path.join(outer, "")):
            return os.path.relpath(inner, outer)
    raise BadInput(f"file name {shown}: leads out of {root}")


class Unreadable:
    """Placeholder for an unreadable value in leniently read JSON.

    No reader accepts its type, so it matters only where the value is used.
    """

    def __init__(self, reason: str):
        self._reason = reason

    def __repr__(self) -> str:
        return self._reason


_TWICE = Unreadable("two values")
_HUGE = Unreadable("a number of thousands of digits")


def read_json(
    path: str | Path,
    *,
    max_bytes: int | None = None,
    unique_keys: bool = False,
    lenient: bool = False,
) -> Any:
    """Reads a JSON file.

    Args:
      path: the file.
      max_bytes: larger files are refused unread.
      unique_keys: refuse an object with a repeated key instead of keeping the last value.
      lenient: see `parse_json`.

    Raises:
      BadInput: if the file is missing, too large or not JSON (with the line).
      OSError: if the file cannot be read, e.g. for lack of permission.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            data = file.read() if max_bytes is None else file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        if is_refused(error):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        advice = spelled_otherwise(path) or "; name a readable JSON file"
        raise BadInput(f"{path}: {reason}{advice}") from error
    if max_bytes is not None and len(data) > max_bytes:
        raise BadInput(f"{path}: larger than {max_bytes} bytes, the limit for such a file")
    return parse_json(data, str(path), unique_keys=unique_keys, lenient=lenient)


def parse_json(
    data: bytes | str, source: str, *, unique_keys: bool = False, lenient: bool = False
) -> Any:
    """Parses strict JSON (no NaN, no infinity).

    Args:
      data: UTF-8 bytes or text.
      source: its name in messages.
      unique_keys: refuse an object with a repeated key instead of keeping the last value.
      lenient: accept NaN and infinity, and return an `Unreadable` for a number of thousands of
        digits and for a repeated key; for files of which only some fields are read.

    Raises:
      BadInput: if it is not JSON, with line and column where known.
    """
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        if lenient:
            return _parse_leniently(text)
        hook = each_key_once if unique_keys else None
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=hook)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        reason = error.msg.removesuffix(" at")  # "Unterminated string starting at"
        raise BadInput(f"{source}: not JSON ({reason} at {where})") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{source}: not JSON (byte {error.start} is not UTF-8)") from error
    except RecursionError as error:
        raise BadInput(f"{source}: not usable JSON (nested too deeply)") from error
    except ValueError as error:  # a number of thousands of digits, NaN, a repeated key
        raise BadInput(f"{source}: not usable JSON ({str(error).splitlines()[0]})") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _parse_leniently(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError:
        raise
    except ValueError:  # a number of thousands of digits; parsing for it is slower
        return json.loads(text, object_pairs_hook=_once, parse_int=_bounded_int)


def _bounded_int(digits: str) -> Any:
    return int(digits) if len(digits) <= _MAX_DIGITS else _HUGE


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        counts = collections.Counter(key for key, _ in pairs)
        result.update((key, _TWICE) for key, count in counts.items() if count > 1)
    return result


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An `object_pairs_hook` of `json.loads` that refuses a repeated key.

    Takes time in proportion to the keys: the sender of a request chooses their number.

    Raises:
      ValueError: names the first such key.
    """
    result = dict(pairs)
    if len(result) != len(pairs):
        counts = collections.Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise ValueError(f"key {twice[:40]!r} is given twice")
    return result
