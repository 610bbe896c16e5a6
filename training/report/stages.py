"""The state of each stage: steps, time, weights, warnings, rollbacks."""

from __future__ import annotations

import re
from typing import Any

from tqdm import tqdm

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.runs import STAGES, Run, stages_of
from rgan_tf.storage.files import sha256_of
from training.report.notes import Notes
from training.rollbacks import Rollbacks

# Shown in their own columns, or elsewhere on the page.
_IN_COLUMNS = {
    "weights",
    "weights_sha256",
    "steps",
    "seconds",
    "skipped_steps",
    "rollbacks",
    "warnings",
}
_CHECKPOINT = re.compile(r"step-(\d+)")


def read_records(run: Run, notes: Notes) -> dict[str, dict[str, Any]]:
    """The record of every stage; empty if it is missing or damaged."""
    records = {}
    for stage in stages_of(run.config):
        try:
            records[stage] = run.stage_record(stage)
        except (BadInput, CorruptData) as error:
            notes.add(str(error))
            records[stage] = {}
    return records


def read_rollbacks(run: Run, stage: str, notes: Notes) -> list[dict[str, Any]]:
    """The rollbacks of a stage; empty if there were none."""
    try:
        return list(Rollbacks(run.stage_folder(stage) / "rollbacks.json", writes=False))
    except CorruptData as error:
        notes.add(str(error))
        return []


def stage_entries(
    run: Run, records: dict[str, dict[str, Any]], notes: Notes
) -> list[dict[str, Any]]:
    """Facts about each stage, in the template's terms."""
    entries = []
    for stage, steps in stages_of(run.config).items():
        record = records[stage]
        rollbacks = read_rollbacks(run, stage, notes)
        warnings = record.get("warnings")
        row = [
            _state(run, stage, record, steps, is_known=f"{stage}_weights" in records[STAGES[-1]]),
            record.get("steps"),
            steps,
            _duration(record.get("seconds")),
            record.get("skipped_steps"),
            len(rollbacks) or record.get("rollbacks"),
        ]
        entries.append(
            {
                "name": stage,
                "row": row,
                "figures": [entry for entry in record.items() if entry[0] not in _IN_COLUMNS],
                "warnings": [
                    f"step {warning.get('step')}: {warning.get('what')}"
                    for warning in (warnings if isinstance(warnings, list) else [])
                    if isinstance(warning, dict)
                ],
                "rollbacks": [(entry.get("at_step"), _skipped(entry)) for entry in rollbacks],
            }
        )
    return entries


def weights_rows(
    run: Run, records: dict[str, dict[str, Any]], notes: Notes
) -> list[tuple[str, str, str, str]]:
    """Stage, weights, sha256 and state of the file for every stage with weights."""
    rows = []
    for stage, record in records.items():
        if "weights" not in record:
            continue
        path = run.stage_folder(stage) / f"{record['weights']}.data-00000-of-00001"
        try:
            state = "as recorded" if sha256_of(path) == record["weights_sha256"] else "damaged"
        except OSError:
            state = "missing"
        if state != "as recorded":
            notes.add(f"{path}: {state}; restore it or train again")
        rows.append((stage, record["weights"], record["weights_sha256"], state))
    return rows


def _state(run: Run, stage: str, record: dict[str, Any], wanted: int, *, is_known: bool) -> str:
    """What became of a stage; `is_known`: the last one began with its weights."""
    if "taken_from" in record:
        return f"taken from {record['taken_from']}"
    if record.get("steps", -1) >= wanted:
        return "done"
    saved = [
        int(match[1])
        for path in run.stage_folder(stage).glob("checkpoints/step-*")
        if (match := _CHECKPOINT.fullmatch(path.name))
    ]
    if record:
        return "partly trained"
    if saved:
        return f"begun, checkpoint of step {max(saved)}"
    # A release has no weights that only training reads.
    return "trained, not kept" if is_known else "not trained"


def _skipped(entry: dict[str, Any]) -> str:
    skipped = entry.get("skipped")
    texts = []
    for step in skipped if isinstance(skipped, list) else []:
        if isinstance(step, dict):
            scenes = step.get("image_ids")
            ids = f" ({', '.join(map(str, scenes))})" if isinstance(scenes, list) else ""
            texts.append(f"{step.get('step')}{ids}")
    return "; ".join(texts)


def _duration(seconds: Any) -> str | None:
    is_number = isinstance(seconds, (int, float)) and abs(seconds) < 1e12
    return tqdm.format_interval(seconds) if is_number else None
