"""Versions of a model: each appears whole, checked and under the next number, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from export.publishing.serving_files import is_serving_folder
from rgan_tf.errors import BadInput
from rgan_tf.exported import version_number, versions
from rgan_tf.storage.files import atomic_folder


def check_destination(model: str | Path) -> None:
    """Refuses a place that holds something other than versions of a model.

    Raises:
      BadInput: if it is a file, or a folder with other content.
    """
    folder = Path(model)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--out {folder}: is a file; name a folder for the versions of a model")
    if not folder.is_dir():
        return
    # A hidden name is what an export that was killed left behind; no server looks at it. The
    # server's files may outlive the versions.
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
    """Adds a version: written beside the others under a hidden name, checked, renamed.

    A server that watches the folder sees nothing of it before the rename, as it looks only for
    numbers.

    Args:
      model: folder of the versions; made if missing.
      write: writes the version into the folder that it is given.
      check: raises if what was written cannot be served.

    Returns:
      The folder of the new version.

    Raises:
      BadInput: if the place is taken, see `check_destination`.
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
            with contextlib.suppress(OSError):  # somebody else may have exported meanwhile
                folder.rmdir()
        raise
    return version
