"""Publishes versions of a model: complete, checked and under the next number, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from export.publishing.serving_files import is_serving_folder
from rgan_tf.errors import BadInput
from rgan_tf.exported import version_number, versions
from rgan_tf.storage.files import atomic_folder
from rgan_tf.storage.plain_folder import is_plain


def check_destination(model: str | Path) -> None:
    """Refuses a folder that holds anything but versions of a model.

    Raises:
      BadInput: if it is a file, or a folder with other content, or one that TensorFlow, which is
        all that a model needs, does not load from.
    """
    folder = Path(model)
    if not is_plain(folder.absolute()):
        raise BadInput(
            f"--out {folder}: TensorFlow cannot load a model from {folder.absolute()}, because it "
            "reads [ and \\ as a pattern; name a folder without them"
        )
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--out {folder}: is a file; name a folder for the versions of a model")
    if not folder.is_dir():
        return
    # Hidden names are leftovers of killed exports; servers ignore them. The server's files may
    # outlive the versions.
    foreign = [
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and not is_serving_folder(path)
    ]
    if foreign and not versions(folder):
        raise BadInput(
            f"--out {folder}: is not empty and holds no version of a model; name another folder"
        )


def publish(
    model: str | Path, write: Callable[[Path], None], check: Callable[[Path], None]
) -> Path:
    """Adds a version: writes it beside the others under a hidden name, checks and renames it.

    A server that watches the folder only looks for numbers, so it sees nothing before the rename.

    Args:
      model: folder of the versions, created if missing.
      write: writes the version into the given folder.
      check: raises if the version cannot be served.

    Returns:
      The folder of the new version.

    Raises:
      BadInput: if the folder is taken, see `check_destination`.
      Whatever `write` and `check` raise; nothing is left behind then.
    """
    check_destination(model)
    folder = Path(model)
    is_new = not folder.exists()
    existing = versions(folder)
    version = folder / str((version_number(existing[-1].name) or 0) + 1 if existing else 1)
    try:
        with atomic_folder(version) as temporary:
            write(temporary)
            check(temporary)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):  # another export may be writing here
                folder.rmdir()
        raise
    return version
