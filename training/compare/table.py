"""The comparison as a table: one row per system, one column per metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

from training.compare.entries import SEES_THE_TRUTH, Entry
from training.evaluation.names import FIRST_STAGE
from training.evaluation.protocol import INTERVAL


class Column(NamedTuple):
    """One metric.

    Attributes:
      title: of the column.
      start: possible prefixes of the metric's name, after the system's.
      boxes: "predicted" or "true"; "" for metrics without a layout.
      better: "lower", "higher", or "" if neither is.
      digits: after the point.
    """

    title: str
    start: tuple[str, ...]
    boxes: str
    better: str
    digits: int


COLUMNS = (
    Column("Fréchet, predicted boxes", ("fid", "fd_"), "predicted", "lower", 0),
    Column("Fréchet, true boxes", ("fid", "fd_"), "true", "lower", 0),
    Column("kernel, predicted", ("kid", "kd_"), "predicted", "lower", 3),
    Column("kernel, true", ("kid", "kd_"), "true", "lower", 3),
    Column("class score", ("is", "cs_"), "predicted", "higher", 2),
    Column("precision", ("precision_",), "predicted", "higher", 2),
    Column("recall", ("recall_",), "predicted", "higher", 2),
    Column("objects recognised", ("crop_accuracy_",), "predicted", "higher", 2),
    Column("diversity", ("diversity_", "lpips_"), "predicted", "", 2),
    Column("style agreement", ("style_agreement",), "", "higher", 2),
    Column("box IoU", ("box_iou",), "", "higher", 2),
    Column("relationships", ("relation_score",), "", "higher", 2),
)


def rows_of(
    entries: Sequence[Entry], metrics: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Per entry: `system`, and column title -> {"value", "interval", "metric"} or None.

    Args:
      entries: the rows.
      metrics: name of an entry -> result of `rgan eval`.
    """
    return [
        {
            "system": entry.name,
            **{column.title: _figure(entry, column, metrics[entry.name]) for column in COLUMNS},
        }
        for entry in entries
    ]


def markdown(
    rows: Sequence[dict[str, Any]],
    *,
    split: str,
    steps: Mapping[str, int | None],
    one_image: Set[str] = frozenset(),
) -> str:
    """The table; the best value of the systems that do not see the truth is bold.

    Args:
      rows: from `rows_of`.
      split: the evaluated split.
      steps: name of a system -> steps of its own stage; None if it is not trained.
      one_image: names of systems that draw the same image for every scene; not the best in any
        column.
    """
    titles = [column.title for column in COLUMNS if any(row[column.title] for row in rows)]
    columns = {column.title: column for column in COLUMNS}
    rivals = [
        row
        for row in rows
        if row["system"].rpartition("-")[2] not in SEES_THE_TRUTH  # after the config's name
        and row["system"] not in one_image
    ]
    best = {title: _best(columns[title], rivals) for title in titles}
    lines = [
        "| " + " | ".join(["system", "steps", *titles]) + " |",
        "|" + "---|" * (len(titles) + 2),
    ]
    for row in rows:
        cells = [row["system"].replace("_", " "), str(steps[row["system"]] or "-")]
        for title in titles:
            cells.append(_cell(row[title], columns[title], row in rivals, best[title]))
        lines.append("| " + " | ".join(cells) + " |")
    named = sorted({f["metric"] for row in rows for t in titles if (f := row[t])})
    notes = ["", f"Split {split}. Metrics: {', '.join(named)}.", ""]
    collapsed = [row["system"].replace("_", " ") for row in rows if row["system"] in one_image]
    if collapsed:
        notes += [
            f"The same image for every scene: {', '.join(collapsed)}. Such a row says that the "
            "training collapsed; its distances and its precision are those of one picture.",
            "",
        ]
    return "\n".join([*lines, *notes])


def _figure(entry: Entry, column: Column, metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    if column.boxes:
        place = f"{entry.system}/{column.boxes}_boxes/"
    elif column.start == ("style_agreement",):
        place = f"retrieval/{entry.system}/"
        # The canvas shows the patches of the learned choice, and a retriever of one's own may make
        # that choice too (`chooses_by_embedding`).
        if entry.system != FIRST_STAGE and not any(name.startswith(place) for name in metrics):
            place = "retrieval/learned/"
    else:
        # The first stage has its own box predictor, all others of its run that of the joint stage.
        place = f"{FIRST_STAGE}/layout/" if entry.system == FIRST_STAGE else "layout/"
    for name, value in metrics.items():
        rest = name.removeprefix(place)
        if name.startswith(place) and rest.startswith(column.start) and "/" not in rest:
            if value is None or (column.start == ("box_iou",) and rest != "box_iou"):
                continue
            return {"value": value, "interval": metrics.get(name + INTERVAL), "metric": rest}
    return None


def _best(column: Column, rows: Sequence[dict[str, Any]]) -> float | None:
    values = [row[column.title]["value"] for row in rows if row[column.title]]
    if not values or not column.better:
        return None
    return min(values) if column.better == "lower" else max(values)


def _cell(figure: dict[str, Any] | None, column: Column, is_rival: bool, best: float | None) -> str:
    if figure is None:
        return "-"
    text = f"{figure['value']:.{column.digits}f}"
    if is_rival and best is not None and text == f"{best:.{column.digits}f}":
        text = f"**{text}**"
    if figure["interval"]:
        low, high = figure["interval"]
        text += f" [{low:.{column.digits}f}, {high:.{column.digits}f}]"
    return text
