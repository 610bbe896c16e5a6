"""For measurements of reading: bytes that came from a disk, files dropped from memory."""

from __future__ import annotations

import os
from pathlib import Path


def bytes_read() -> int:
    """Bytes that this process has fetched from disks.

    Raises:
      OSError: where the system does not count them; Linux does.
    """
    with open("/proc/self/io") as file:
        lines = dict(line.split(": ") for line in file.read().splitlines())
    return int(lines["read_bytes"])


def drop_from_memory(path: Path) -> None:
    """Drops a file, or all files of a folder, from the system's memory; pages in use stay."""
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
