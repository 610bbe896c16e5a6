"""What a comparison would train and how long that may take; writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rgan_tf.config import Config
from rgan_tf.runs import DAMSM, EMBEDDING, STAGES, is_same_stage, open_run, stages_of
from training.compare.entries import Entry
from training.compare.existing import diverged_before
from training.configuration import changed_settings, named_config


def plan(entries: Sequence[Entry], overrides: Sequence[str], runs: Path) -> list[dict[str, Any]]:
    """One description per run, in training order.

    Args:
      entries: the rows.
      overrides: of every config.
      runs: folder of the runs, which need not exist.

    Returns:
      Of each run its name, config, the settings that are not the defaults, the run whose first two
      stages it takes, the steps of each stage that are wanted, done and left, `diverged`: whether
      it is a try that did and so is not tried again, and `seconds`: time for the rest, at the rate
      of runs of the same config on this machine; None if there are none.
    """
    planned: dict[str, tuple[Entry, Config]] = {}
    for entry in entries:
        if entry.base is not None and entry.base not in planned:
            # As in `Steps.train`: a run that provides its stages is trained first.
            settings = (*overrides, *entry.base_settings)
            planned[entry.base] = entry, named_config(entry.config, settings)
        # It may be planned as the base of others, without joint steps.
        if entry.run not in planned or planned[entry.run][0].run != entry.run:
            settings = (*overrides, *entry.settings)
            planned[entry.run] = entry, named_config(entry.config, settings)
    done = {name: _done(runs / name) for name in planned}
    rates = _rates(
        {
            name: (entry.config, config.training.system, done[name])
            for name, (entry, config) in planned.items()
        }
    )
    described = []
    earlier: dict[tuple[str, str], list[Config]] = {}  # config, stage -> runs that will have it
    for name, (entry, config) in planned.items():
        base = entry.base if entry.run == name else None
        diverged = diverged_before(runs / name, config)
        stages = {}
        for stage, wanted in stages_of(config).items():
            found = int(done[name].get(stage, {}).get("steps", 0))
            others = earlier.setdefault((entry.config, stage), [])
            is_taken = base is not None and (
                stage in STAGES[:2]
                or stage in (DAMSM, EMBEDDING)
                and any(is_same_stage(stage, config, other) for other in others)
            )
            left = 0 if is_taken or diverged else max(0, wanted - found)
            if found + left >= wanted:  # a run that diverged may lack it
                others.append(config)
            rate = rates.get(_rate_of(entry.config, config.training.system, stage))
            stages[stage] = {
                "steps": wanted,
                "done": found,
                "left": left,
                "seconds": round(left * rate, 1) if rate is not None else None if left else 0.0,
            }
        seconds = [stage["seconds"] for stage in stages.values()]
        changed = {key: value for key, (value, _) in changed_settings(config).items()}
        described.append(
            {
                "run": name,
                "config": entry.config,
                "settings": changed,
                "stages_from": base,
                "stages": stages,
                "diverged": diverged,
                "seconds": None if None in seconds else round(sum(seconds), 1),
            }
        )
    return described


def plan_lines(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The plan as text, one line per run."""
    lines = []
    for run in runs:
        if run["diverged"]:
            lines.append(f"{run['run']}: diverged before, and is not tried again")
            continue
        parts = []
        for stage, work in run["stages"].items():
            if run["stages_from"] and stage in STAGES[:2]:
                parts.append(f"{stage} of {run['stages_from']}")
            elif work["steps"] > work["done"] and not work["left"]:
                parts.append(f"{stage} of an earlier run")
            elif work["left"]:
                begun = f" ({work['done']} are done)" if work["done"] else ""
                parts.append(f"{stage} {work['steps']} steps{begun}")
            else:
                parts.append(f"{stage} {'is done' if work['steps'] else '-'}")
        lines.append(f"{run['run']}: {', '.join(parts)}; {_duration(run['seconds'])}")
    known = [run["seconds"] for run in runs if run["seconds"] is not None]
    total = "together: " + (_duration(sum(known)) if known else "of unknown duration")
    if known and len(known) < len(runs):
        total += f", and {len(runs) - len(known)} runs of unknown duration"
    return [*lines, f"{total}, plus the time for evaluation"]


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "of unknown duration until a run of this config has trained the stage here"
    if seconds < 60:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:.1f} h"


def _done(folder: Path) -> dict[str, dict[str, Any]]:
    """Stage -> its record; empty for a run that does not exist."""
    if not (folder / "run.json").is_file():
        return {}
    run = open_run(str(folder))
    return {stage: run.stage_record(stage) for stage in stages_of(run.config)}


def _rate_of(config: str, system: str, stage: str) -> tuple[str, ...]:
    """What has one rate: a stage of a config; of the last stage, that of one system."""
    return (config, stage, system) if stage == STAGES[-1] else (config, stage)


def _rates(
    done: Mapping[str, tuple[str, str, dict[str, dict[str, Any]]]],
) -> dict[tuple[str, ...], float]:
    """`_rate_of` -> seconds per step, over all measured steps."""
    measured: dict[tuple[str, ...], list[tuple[float, int]]] = {}
    for config, system, records in done.values():
        for stage, record in records.items():
            seconds, steps = record.get("seconds"), record.get("steps", 0)
            if isinstance(seconds, (int, float)) and steps > 0 and "taken_from" not in record:
                measured.setdefault(_rate_of(config, system, stage), []).append(
                    (float(seconds), steps)
                )
    return {
        key: sum(seconds for seconds, _ in found) / sum(steps for _, steps in found)
        for key, found in measured.items()
    }
