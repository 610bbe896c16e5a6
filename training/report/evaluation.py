"""Reads metrics.jsonl and tabulates its metrics by task, both box modes side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from rgan_tf.errors import BadInput
from rgan_tf.storage.files import parse_json
from training.evaluation.protocol import INTERVAL, RESAMPLED
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
_NAMES = {"floor/real": "real against real (floor)", "real": "real images"}
_IMAGE_FIGURES = ("images", "feature_size", "frechet_is_biased")
_REAL = ("floor/real/", "real/")  # rows that do not depend on the layout
_DIVERSITIES = ("diversity", "lpips")
_SPREADS = (INTERVAL, "/deviation")  # suffixes of values that belong to another metric
_COLUMNS = 6  # of values per table; a metric with two box modes takes two


class Evaluation(NamedTuple):
    """The latest metrics of one split.

    Attributes:
      split: of the data.
      step: training step of the weights.
      weights: fingerprint of the run's weights; None in lines of earlier versions.
      data: fingerprint of the data that they were judged on; None likewise.
      figures: name -> number, text, truth value or None if it could not be measured.
      earlier: steps of earlier evaluations, each once.
    """

    split: str
    step: int
    weights: str | None
    data: str | None
    figures: dict[str, Any]
    earlier: list[int]


class Figure(NamedTuple):
    """A value with its 95 % interval or deviation, if any."""

    value: Any
    interval: list[float | None] | None
    deviation: float | None


class _Place(NamedTuple):
    """Position of a metric: task, row, column, and its box mode, if any."""

    task: str
    row: str
    column: str
    mode: str


def read_evaluations(folder: Path, notes: Notes) -> list[Evaluation]:
    """The latest evaluation of every split; train, val and test first.

    An evaluation may cover only one task, so all lines with the latest line's step, weights and
    data are used; of a metric measured twice, the later value is used.

    Args:
      folder: may hold `metrics.jsonl`.
      notes: gets a line for each damaged line, which is left out.
    """
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    lines: dict[str, list[tuple[_Judged, dict[str, Any]]]] = {}
    for count, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = parse_json(line, f"{path.name} line {count}")
        except BadInput as error:
            notes.add(f"{error}; the line is left out")
            continue
        split, *judged = (record.get(key) if isinstance(record, dict) else None for key in _KEYS)
        if not isinstance(split, str) or not isinstance(judged[0], int):
            notes.add(
                f"{path.name} line {count}: not an evaluation of a split; the line is left out"
            )
            continue
        figures = {key: value for key, value in record.items() if key not in _KEYS}
        lines.setdefault(split, []).append((_Judged(*judged), figures))
    order = ("train", "val", "test")
    splits = sorted(lines, key=lambda s: (order.index(s) if s in order else len(order), s))
    return [_latest(split, lines[split]) for split in splits]


_KEYS = ("split", "step", "weights", "data")


class _Judged(NamedTuple):
    """What a line was measured on, in addition to its split."""

    step: int
    weights: str | None
    data: str | None


def _latest(split: str, lines: list[tuple[_Judged, dict[str, Any]]]) -> Evaluation:
    latest = lines[-1][0]
    figures: dict[str, Any] = {}
    for judged, found in lines:
        if judged == latest:
            figures |= found
    earlier = sorted({judged.step for judged, _ in lines} - {latest.step})
    return Evaluation(split, *latest, figures, earlier)


def evaluation_tasks(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Metrics in the form of `macros.html`: per task its matrices, and a list of the rest."""
    tasks: dict[str, dict[_Place, Figure]] = {task: {} for task in _TITLES}
    for name, value in figures.items():
        if name.endswith((*_SPREADS, RESAMPLED)) and name.rpartition("/")[0] in figures:
            continue  # shown beside its metric, or what its interval was computed from
        interval, deviation = (figures.get(name + ending) for ending in _SPREADS)
        interval = interval if isinstance(interval, list) else None
        place = _place(name)
        tasks[place.task][place] = Figure(value, interval, deviation)
    return [
        {
            "title": _TITLES[task],
            "matrices": _matrices({place: shown for place, shown in found.items() if place.row}),
            "rest": [(place.column, shown) for place, shown in found.items() if not place.row],
        }
        for task, found in tasks.items()
        if found
    ]


def _place(name: str) -> _Place:
    """Parses a name such as `retrievegan/predicted_boxes/fd_mobilenet_v2_400_val`."""
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


def _matrices(found: dict[_Place, Figure]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(place.column for place in found))
    at_once = _COLUMNS // 2 if any(place.mode for place in found) else _COLUMNS
    return [
        _matrix({place: shown for place, shown in found.items() if place.column in some})
        for some in (names[i : i + at_once] for i in range(0, len(names), at_once))
    ]


def _matrix(found: dict[_Place, Figure]) -> dict[str, Any]:
    """One row per system or selection; a metric with box modes has two titles."""
    modes: dict[str, tuple[str, ...]] = {}
    for place in found:
        modes[place.column] = BOX_MODES if place.mode else modes.get(place.column, ("",))
    rows = []
    for row in dict.fromkeys(place.row for place in found):
        values = {(p.column, p.mode): shown for p, shown in found.items() if p.row == row}
        cells = []  # each with a value and the columns that it takes
        for name, of_name in modes.items():
            if (name, "") in values:
                cells.append((values[name, ""], len(of_name)))
            else:
                cells += [(values.get((name, mode)), 1) for mode in of_name]
        rows.append((_NAMES.get(row, row), cells))
    return {"modes": modes, "rows": rows}
