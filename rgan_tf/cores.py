"""How many cores this process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Fewer than the machine has, where its scheduler gave this process some only (Linux)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
