"""The lock that lets only one process train on a run."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from rgan_tf.errors import BadInput
from rgan_tf.runs.folder import Run


@contextlib.contextmanager
def training_lock(run: Run) -> Iterator[None]:
    """Keeps other processes from training on a run; the system frees it however this one ends.

    Raises:
      BadInput: if another process holds the lock.
    """
    with open(run.folder / "lock", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(
                f"--run {run.folder}: another process is training on it; wait for it, end it, or "
                "name another folder"
            ) from error
        yield
