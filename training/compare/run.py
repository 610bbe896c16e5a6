"""Comparison from Python: `compare` is what `rgan compare` calls."""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rgan_tf.arguments import list_of, path_list, path_text, text_list, whole_number
from rgan_tf.backbones import load_backbone
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.plugins import VARIABLE
from rgan_tf.progress import note
from training.api import check_data_fits
from training.compare.budget import (
    UNCOUNTED,
    embedding_gflop,
    step_gflops,
    steps_of_equal_cost,
)
from training.compare.checks import (
    check_decided,
    check_out,
    check_parts,
    check_search,
    note_idle,
)
from training.compare.entries import (
    BUDGETS,
    SYSTEMS,
    Entry,
    entries_of,
    with_seeds,
)
from training.compare.existing import check_runs
from training.compare.plan import plan, plan_lines
from training.compare.rates import RATES, Try, check_factors, search, short_runs
from training.compare.result import Request, write_result
from training.compare.seeds import check_seeds
from training.compare.steps import Evaluation, Steps
from training.configuration import named_config
from training.evaluation.inputs import (
    check_choices,
    check_images,
    check_resamples,
    check_seed,
    check_split,
)
from training.evaluation.names import own_retrievers


def compare(
    configs: Sequence[str | Path],
    data: PreparedData | str | Path,
    out: str | Path,
    *,
    systems: Sequence[str] = SYSTEMS,
    overrides: Sequence[str] = (),
    split: str = "val",
    seed: int = 0,
    resamples: int = 20,
    metric_backbone: str = "mobilenet_v2",
    budget: str = "steps",
    search_rates: Sequence[float] = (),
    search_steps: int = 500,
    further_seeds: Sequence[int] = (),
    weights_dir: str | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Trains and evaluates what is missing; writes table.md, comparison.json, comparison.png.

    Args:
      configs: YAML files or shipped names, one or several.
      data: folder made by `prepare`, or an opened one.
      out: folder of runs, table and picture; resumed.
      systems: rows per config. The default: "retrievegan", "sg2im", "layout2im", "pastegan",
        "attngan", "pastegan_style", "graph_nearest", "layout2im_style", "first_stage",
        "pasted_canvas", "oracle_patches". Further: RetrieveGAN without its losses, such as
        "no_selection_loss", or without another part, as `rgan compare --help` lists them; and
        retrievers that a module in RGAN_PLUGINS registers, by name.
      overrides: `section.key=value` of every config.
      split: the split to judge on.
      seed: of the evaluation.
      resamples: for its intervals.
      metric_backbone: network of the distances and scores: "mobilenet_v2" or "inception_v3".
      budget: "steps": all systems have as many joint steps; "flops": the rivals have as many as
        cost the operations of RetrieveGAN's, counted at the first batch.
      search_rates: factors of both learning rates that every system tries on `search_steps` joint
        steps; the best one by the kernel distance on val is taken. Empty: the config's rates.
      search_steps: of each try.
      further_seeds: every system is trained once more with each of these `training.seed`s, on the
        same first two stages and at the rates that its first training chose.
      weights_dir: folder with backbone weight files.
      dry_run: only return what would be trained; writes nothing but, with budget "flops", the
        counts of operations in OUT/step_gflop.json, as they take minutes.

    Returns:
      `table`, `picture` (paths) and `rows`; with `dry_run` the result of `plan`.

    Raises:
      BadInput: if something does not fit together; nothing is trained then.

    Example:
      ```python
      import rgan_tf

      systems = ["retrievegan", "graph_nearest"]
      rgan_tf.compare(["procedural_64"], "DATA", "COMPARISON", systems=systems)
      ```
    """
    check_seed(seed)
    check_resamples(resamples)
    configs = path_list(configs, "configs")
    systems, overrides = text_list(systems, "systems"), text_list(overrides, "overrides")
    check_choices(configs, "configs")
    check_choices(systems, "systems")
    # None of NumPy: they go into settings and records.
    seed, resamples = int(seed), int(resamples)
    rates = list_of(search_rates, "search_rates", numbers.Real, "numbers")
    search_rates = tuple(map(float, rates))
    search_steps = whole_number(search_steps, "--search-steps")
    seeds = tuple(map(int, list_of(further_seeds, "further_seeds", numbers.Integral, "integers")))
    data, out = path_text(data, "--data"), path_text(out, "--out")
    opened_configs = {name: named_config(name, overrides) for name in configs}
    if budget not in BUDGETS:
        raise BadInput(f"--budget {budget}: must be one of {', '.join(BUDGETS)}")
    if search_rates:
        check_factors(search_rates, search_steps)
    systems = list(dict.fromkeys(systems))
    check_seeds(seeds, opened_configs, systems)
    check_parts(systems, opened_configs)
    entries = entries_of(opened_configs, systems)
    own = [name for name in systems if name in own_retrievers()]
    if own and not os.environ.get(VARIABLE, "").strip():
        raise BadInput(
            f"--systems {own[0]}: is registered in this process, and every run is trained in "
            f"another; register it in a module and name that module in {VARIABLE}"
        )
    opened = PreparedData.open(data)
    check_split(opened, split)
    check_images(opened, split)
    if search_rates:
        check_search(systems, entries, opened)
    out = Path(out)
    check_out(out, opened)

    # Report what is impossible before hours of training.
    for entry in entries:
        check_data_fits(named_config(entry.config, [*overrides, *entry.settings]), opened)
    note_idle(entries, overrides, budget)
    check_decided(opened_configs)
    gflops: dict[str, dict[str, float]] = {}
    if budget == "flops" or not dry_run:  # the table says them with either budget
        for name in configs:
            gflops[name] = step_gflops(
                name,
                list(overrides),
                systems,
                opened,
                out / "step_gflop.json",
                weights_dir=weights_dir,
            )
    joint_steps = {}
    if budget == "flops":
        joint_steps = {
            name: steps_of_equal_cost(
                gflops[name],
                config.training.steps,
                besides=embedding_gflop(config, opened.bank.feature_size),
            )
            for name, config in opened_configs.items()
        }
    entries = entries_of(
        opened_configs, systems, joint_steps=joint_steps, shares_a_base=bool(search_rates)
    )
    tries = {
        entry.name: short_runs(entry, opened_configs[entry.config], search_rates, search_steps)
        for entry in entries
        if entry.own_run
    }
    short_entries = [run for each in tries.values() for run in each.values()]
    check_runs(short_entries, overrides, out / "runs")
    # Which rates the search will choose is not known yet.
    also = RATES if search_rates else ()
    check_runs(with_seeds(entries, seeds), overrides, out / "runs", also=also)
    if dry_run:
        rows = with_seeds(entries, seeds)
        return _planned(rows, short_entries, data, out, overrides, joint_steps)
    backbone_weights = load_backbone(metric_backbone, weights_dir).weights_sha256()

    count = len(with_seeds(entries, seeds)) + len(short_entries)
    steps = Steps(out, data, list(overrides), weights_dir=weights_dir, count=count)

    def evaluated(entry: Entry, *, split: str, resamples: int, only: str | None = None):
        return steps.evaluate(
            entry,
            opened.fingerprint,
            split=split,
            seed=seed,
            resamples=resamples,
            backbone=metric_backbone,
            backbone_weights=backbone_weights,
            only=only,
        )

    def short(entry: Entry) -> Evaluation | None:
        if not steps.survives(entry):
            return None
        # Rates are chosen on val, whatever split the table is of.
        return evaluated(entry, split="val", resamples=0, only="images")

    factors: dict[str, dict[float, Try]] = {}
    if search_rates:
        entries, factors = search(entries, tries, short)
    all_entries = with_seeds(entries, seeds)
    for entry in all_entries:
        steps.train(entry)
    evaluations = {
        entry.name: evaluated(entry, split=split, resamples=resamples) for entry in all_entries
    }
    request = Request(
        out,
        opened,
        opened_configs,
        overrides,
        split=split,
        budget=budget,
        search_steps=search_steps,
        seeds=seeds,
        judge=metric_backbone,
    )
    return write_result(
        request, entries, all_entries, evaluations, steps, gflops=gflops, factors=factors
    )


def _planned(
    entries: Sequence[Entry],
    short: Sequence[Entry],
    data: str,
    out: Path,
    overrides: Sequence[str],
    joint_steps: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    runs = plan([*short, *entries], overrides, out / "runs")
    for line in plan_lines(runs):
        note(line)
    if joint_steps and any(entry.system == "attngan" for entry in entries):
        note(UNCOUNTED)
    seconds = [run["seconds"] for run in runs]
    return {
        "out": str(out),
        "data": data,
        "runs": runs,
        "rows": {entry.name: entry.run for entry in entries},
        "seconds": None if None in seconds else round(sum(seconds), 1),
    }
