"""Renames files and folders into place without overwriting or exposing partial ones."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from rgan_tf.errors import BadInput
from rgan_tf.refusals import naming

_PARTIAL, _ASIDE = ".partial", ".replaced"
_LONGEST = 200  # characters of a name repeated in its temporary sibling's name


def partial_sibling(path: Path) -> Path:
    """A new name beside `path` for unfinished content."""
    return path.with_name(f".{path.name[:_LONGEST]}.{secrets.token_hex(4)}{_PARTIAL}")


def partial_siblings(path: Path) -> list[Path]:
    """Existing siblings whose names `partial_sibling` can have made for `path` only."""
    return _siblings(path, _PARTIAL)


def _siblings(path: Path, suffix: str) -> list[Path]:
    if len(path.name) > _LONGEST or not path.parent.is_dir():
        return []
    pattern = re.compile(re.escape(f".{path.name}.") + r"[0-9a-f]{8}" + re.escape(suffix))
    return sorted(other for other in path.parent.iterdir() if pattern.fullmatch(other.name))


def real_place(path: str | Path) -> Path:
    """The absolute path of a name, with links followed; it need not exist.

    Raises:
      BadInput: if links form a loop, or a folder on the way is not accessible.
    """
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError) as error:
        raise BadInput(f"{path}: cannot be followed ({error}); name another place") from error


def new_place(path: str | Path) -> Path:
    """Like `real_place`, but does not follow a link in the last component."""
    path = Path(path)
    if path.name in ("", ".."):
        return real_place(path)
    return real_place(path.parent) / path.name


def make_parent(path: Path) -> None:
    """Creates the parent folder of `path`, durably.

    Raises:
      BadInput: if something else is in the way, or permission is missing.
    """
    try:
        missing = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise BadInput(f"{path}: {path.parent} cannot be made a folder; name another") from error
    with naming(path):
        for folder in missing:
            sync(folder.parent)  # it holds the folder's name


def sync(path: Path) -> None:
    """Flushes a file, or the names in a folder, to disk.

    Raises:
      OSError: if the disk fails.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_free(path: Path) -> None:
    """Refuses a name under which no folder can be made.

    Raises:
      BadInput: if it is taken by anything but an empty folder, or is a mount point.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise BadInput(f"{path}: exists and is not a folder; name a new folder")
    if path.is_dir() and any(path.iterdir()):
        raise BadInput(f"{path}: folder exists and is not empty; name a new folder or delete it")
    refuse_mount(path)


def rename_to_free(folder: Path, path: Path) -> None:
    """Renames a finished folder to its final name.

    Raises:
      BadInput: see `require_free`; another process may have taken the name meanwhile.
    """
    require_free(path)
    with _mounts_refused(path):
        os.rename(folder, path)


def refuse_mount(path: Path) -> None:
    """Refuses a mount point, because no other folder can take its name.

    Raises:
      BadInput: if it is one.
    """
    if os.path.ismount(path):
        raise _mount_point(path)


def exchange(new: Path, old: Path) -> None:
    """Replaces `old` by `new` and deletes it.

    This takes two steps. A process killed between them leaves `old` intact beside its name;
    `undo_exchange` puts it back.

    Raises:
      BadInput: if `old` is a mount point.
    """
    aside = partial_sibling(old).with_suffix(_ASIDE)
    with _mounts_refused(old):
        os.rename(old, aside)
    try:
        os.rename(new, old)
    except BaseException:
        os.rename(aside, old)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def set_aside(path: Path) -> list[Path]:
    """What `exchange` has moved away from `path` and not yet deleted."""
    return _siblings(path, _ASIDE)


def undo_exchange(path: Path) -> None:
    """Repairs an exchange whose process was killed; no other process may be exchanging `path`."""
    for aside in set_aside(path):
        if path.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.rename(aside, path)


@contextlib.contextmanager
def _mounts_refused(path: Path) -> Iterator[None]:
    """Reports a mount of a folder on its own disk, which only renaming can reveal."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.EXDEV):
            raise _mount_point(path) from error
        raise


def _mount_point(path: Path) -> BadInput:
    return BadInput(f"{path}: is a mount point and cannot be renamed; name a folder inside it")
