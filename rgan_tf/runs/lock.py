"""The lock that lets only one process train on a run."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from rgan_tf.errors import BadInput
from rgan_tf.runs.folder import LOCK


@contextlib.contextmanager
def training_lock(folder: str | Path) -> Iterator[None]:
    """Keeps other processes from training on a run; the system frees it however this one ends.

    A process that makes or resumes a run holds it before writing anything else: the files of a run
    that is in training stay as its process wrote them.

    Args:
      folder: of the run, which `check_run_folder` has passed; made if it is missing.

    Raises:
      BadInput: if another process holds the lock.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(
                f"--run {folder}: another process is training on it; wait for it, end it, or "
                "name another folder"
            ) from error
        yield
