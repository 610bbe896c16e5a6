"""Renders the report of a study as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.templates import environment

TEMPLATES = Path(__file__).parent / "templates"
MARKS = ("# Which patches fit together: ", "# Which picture fits its scene: ")  # its beginnings


def markdown(result: dict[str, Any]) -> str:
    """Renders the result of `training.study.report.evaluate`."""
    templates = environment(TEMPLATES)
    templates.filters |= {"name": _text, "percent": _percent, "interval": _interval}
    return templates.get_template("report.md").render(result)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _interval(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{_percent(ends[0])} to {_percent(ends[1])}"


def _text(name: str) -> str:
    """Escapes a name for a table."""
    for mark in "\\|`*_<>[]":
        name = name.replace(mark, f"\\{mark}")
    return name
