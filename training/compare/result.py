"""What a comparison writes: table.md, comparison.png and comparison.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rgan_tf.config import Config
from rgan_tf.data.prepared import PreparedData
from rgan_tf.runs import open_run
from rgan_tf.storage.files import write_bytes_atomic, write_json_atomic
from rgan_tf.storage.image import encode_png
from training.compare.budget import UNCOUNTED, damsm_gflop, embedding_gflop
from training.compare.differences import difference_table, differences_of
from training.compare.entries import Entry
from training.compare.group_table import group_tables
from training.compare.picture import comparison_picture
from training.compare.rates import Try, rates_table
from training.compare.seeds import seeds_table
from training.compare.steps import Evaluation, Steps
from training.compare.systems import Facts, deviations, systems_table, trainable_weights
from training.compare.table import markdown, rows_of
from training.configuration import named_config
from training.evaluation.collapse import draws_one_image


class Request(NamedTuple):
    """What was asked for, as far as the table says it.

    Attributes:
      out: folder of the comparison.
      data: that all rows are judged on.
      configs: name -> config.
      overrides: of every config.
      split: that the rows are judged on.
      budget: one of `BUDGETS`.
      search_steps: of each try of learning rates.
      seeds: further ones that every system is trained with.
      judge: network of the distances.
    """

    out: Path
    data: PreparedData
    configs: Mapping[str, Config]
    overrides: Sequence[str]
    split: str
    budget: str
    search_steps: int
    seeds: Sequence[int]
    judge: str


def write_result(
    request: Request,
    entries: Sequence[Entry],
    all_entries: Sequence[Entry],
    evaluations: Mapping[str, Evaluation],
    steps: Steps,
    *,
    gflops: Mapping[str, Mapping[str, float]],
    factors: Mapping[str, Mapping[float, Try]],
) -> dict[str, Any]:
    """Writes the three files.

    Args:
      request: what was asked for.
      entries: the rows of the table.
      all_entries: these, and their repetitions with further seeds.
      evaluations: by name of an entry.
      steps: which trained them.
      gflops: config -> system -> of one joint step; without rivals nothing is counted.
      factors: the search of learning rates, by name of an entry; empty if there was none.

    Returns:
      `table`, `picture` (paths) and `rows`, those of all entries.
    """
    out = request.out
    metrics = {name: found.metrics for name, found in evaluations.items()}
    all_rows = rows_of(all_entries, metrics)
    rows = all_rows[: len(entries)]
    one_image = {
        entry.name
        for entry in all_entries
        if draws_one_image(evaluations[entry.name].images, entry.system)
    }
    facts = _facts(request, entries, steps, gflops) if any(gflops.values()) else {}
    differences = differences_of(entries, rows, metrics)
    taken = {entry.name: steps.steps(entry) for entry in entries}
    parts = [markdown(rows, split=request.split, steps=taken, one_image=one_image)]
    if request.seeds:
        parts.append(seeds_table(all_entries, all_rows, request.seeds, one_image=one_image))
    if factors:
        parts.append(rates_table(factors, request.search_steps))
    if facts:  # there are rivals
        parts.append(systems_table(facts, budget=request.budget))
        if any(entry.system == "attngan" for entry in entries):
            parts.append(UNCOUNTED)
        parts.append(deviations(entries, request.configs, metrics, judge=request.judge))
    if differences:
        parts.append(difference_table(differences))
    parts.append(group_tables(entries, metrics))
    first = next(iter(request.configs.values()))
    picture = comparison_picture(entries, evaluations, request.data, request.split, first)
    text = parts[0] + "".join(f"\n{part}\n" for part in parts[1:] if part)
    write_bytes_atomic(out / "table.md", text.encode())
    write_bytes_atomic(out / "comparison.png", encode_png(picture))
    result = {
        "table": str(out / "table.md"),
        "picture": str(out / "comparison.png"),
        "rows": all_rows,
    }
    sizes = {name: fact._asdict() for name, fact in facts.items()}
    found = {"systems": sizes, "differences": differences, "metrics": metrics}
    write_json_atomic(out / "comparison.json", {**result, **found})
    return result


def _facts(
    request: Request,
    entries: Sequence[Entry],
    steps: Steps,
    gflops: Mapping[str, Mapping[str, float]],
) -> dict[str, Facts]:
    found = {}
    for entry in entries:
        if not entry.own_run:
            continue
        config = named_config(entry.config, [*request.overrides, *entry.settings])
        found[entry.name] = Facts(
            entry.steps,
            # A row of RetrieveGAN without some part costs less, and is not counted.
            gflops[entry.config].get(entry.system) if entry.is_whole else None,
            embedding_gflop(config, request.data.bank.feature_size) + damsm_gflop(config),
            trainable_weights(open_run(str(steps.run_folder(entry.run)))),
        )
    return found
