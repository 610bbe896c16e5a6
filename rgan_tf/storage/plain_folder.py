"""Folders with names that TensorFlow does not read from."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PATTERN = "[\\"  # what TensorFlow takes for a pattern where it looks for a checkpoint


def is_plain(folder: str | Path) -> bool:
    """Whether TensorFlow reads a checkpoint or a SavedModel in a folder of this name.

    It writes them under any name, but looks for files that match the name, and the brackets of
    `run[2]` match one letter.
    """
    return not set(_PATTERN) & set(str(folder))


@contextlib.contextmanager
def plain_folder(folder: str | Path) -> Iterator[Path]:
    """A folder, or a link to it, from which TensorFlow reads.

    Args:
      folder: may have any name.

    Yields:
      The folder itself if its name is plain; else a link that the end of the block removes.
    """
    folder = Path(folder)
    if is_plain(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as place:
        link = Path(place) / "folder"
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link
