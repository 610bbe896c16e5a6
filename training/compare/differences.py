"""How far every system is from the first one, scene by scene the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rgan_tf.metrics.bootstrap import normal_interval
from training.compare.entries import Entry
from training.compare.table import COLUMNS
from training.evaluation.protocol import RESAMPLED

_DISTANCES = [column for column in COLUMNS if column.title.startswith(("Fréchet", "kernel"))]


def differences_of(
    entries: Sequence[Entry],
    rows: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Distances minus those of the first row, with intervals of the difference itself.

    Two separate intervals count what both systems share, the scenes and the real images, as if it
    spoke for a difference. Here both are resampled together (`rgan_tf.metrics.bootstrap`).

    Args:
      entries: the rows.
      rows: from `rows_of`.
      metrics: name of an entry -> result of `rgan eval`.

    Returns:
      Name of a row -> title of a column -> `value` and `interval` [low, high]; without the first
      row, and empty if distances were judged without resamples.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for entry, row in zip(entries[1:], rows[1:], strict=True):
        for column in _DISTANCES:
            figures = [rows[0][column.title], row[column.title]]
            if None in figures:
                continue
            resampled = [
                metrics[each.name].get(
                    f"{each.system}/{column.boxes}_boxes/{figure['metric']}{RESAMPLED}"
                )
                for each, figure in zip((entries[0], entry), figures, strict=True)
            ]
            if None in resampled:
                continue
            first, second = map(np.asarray, resampled)  # [R] each
            difference = figures[1]["value"] - figures[0]["value"]
            interval = normal_interval(difference, float(np.std(second - first, ddof=1)))
            found.setdefault(entry.name, {})[column.title] = {
                "value": difference,
                "interval": list(interval),
            }
    return found


def difference_table(differences: Mapping[str, Mapping[str, Any]], first: str) -> str:
    """Markdown: a row per system; bold where the interval does not contain 0.

    Args:
      differences: from `differences_of`, not empty.
      first: name of the first row.
    """
    columns = [c for c in _DISTANCES if any(c.title in row for row in differences.values())]
    first = first.replace("_", " ")
    lines = [
        f"Distances minus those of {first}: below 0 a system is nearer to the real images. "
        "Intervals are of the difference, both systems resampled on the same scenes; what another "
        "training of either would give is not in them. Bold: the interval does not contain 0.",
        "",
        "| system | " + " | ".join(column.title for column in columns) + " |",
        "|" + "---|" * (len(columns) + 1),
    ]
    for name, row in differences.items():
        cells = [_cell(row.get(column.title), column.digits) for column in columns]
        lines.append("| " + " | ".join([name.replace("_", " "), *cells]) + " |")
    return "\n".join(lines)


def _cell(figure: Mapping[str, Any] | None, digits: int) -> str:
    if figure is None:
        return "-"
    low, high = figure["interval"]
    value = f"{figure['value']:+.{digits}f}"
    value = f"**{value}**" if low > 0 or high < 0 else value
    return f"{value} [{low:+.{digits}f}, {high:+.{digits}f}]"
