"""What became of each stage: steps, time, weights, warnings, roll-backs."""

from __future__ import annotations

import re
from typing import Any

from tqdm import tqdm

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.runs import STAGES, Run
from rgan_tf.storage.files import read_json, sha256_of
from training.report.markup import Content, Markup, join, number, table, tag
from training.report.notes import Notes

# Told in columns of their own, or elsewhere on the page.
_TOLD = {"weights", "weights_sha256", "steps", "seconds", "skipped_steps", "rollbacks", "warnings"}
_CHECKPOINT = re.compile(r"step-(\d+)")


def read_records(run: Run, notes: Notes) -> dict[str, dict[str, Any]]:
    """The record of every stage; empty where there is none or it is damaged."""
    records = {}
    for stage in STAGES:
        try:
            records[stage] = run.stage_record(stage)
        except (BadInput, CorruptData) as error:
            notes.add(str(error))
            records[stage] = {}
    return records


def read_rollbacks(run: Run, stage: str, notes: Notes) -> list[dict[str, Any]]:
    """The roll-backs of a stage; none where it never went back."""
    path = run.stage_folder(stage) / "rollbacks.json"
    if not path.exists():
        return []
    try:
        entries = read_json(path)
    except BadInput as error:
        notes.add(str(error))
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        notes.add(f"{path}: not a record of roll-backs; restore it")
        return []
    return entries


def stages_section(run: Run, records: dict[str, dict[str, Any]], notes: Notes) -> Markup:
    """A table of the stages, then what there is to say about each."""
    config = run.config
    wanted = (config.sg2im.steps, config.cooccurrence.steps, config.training.steps)
    rows, more = [], []
    for stage, steps in zip(STAGES, wanted, strict=True):
        record = records[stage]
        rollbacks = read_rollbacks(run, stage, notes)
        rows.append(
            [
                tag("b", stage),
                _state(run, stage, record, steps),
                _plain(record.get("steps")),
                steps,
                _duration(record.get("seconds")),
                _plain(record.get("skipped_steps")),
                len(rollbacks) or _plain(record.get("rollbacks")),
            ]
        )
        more.append(_details(stage, record, rollbacks))
    head = ["stage", "state", "steps", "of", "time", "skipped steps", "roll-backs"]
    return join([table(head, rows), *more])


def weights_table(run: Run, records: dict[str, dict[str, Any]], notes: Notes) -> Markup:
    """The weights of every stage with their sha256, compared with the files."""
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
        rows.append([stage, record["weights"], tag("code", record["weights_sha256"]), state])
    return table(["stage", "weights", "sha256", "file"], rows)


def _state(run: Run, stage: str, record: dict[str, Any], wanted: int) -> str:
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
    return f"begun, checkpoint of step {max(saved)}" if saved else "not trained"


def _details(stage: str, record: dict[str, Any], rollbacks: list[dict[str, Any]]) -> Markup | None:
    parts: list[Markup] = []
    figures = [(key, str(_plain(value))) for key, value in record.items() if key not in _TOLD]
    if figures:
        parts.append(table(["figure", "value"], figures))
    warnings = record.get("warnings")
    if isinstance(warnings, list) and warnings:
        lines = [
            tag("li", f"step {entry.get('step')}: {entry.get('what')}", class_="bad")
            for entry in warnings
            if isinstance(entry, dict)
        ]
        parts += [tag("p", "Warnings"), tag("ul", *lines)]
    if rollbacks:
        rows = [[_plain(entry.get("at_step")), _skipped(entry)] for entry in rollbacks]
        parts.append(table(["went back at step", "skipped steps (scenes of their batches)"], rows))
    if not parts:
        return None
    is_open = {"open": "open"} if rollbacks or warnings else {}
    return tag("details", tag("summary", f"More about {stage}"), *parts, **is_open)


def _skipped(entry: dict[str, Any]) -> str:
    skipped = entry.get("skipped")
    texts = []
    for step in skipped if isinstance(skipped, list) else []:
        if isinstance(step, dict):
            scenes = step.get("image_ids")
            ids = f" ({', '.join(map(str, scenes))})" if isinstance(scenes, list) else ""
            texts.append(f"{step.get('step')}{ids}")
    return "; ".join(texts)


def _duration(seconds: Any) -> Content:
    is_number = isinstance(seconds, (int, float)) and abs(seconds) < 1e12
    return tqdm.format_interval(seconds) if is_number else None


def _plain(value: Any) -> Content:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    return value if value is None or isinstance(value, (int, str)) else str(value)
