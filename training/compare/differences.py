"""How far every system is from the first one of its config, scene by scene the same."""

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
    """Distances minus those of the config's first row, with intervals of the difference itself.

    Two separate intervals count what both systems share, the scenes and the real images, as if it
    spoke for a difference. Here both are resampled together (`rgan_tf.metrics.bootstrap`).

    Args:
      entries: the rows.
      rows: from `rows_of`.
      metrics: name of an entry -> result of `rgan eval`.

    Returns:
      Name of a row -> title of a column -> `from` (the first row's name), `value` and `interval`
      [low, high]; without the first row of each config, and empty if distances were judged without
      resamples.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    firsts: dict[str, tuple[Entry, Mapping[str, Any]]] = {}
    for entry, row in zip(entries, rows, strict=True):
        # Another config may have images of another size, and so other real images.
        first_entry, first_row = firsts.setdefault(entry.config, (entry, row))
        if first_entry is entry:
            continue
        for column in _DISTANCES:
            figures = [first_row[column.title], row[column.title]]
            if None in figures:
                continue
            resampled = [
                metrics[each.name].get(
                    f"{each.system}/{column.boxes}_boxes/{figure['metric']}{RESAMPLED}"
                )
                for each, figure in zip((first_entry, entry), figures, strict=True)
            ]
            if None in resampled:
                continue
            first, second = map(np.asarray, resampled)  # [R] each
            difference = figures[1]["value"] - figures[0]["value"]
            interval = normal_interval(difference, float(np.std(second - first, ddof=1)))
            found.setdefault(entry.name, {})[column.title] = {
                "from": first_entry.name,
                "value": difference,
                "interval": list(interval),
            }
    return found


def difference_table(differences: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a row per system; bold where the interval does not contain 0.

    Args:
      differences: from `differences_of`, not empty.
    """
    columns = [c for c in _DISTANCES if any(c.title in row for row in differences.values())]
    names = dict.fromkeys(figure["from"] for row in differences.values() for figure in row.values())
    firsts = _with_spaces(" and ".join(names))
    lines = [
        f"Distances minus those of {firsts}: below 0 a system is nearer to the real images. "
        "Intervals are of the difference, both systems resampled on the same scenes; what another "
        "training of either would give is not in them. Bold: the interval does not contain 0.",
        "",
        "| system | " + " | ".join(column.title for column in columns) + " |",
        "|" + "---|" * (len(columns) + 1),
    ]
    for name, row in differences.items():
        cells = [_cell(row.get(column.title), column.digits) for column in columns]
        lines.append("| " + " | ".join([_with_spaces(name), *cells]) + " |")
    return "\n".join(lines)


def _with_spaces(name: str) -> str:
    return name.replace("_", " ")


def _cell(figure: Mapping[str, Any] | None, digits: int) -> str:
    if figure is None:
        return "-"
    low, high = figure["interval"]
    value = f"{figure['value']:+.{digits}f}"
    value = f"**{value}**" if low > 0 or high < 0 else value
    return f"{value} [{low:+.{digits}f}, {high:+.{digits}f}]"
