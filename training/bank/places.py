"""Which bank a command may make or change, and that no other process does so meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what is imported here is slow
    from rgan_tf.bank.patch_bank import PatchBank


@contextlib.contextmanager
def own_bank(folder: str) -> Iterator[PatchBank]:
    """A bank that may be changed; nobody else changes it until the block ends.

    Yields:
      The `PatchBank`, opened under its real name: of a link, what it leads to is changed.

    Raises:
      BadInput: if it is part of prepared data, whose records refer to its rows, or a mount point;
        or another process changes it.
    """
    from rgan_tf.bank.lock import bank_lock
    from rgan_tf.bank.patch_bank import PatchBank
    from rgan_tf.storage.renames import real_place, refuse_mount, set_aside

    place = real_place(folder)
    if not set_aside(place):  # nothing is written beside what is no bank
        PatchBank.open(place, verify=False)
    _refuse_prepared(place, folder)
    refuse_mount(place)
    with bank_lock(place):
        yield PatchBank.open(place)  # again: it may have changed before it was ours


@contextlib.contextmanager
def new_bank(out: str) -> Iterator[Path]:
    """The place of a bank to be made; nobody else makes one there until the block ends.

    Raises:
      BadInput: as `free_place`; or another process makes a bank there.
    """
    from rgan_tf.bank.lock import bank_lock

    with bank_lock(free_place(out)):
        yield free_place(out)


def free_place(out: str) -> Path:
    """The absolute path of a bank to be made.

    Raises:
      BadInput: if it is taken.
    """
    from rgan_tf.errors import BadInput
    from rgan_tf.storage.renames import new_place, require_free

    place = new_place(out)
    try:
        require_free(place)
    except BadInput as error:
        is_bank = (place / "manifest.json").is_file()
        raise BadInput(f"--out {error}{', or use rgan bank add' if is_bank else ''}") from error
    return place


def _refuse_prepared(place: Path, folder: str) -> None:
    from rgan_tf.errors import BadInput

    for parent in place.parents[:2]:  # its bank lies in it, those of its splits one level deeper
        path = parent / "manifest.json"
        if path.is_file() and b'"rgan_data"' in path.read_bytes()[:200]:
            raise BadInput(
                f"{folder}: is part of prepared data and cannot be changed; copy it first with "
                f"rgan bank build --data {parent} --out BANK"
            )
