"""Builds a report: one HTML file without scripts, links or external resources."""

from __future__ import annotations

import shlex
import stat
from pathlib import Path
from typing import Any

from rgan_tf.bank.licences import licence_code
from rgan_tf.config_files import config_to_dict, flat_settings
from rgan_tf.errors import BadInput
from rgan_tf.runs import STAGES, Run
from training.configuration import changed_settings
from training.report.curves import drawable, grouped, picture_of
from training.report.evaluation import evaluation_tasks, read_evaluations
from training.report.events import read_curves
from training.report.notes import Notes
from training.report.pictures import data_uri, first_and_latest
from training.report.provenance import COUNTS, command_of, data_facts, versions
from training.report.stages import read_records, stage_entries, weights_rows
from training.templates import html_environment, page_bytes

TEMPLATES = Path(__file__).parent / "templates"
_MARK = b'<meta name="generator" content="rgan report">'  # as in the template
_MARK_WITHIN = 512  # first bytes of the file


def require_own(path: Path) -> None:
    """Refuses to overwrite anything but a report.

    Raises:
      BadInput: if the path exists and was not written by `rgan report`.
    """
    try:
        kind = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISREG(kind):
        with open(path, "rb") as file:
            if _MARK in file.read(_MARK_WITHIN):
                return
    raise BadInput(f"--out {path}: exists and is not a report of this program; name another file")


def build_page(
    run: Run, name: str, *, data: Path | None, metrics: Path, notes: Notes
) -> tuple[bytes, dict[str, Any]]:
    """The HTML file, and a summary of it. The same run gives the same bytes.

    Args:
      run: an opened run.
      name: the run as named in a command.
      data: folder of its prepared data, which may have been moved.
      metrics: folder with `metrics.jsonl` and the pictures of evaluations.
      notes: gets a line for what is missing or damaged.
    """
    records = read_records(run, notes)
    curves = {  # evaluations log single points, which are in the tables
        stage: read_curves(run.folder / "logs" / stage, notes) for stage in records
    }
    evaluations = read_evaluations(metrics, notes)
    pictures = first_and_latest(list(dict.fromkeys([run.folder, metrics])), notes)
    environment = html_environment(TEMPLATES)
    environment.filters |= {
        "code": licence_code,
        "drawn": lambda curve: (png := picture_of(curve)) and data_uri(png),
        "gaps": lambda curve: int((~drawable(curve)).sum()),
    }
    page = environment.get_template("report.html").render(
        title=f"{run.config.name} – {run.folder.name}",
        # Like `Run.fingerprint`, but tolerates a damaged record.
        fingerprint="-".join(records[stage].get("weights_sha256", "")[:8] for stage in STAGES),
        stages=stage_entries(run, records, notes),
        steps=records[STAGES[-1]].get("steps"),
        evaluations=[(found, evaluation_tasks(found.figures)) for found in evaluations],
        eval_command=_eval_command(name, data),
        curves={stage: grouped(found) for stage, found in curves.items() if found},
        pictures=pictures,
        config=config_to_dict(run.config),
        changed=changed_settings(run.config),
        settings=flat_settings(run.config),
        command=command_of(run, name, records),
        weights=weights_rows(run, records, notes),
        data=data_facts(run, data, notes),
        counts=COUNTS,
        versions=versions(run),
        notes=notes.lines,
    )
    content = {
        "stages": {stage: record.get("steps", 0) for stage, record in records.items()},
        "curves": sum(len(found) for found in curves.values()),
        "splits": [evaluation.split for evaluation in evaluations],
        "pictures": sum(len(shown) for shown in pictures.values()),
    }
    return page_bytes(page), content


def _eval_command(name: str, data: Path | None) -> str:
    words = ["rgan", "eval", "--run", name, "--data", str(data or "DATA"), "--split", "val"]
    words += [] if data else ["--out", "EVAL"]
    return " ".join(shlex.quote(word) for word in words)
