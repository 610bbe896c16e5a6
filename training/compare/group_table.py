"""Tables of what lies behind the averages: figures by group of objects and of scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.compare.entries import Entry

_MEASURES = (
    ("Objects recognised", ("crop_accuracy_",), 2),
    ("Kernel distance, by kind of scene", ("kid", "kd_"), 3),
)


def group_tables(entries: Sequence[Entry], metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: per measure and layout a row per system and a column per group.

    Args:
      entries: the rows.
      metrics: name of an entry -> result of `rgan eval`.

    Returns:
      The tables; "" if no system has figures by group.
    """
    blocks = []
    for title, start, digits in _MEASURES:
        for boxes in ("predicted", "true"):
            rows = {
                entry.name: _by_group(
                    metrics[entry.name], f"{entry.system}/{boxes}_boxes/", start, digits
                )
                for entry in entries
            }
            groups = list(dict.fromkeys(group for row in rows.values() for group in row))
            if not groups:
                continue
            head = ["system", *(group.replace("_", " ") for group in groups)]
            lines = [f"{title}, {boxes} boxes", "", _line(head), "|" + "---|" * len(head)]
            for name, row in rows.items():
                cells = [row.get(group, "-") for group in groups]
                lines.append(_line([name.replace("_", " "), *cells]))
            blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _by_group(
    metrics: Mapping[str, Any], place: str, start: tuple[str, ...], digits: int
) -> dict[str, str]:
    """Group -> figure, of names such as `kd_mobilenet_v2_40_val/overlap_low`."""
    found = {}
    for name, value in metrics.items():
        metric, _, group = name.removeprefix(place).partition("/")
        if name.startswith(place) and metric.startswith(start) and group and "/" not in group:
            if isinstance(value, float):
                found[group] = f"{value:.{digits}f}"
    return found


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
