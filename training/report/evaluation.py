"""Reads metrics.jsonl and sets its figures out by task, both box modes side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from rgan_tf.errors import BadInput
from rgan_tf.storage.files import parse_json
from training.evaluation.protocol import INTERVAL
from training.report.markup import Content, Markup, cell, join, number, table, tag
from training.report.notes import Notes

BOX_MODES = ("predicted_boxes", "true_boxes")
_TITLES = {
    "images": "Images",
    "diversity": "Diversity",
    "layout": "Layout",
    "retrieval": "Retrieval",
    "cooccurrence": "Co-occurrence",
    "other": "Other figures",
}
_NAMES = {
    "floor/real": "real against real (floor)",
    "real": "real images",
    "predicted_boxes": "predicted boxes",
    "true_boxes": "true boxes",
}
_IMAGE_FIGURES = ("images", "feature_size", "frechet_is_biased")
_REAL = ("floor/real/", "real/")  # rows that no layout touches
_DIVERSITIES = ("diversity", "lpips")
_SPREADS = (INTERVAL, "/deviation")  # endings of what belongs to another figure
_COLUMNS = 6  # of figures in one table; a figure in two box modes takes two


class Evaluation(NamedTuple):
    """The latest figures of one split.

    Attributes:
      split: of the data.
      step: training step of the weights.
      figures: name -> number, text, truth or None where it could not be measured.
      earlier: steps of the evaluations before, each once.
    """

    split: str
    step: int
    figures: dict[str, Any]
    earlier: list[int]


class _Place(NamedTuple):
    """Where a figure stands: task, row, column, and the box mode it is of, if any."""

    task: str
    row: str
    column: str
    mode: str


def read_evaluations(folder: Path, notes: Notes) -> list[Evaluation]:
    """The latest evaluation of every split, train, val and test first.

    An evaluation may be of one task alone, so all lines of the latest line's step count, and of
    a figure measured twice the later value.

    Args:
      folder: holds `metrics.jsonl`, or does not.
      notes: told which lines are damaged; they are left out.
    """
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    lines: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for count, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = parse_json(line, f"{path.name} line {count}")
        except BadInput as error:
            notes.add(f"{error}; the line is left out")
            continue
        split, step = (record.get(key) if isinstance(record, dict) else None for key in _KEYS)
        if not isinstance(split, str) or not isinstance(step, int):
            notes.add(f"{path.name} line {count}: no evaluation of a split; the line is left out")
            continue
        figures = {key: value for key, value in record.items() if key not in _KEYS}
        lines.setdefault(split, []).append((step, figures))
    order = ("train", "val", "test")
    splits = sorted(lines, key=lambda s: (order.index(s) if s in order else len(order), s))
    return [_latest(split, lines[split]) for split in splits]


_KEYS = ("split", "step")


def _latest(split: str, lines: list[tuple[int, dict[str, Any]]]) -> Evaluation:
    latest = lines[-1][0]
    figures: dict[str, Any] = {}
    for step, found in lines:
        if step == latest:
            figures |= found
    return Evaluation(split, latest, figures, sorted({step for step, _ in lines} - {latest}))


def evaluation_tables(evaluation: Evaluation) -> Markup:
    """One table per task."""
    tasks: dict[str, dict[_Place, Content]] = {task: {} for task in _TITLES}
    figures = evaluation.figures
    for name, value in figures.items():
        if name.endswith(_SPREADS) and name.rpartition("/")[0] in figures:
            continue  # stands beside its figure
        place = _place(name)
        spreads = [figures.get(name + ending) for ending in _SPREADS]
        tasks[place.task][place] = _shown(value, *spreads)
    parts = []
    for task, found in tasks.items():
        if found:
            parts += [tag("h4", _TITLES[task]), _task_table(found)]
    return join(parts)


def _place(name: str) -> _Place:
    """Reads a name such as `retrievegan/predicted_boxes/fd_mobilenet_v2_400_val`."""
    parts = name.split("/")
    task = parts[0] if parts[0] in _TITLES else ""
    mode = next((part for part in parts if part in BOX_MODES), "")
    if mode:
        at = parts.index(mode)
        row, column = "/".join(parts[bool(task) : at]), "/".join(parts[at + 1 :])
        task = task or ("diversity" if column.startswith(_DIVERSITIES) else "images")
        return _Place(task, row or task, column, mode)
    if task == "images" or name in _IMAGE_FIGURES:
        return _Place("images", "", name, "")
    if name.startswith(_REAL):
        row = next(start for start in _REAL if name.startswith(start))
        return _Place("images", row.rstrip("/"), name.removeprefix(row), "")
    if task and len(parts) > 2:
        return _Place(task, "/".join(parts[1:-1]), parts[-1], "")
    return _Place(task or "other", "", "/".join(parts[1:]) if task else name, "")


def _task_table(found: dict[_Place, Content]) -> Markup:
    """Figures with rows of their own as matrices, the rest as a list below them."""
    matrix = {place: shown for place, shown in found.items() if place.row}
    rest = [(place.column, shown) for place, shown in found.items() if not place.row]
    names = list(dict.fromkeys(place.column for place in matrix))
    at_once = _COLUMNS // 2 if any(place.mode for place in matrix) else _COLUMNS
    parts = []
    for start in range(0, len(names), at_once):
        some = names[start : start + at_once]
        parts.append(_matrix({p: shown for p, shown in matrix.items() if p.column in some}))
    if rest:
        parts.append(table(["figure", "value"], rest))
    return join(parts)


def _matrix(found: dict[_Place, Content]) -> Markup:
    """One row per system or selection; figures of a box mode under two titles each."""
    figures: dict[str, bool] = {}  # whether it comes in two box modes
    for place in found:
        figures[place.column] = figures.get(place.column, False) or bool(place.mode)
    titles = [
        tag("th", name, colspan=2) if has_modes else tag("th", name)
        for name, has_modes in figures.items()
    ]
    head = [tag("tr", tag("th", ""), *titles)]
    if any(figures.values()):
        modes = [
            tag("th", _NAMES[mode] if mode else "")
            for has_modes in figures.values()
            for mode in (BOX_MODES if has_modes else ("",))
        ]
        head.append(tag("tr", tag("th", ""), *modes))
    rows = []
    for row in dict.fromkeys(place.row for place in found):
        cells = [tag("td", _NAMES.get(row, row))]
        values = {(p.column, p.mode): shown for p, shown in found.items() if p.row == row}
        for name, has_modes in figures.items():
            if not has_modes:
                cells.append(cell(values.get((name, ""), "")))
            elif (name, "") in values:  # what no layout touches, such as the floor
                cells.append(cell(values[name, ""], colspan=2))
            else:
                cells += [cell(values.get((name, mode), "")) for mode in BOX_MODES]
        rows.append(tag("tr", *cells))
    return tag("table", tag("thead", *head), tag("tbody", *rows))


def _shown(value: Any, interval: Any = None, deviation: Any = None) -> Content:
    """A figure with its 95 % interval or deviation, where it has one."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {part}" for name, part in value.items())
    if not isinstance(value, (int, float)):
        return value if value is None or isinstance(value, str) else str(value)
    text = number(value)
    if isinstance(interval, list) and interval:
        ends = ", ".join("–" if end is None else number(end) for end in interval)
        text += f" [{ends}]"
    if deviation is not None:
        text += f" ± {number(deviation)}"
    return tag("span", text, class_="figure")
