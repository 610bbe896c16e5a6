"""The lock on a bank that is being built or changed, and the folders beside it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rgan_tf.bank.derived import DERIVED
from rgan_tf.bank.format import FILES, MANIFEST
from rgan_tf.errors import BadInput
from rgan_tf.storage.renames import make_parent, partial_siblings, undo_exchange


def building_folder(bank: Path) -> Path:
    """Where the bank of that name is built: beside it, so that it can be renamed into place."""
    return bank.with_name(f".{bank.name}.building")


def adding_folder(bank: Path) -> Path:
    """Where new patches are written before they are added to a bank."""
    return bank.with_name(f".{bank.name}.adding")


@contextlib.contextmanager
def bank_lock(folder: Path) -> Iterator[None]:
    """Keeps every other process from making or changing a bank.

    The system frees the lock however this process ends. What a killed process left beside the bank
    is deleted; a bank that it was about to replace is put back.

    Args:
      folder: absolute path of the bank, which need not exist.

    Raises:
      BadInput: if another process holds the lock, or the folder beside the bank is not writable.
    """
    make_parent(folder)
    path = folder.with_name(f".{folder.name}.lock")
    with _locked(path, folder):
        try:
            undo_exchange(folder)
            _delete_leftovers(folder)
            yield
        finally:
            path.unlink(missing_ok=True)  # while the lock is held: see `_locked`


@contextlib.contextmanager
def _locked(path: Path, folder: Path) -> Iterator[None]:
    file = _lock_file(path, folder)
    while not _is_at(file, path):  # its last owner deleted it after we had opened it
        file.close()
        file = _lock_file(path, folder)
    with file:
        yield


def _lock_file(path: Path, folder: Path) -> IO[str]:
    try:
        file = open(path, "a", encoding="utf-8")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise BadInput(
            f"{folder}: cannot be made or changed: {path.parent} cannot be written to "
            f"({error.strerror}); name another place"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise BadInput(
            f"{folder}: another process is making or changing this bank; wait for it and repeat"
        ) from error
    return file


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _delete_leftovers(folder: Path) -> None:
    """Deletes unfinished copies of a bank; nobody can be using them while we hold its lock."""
    for path in partial_siblings(folder):
        if path.is_symlink() or not path.is_dir():
            continue
        # If there is no bank yet, another command may be writing something else under that name.
        if (folder / MANIFEST).is_file() or _holds_bank_files(path):
            shutil.rmtree(path, ignore_errors=True)
    for working in (building_folder(folder), adding_folder(folder)):
        for path in partial_siblings(working):
            shutil.rmtree(path, ignore_errors=True)


def _holds_bank_files(folder: Path) -> bool:
    # Files still being written have names that begin with a dot.
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return bool(names) and names <= {*FILES, MANIFEST, DERIVED}
