"""Several trainings of one system: each figure of every seed, and their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from rgan_tf.config import Config
from rgan_tf.errors import BadInput
from training.compare.entries import Entry
from training.compare.table import COLUMNS, Column
from training.evaluation.names import FIRST_STAGE


def check_seeds(
    seeds: Sequence[int], configs: Mapping[str, Config], systems: Sequence[str]
) -> None:
    """Refuses further seeds that are no training seeds, or would repeat a row or train nothing.

    Args:
      seeds: the further ones.
      configs: name given by the user -> resolved config.
      systems: the rows.

    Raises:
      BadInput: names the first such seed.
    """
    if seeds and set(systems) == {FIRST_STAGE}:
        raise BadInput(
            f"--further-seeds {seeds[0]}: {FIRST_STAGE} is one for all seeds; add another system "
            "to --systems, or leave the option out"
        )
    for place, seed in enumerate(seeds):
        if not 0 <= seed < 2**31:
            raise BadInput(f"--further-seeds {seed}: must be at least 0 and below 2^31")
        if seed in seeds[:place]:
            raise BadInput(f"--further-seeds {seed}: is given twice")
        for name, config in configs.items():
            if seed == config.training.seed:
                raise BadInput(
                    f"--further-seeds {seed}: is the seed that {name} has (training.seed), with "
                    "which every system is trained anyway; name others"
                )


def seeds_table(
    entries: Sequence[Entry],
    rows: Sequence[Mapping[str, Any]],
    seeds: Sequence[int],
    *,
    one_image: Set[str] = frozenset(),
) -> str:
    """Markdown: per system the mean over its trainings, and the figure of each.

    Args:
      entries: all rows, those of further seeds after the first ones.
      rows: from `rows_of`, as long.
      seeds: the further ones, in the order of their rows.
      one_image: names of rows that draw the same image for every scene; they are named below.
    """
    figures: dict[str, list[Mapping[str, Any]]] = {}
    for entry, row in zip(entries, rows, strict=True):
        figures.setdefault(entry.repeats or entry.name, []).append(row)
    repeated = {name: found for name, found in figures.items() if len(found) > 1}
    columns = [
        column
        for column in COLUMNS
        if any(row[column.title] for found in repeated.values() for row in found)
    ]
    lines = [
        f"Trained with {len(seeds) + 1} seeds, the config's and {', '.join(map(str, seeds))}, on "
        "the same first two stages: mean (each seed's figure). The other tables are of the first.",
        "",
        "| system | " + " | ".join(column.title for column in columns) + " |",
        "|" + "---|" * (len(columns) + 1),
    ]
    for name, found in repeated.items():
        cells = [_cell([row[column.title] for row in found], column) for column in columns]
        lines.append("| " + " | ".join([name.replace("_", " "), *cells]) + " |")
    collapsed = [entry.name for entry in entries if entry.name in one_image]
    if collapsed:
        lines += ["", f"The same image for every scene: {', '.join(collapsed)}."]
    return "\n".join(lines)


def _cell(figures: Sequence[Mapping[str, Any] | None], column: Column) -> str:
    values = [figure["value"] for figure in figures if figure]
    if not values:
        return "-"
    each = ", ".join(f"{value:.{column.digits}f}" for value in values)
    return f"{sum(values) / len(values):.{column.digits}f} ({each})"
