"""What the machine refuses: a full disk, a closed pipe, no permission. Such errors are no bug."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_HANDLES = (errno.EMFILE, errno.ENFILE)
# These say what is wrong with the machine even where no path is named.
_OF_THE_MACHINE = (
    *_FULL,
    *_NO_HANDLES,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EIO,
    errno.EFBIG,
    errno.ENOMEM,
    errno.ENOLCK,
    errno.ESTALE,
    errno.EPIPE,
    errno.EADDRINUSE,
    errno.EADDRNOTAVAIL,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.ETIMEDOUT,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
)
# These are a wrong path if one is named, and otherwise a mistake of the program.
_OF_A_PATH = (
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOENT,
    errno.ENAMETOOLONG,
    errno.ENOTEMPTY,
    errno.EBUSY,
    errno.ETXTBSY,
    errno.ELOOP,
    errno.EXDEV,
    errno.EILSEQ,
    errno.ENXIO,
    errno.ENODEV,
)
# TensorFlow reports a full disk, closed files and lost machines by classes of its own.
_OF_TENSORFLOW = ("ResourceExhaustedError", "PermissionDeniedError", "UnavailableError")
_NO_SCRATCH = "No usable temporary directory"  # what `tempfile` says
_FREE = "bytes are free"
_SHOWN = 300  # characters of TensorFlow's message


def refusal_of(error: BaseException) -> str | None:
    """What the machine refuses, in one line that says what to do; None if it does not.

    Args:
      error: that ended a command.
    """
    if isinstance(error, MemoryError):
        return "the memory of this machine is not enough; free some, or ask for less at once"
    if isinstance(error, OSError):
        return _of_system(error)
    return _of_tensorflow(error)


def is_refused(error: BaseException) -> bool:
    """Whether the machine refuses, whatever the file holds: what cannot be read is not damaged."""
    if isinstance(error, OSError):
        return error.errno in _OF_THE_MACHINE
    return isinstance(error, MemoryError) or _of_tensorflow(error) is not None


def free_bytes(path: str | Path) -> int | None:
    """What is free on the disk of a path, which need not exist; None where nobody can say."""
    for folder in (Path(path), *Path(path).absolute().parents):
        with contextlib.suppress(OSError, ValueError):
            return shutil.disk_usage(folder).free
    return None


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Gives the path to errors of the system that name none, as those of a write do.

    That of a full disk says how much is free now, before what is unfinished is deleted.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        free = free_bytes(path) if error.errno in _FULL else None
        if free is not None and _FREE not in error.strerror:
            error.strerror += f" ({free:,} {_FREE})"
        raise


def _of_system(error: OSError) -> str | None:
    named = error.filename is not None
    if error.errno == errno.ENOENT and _NO_SCRATCH in str(error.strerror):
        return f"{error.strerror}; name one by TMPDIR"
    if isinstance(error, TimeoutError) and error.errno is None:
        return "a connection: no answer in time"
    if error.errno not in _OF_THE_MACHINE and not (named and error.errno in _OF_A_PATH):
        return None
    place = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else None
    text = f"{place or 'a file or connection'}: {error.strerror or os.strerror(error.errno)}"
    if error.errno in _FULL:
        return f"{text}; free some space and repeat"
    if error.errno in _NO_HANDLES:
        return f"{text}; allow more (ulimit -n) and repeat"
    return text


def _of_tensorflow(error: BaseException) -> str | None:
    tensorflow = sys.modules.get("tensorflow")  # else none of its errors can be here
    if tensorflow is None:
        return None
    kinds = tuple(getattr(tensorflow.errors, name) for name in _OF_TENSORFLOW)
    if not isinstance(error, kinds):
        return None
    text = " ".join(str(error.message).split()) or type(error).__name__
    return f"the machine refuses: {text[:_SHOWN]}"
