"""Memory of a piece of work, as counted by the kernel (Linux)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path


def peak_of(work: Callable[[], object]) -> float:
    """Peak growth of the process in MB while `work` runs.

    The counter is reset first if the system allows it; otherwise an earlier, higher peak hides this
    one, so measure each piece of work in its own process.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = _kilobytes("/proc/self/status", "VmRSS")
    work()
    return (_kilobytes("/proc/self/status", "VmHWM") - before) / 1024


def resident_mb() -> int:
    """MB of memory that the process holds now."""
    return _kilobytes("/proc/self/status", "VmRSS") // 1024


def available() -> int:
    """MB available for new work without swapping."""
    return _kilobytes("/proc/meminfo", "MemAvailable") // 1024


def _kilobytes(path: str, name: str) -> int:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    raise KeyError(f"{path} has no {name}")
