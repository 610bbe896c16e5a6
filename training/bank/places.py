"""Locks the bank that a command makes or changes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rgan_tf.bank.lock import bank_lock
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.errors import BadInput
from rgan_tf.storage.renames import (
    new_place,
    real_place,
    refuse_mount,
    require_free,
    set_aside,
)


@contextlib.contextmanager
def own_bank(folder: str) -> Iterator[PatchBank]:
    """Opens a bank for changing and locks it until the block ends.

    Yields:
      The `PatchBank`, opened under its real name: of a link, the target is changed.

    Raises:
      BadInput: if it is part of prepared data, whose records refer to its rows, or a mount point,
        or another process holds the lock.
    """
    place = real_place(folder)
    if not set_aside(place):  # write nothing beside a folder that is not a bank
        PatchBank.open(place, verify=False)
    _refuse_prepared(place, folder)
    refuse_mount(place)
    with bank_lock(place):
        yield PatchBank.open(place)  # again: it may have changed before we had the lock


@contextlib.contextmanager
def new_bank(out: str) -> Iterator[Path]:
    """The path of a new bank, locked until the block ends.

    Raises:
      BadInput: see `free_place`; or another process is making a bank there.
    """
    with bank_lock(free_place(out)):
        yield free_place(out)


def free_place(out: str) -> Path:
    """The absolute path of a new bank.

    Raises:
      BadInput: if it is taken.
    """
    place = new_place(out)
    try:
        require_free(place)
    except BadInput as error:
        is_bank = (place / "manifest.json").is_file()
        raise BadInput(f"--out {error}{', or use rgan bank add' if is_bank else ''}") from error
    return place


def _refuse_prepared(place: Path, folder: str) -> None:
    for parent in place.parents[:2]:  # the data's bank, or one of a split, a level deeper
        path = parent / "manifest.json"
        if path.is_file() and b'"rgan_data"' in path.read_bytes()[:200]:
            raise BadInput(
                f"{folder}: is part of prepared data and cannot be changed; copy it first with "
                f"rgan bank build --data {parent} --out BANK"
            )
