"""The results of `rgan bench full-size` as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_COLUMNS = {
    "data": "data",
    "step": "step",
    "seconds": "time, s",
    "processor_seconds": "processor, s",
    "memory_mb": "memory, MB",
    "process_mb": "one process, MB",
    "resident_mb": "with mapped files, MB",
    "disk_mb": "disk while it ran, MB",
    "folder_mb": "its folders, MB",
}


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """One row per result of `Place.run`."""
    rows = [list(_COLUMNS.values()), ["---"] * len(_COLUMNS)]
    rows += [[_shown(result[key]) for key in _COLUMNS] for result in results]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,}"
