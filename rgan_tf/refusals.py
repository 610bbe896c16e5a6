"""Errors of the machine, which are not bugs: a full disk, a closed pipe, no permission."""

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
# These name a fault of the machine even without a path.
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
# These mean a wrong path if one is named, and otherwise a bug.
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
# TensorFlow has its own classes for a full disk, closed files and lost machines.
_OF_TENSORFLOW = ("ResourceExhaustedError", "PermissionDeniedError", "UnavailableError")
_NO_SCRATCH = "No usable temporary directory"  # what `tempfile` says
_FREE = "bytes are free"
_SHOWN = 300  # characters of TensorFlow's message


def refusal_of(error: BaseException) -> str | None:
    """One line with advice if an error is a refusal by the machine, else None.

    Args:
      error: the error that ended a command.
    """
    if isinstance(error, MemoryError):
        return "the memory of this machine is not enough; free some, or ask for less at once"
    if isinstance(error, OSError):
        return _of_system(error)
    return _of_tensorflow(error)


def is_refused(error: BaseException) -> bool:
    """Whether the machine refuses to read a file, which is then not necessarily damaged."""
    if isinstance(error, OSError):
        return error.errno in _OF_THE_MACHINE
    return isinstance(error, MemoryError) or _of_tensorflow(error) is not None


def free_bytes(path: str | Path) -> int | None:
    """Free bytes on the disk of a path (which need not exist); None if unknown."""
    for folder in (Path(path), *Path(path).absolute().parents):
        with contextlib.suppress(OSError, ValueError):
            return shutil.disk_usage(folder).free
    return None


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Adds the path to system errors without one, such as those of a write.

    For a full disk it also adds the free space at that moment, before unfinished files are deleted.
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
    tensorflow = sys.modules.get("tensorflow")  # if not imported, it did not raise the error
    if tensorflow is None:
        return None
    kinds = tuple(getattr(tensorflow.errors, name) for name in _OF_TENSORFLOW)
    if not isinstance(error, kinds):
        return None
    text = " ".join(str(error.message).split()) or type(error).__name__
    return f"the machine refuses: {text[:_SHOWN]}"
