"""Puts a report together: one HTML file without scripts, links or anything fetched."""

from __future__ import annotations

import shlex
import stat
from pathlib import Path
from typing import Any

from rgan_tf.errors import BadInput
from rgan_tf.runs import STAGES, Run
from training.report.configuration import config_section
from training.report.curves import draw_curve, grouped
from training.report.evaluation import Evaluation, evaluation_tables, read_evaluations
from training.report.events import Curve, read_curves
from training.report.markup import Markup, join, tag
from training.report.notes import Notes
from training.report.pictures import picture_section, picture_series
from training.report.provenance import provenance_section
from training.report.stages import read_records, stages_section

GENERATOR = "rgan report"
_MARK = f'<meta name="generator" content="{GENERATOR}">'
_MARK_WITHIN = 512  # bytes of the beginning

# Even a mistake in escaping could then neither run nor load anything.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#26262c;background:#fcfbf9;margin:2rem auto;
max-width:1180px;padding:0 1rem}
h1{font-size:1.7rem;margin-bottom:.2rem}h2{margin-top:2.4rem;border-bottom:1px solid #d8d4cc}
h3{margin:1.4rem 0 .5rem}h4{margin:.9rem 0 .3rem}
table{border-collapse:collapse;margin:.4rem 0 1rem;font-size:.9rem}
th,td{text-align:left;padding:.18rem .7rem .18rem 0;border-bottom:1px solid #e8e4dc;
vertical-align:top;overflow-wrap:break-word}
th{color:#6a6a72;font-weight:600}.number,td:has(.figure){text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.changed td{background:#fff0c8}.changed td:last-child{color:#6a6a72}
.bad{color:#b3261e}.note{color:#b3261e}
.columns{columns:2 28rem}.columns>div{break-inside:avoid}
.curves{display:flex;flex-wrap:wrap;gap:.6rem 1rem}figure{margin:0}
figcaption{font-size:.82rem;padding-left:52px;max-width:286px}
svg text{font:10px system-ui,sans-serif;fill:#6a6a72}
svg .frame{fill:#fff;stroke:#e0dcd4}svg polyline{fill:none;stroke:#2a6fb0;stroke-width:1.4}
svg circle{fill:#2a6fb0}svg .band{fill:#2a6fb0;opacity:.18;stroke:none}
img{max-width:100%;height:auto}pre{background:#f2efe8;padding:.6rem;overflow-x:auto}
code{font-size:.85em;overflow-wrap:anywhere}nav a{margin-right:1rem}
"""


def require_own(path: Path) -> None:
    """Refuses a place where something lies that is no report.

    Raises:
      BadInput: if there is anything but a file that `rgan report` wrote.
    """
    try:
        kind = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISREG(kind):
        with open(path, "rb") as file:
            if _MARK.encode() in file.read(_MARK_WITHIN):
                return
    raise BadInput(f"--out {path}: is there and not a report of this program; name another file")


def build_page(
    run: Run, name: str, *, data: Path | None, metrics: Path, notes: Notes
) -> tuple[bytes, dict[str, Any]]:
    """The whole file, and what is in it. The same run gives the same bytes.

    Args:
      run: an opened run.
      name: how a command would name it.
      data: folder of its prepared data; may have moved away since.
      metrics: folder with `metrics.jsonl` and the pictures of evaluations.
      notes: told what is missing or damaged.
    """
    records = read_records(run, notes)
    curves = {
        path.name: read_curves(path, notes)
        for path in _log_folders(run)
        if path.name in STAGES  # those of evaluations are single points, and in the tables
    }
    evaluations = read_evaluations(metrics, notes)
    folders = list(dict.fromkeys([run.folder, metrics]))
    pictures, picture_count = picture_section(picture_series(folders), notes)
    stages = stages_section(run, records, notes)
    provenance = provenance_section(run, name, records, data=data, notes=notes)
    sections = [
        ("stages", "Stages", stages),
        ("evaluation", "Evaluation", _evaluation(evaluations, records, name, data)),
        ("curves", "Training curves", _curves(curves)),
        ("pictures", "Pictures", pictures or tag("p", "The run has no pictures yet.")),
        ("config", "Config", config_section(run.config)),
        ("provenance", "Provenance", provenance),
    ]
    title = f"{run.config.name} – {run.folder.name}"
    body = [
        tag("h1", title),
        tag("p", "RetrieveGAN run; weights ", tag("code", _fingerprint(records))),
        tag("nav", *(tag("a", heading, href=f"#{anchor}") for anchor, heading, _ in sections)),
    ]
    if notes.lines:
        lines = [tag("li", line, class_="note") for line in notes.lines]
        body += [tag("h2", "Notes"), tag("ul", *lines)]
    for anchor, heading, content in sections:
        body += [tag("h2", heading, id=anchor), content]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Markup(_MARK),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", title),
        tag("style", Markup(_STYLE)),
    )
    page = "<!DOCTYPE html>\n" + tag("html", head, tag("body", *body), lang="en") + "\n"
    content = {
        "stages": {stage: record.get("steps", 0) for stage, record in records.items()},
        "curves": sum(len(found) for found in curves.values()),
        "splits": [evaluation.split for evaluation in evaluations],
        "pictures": picture_count,
    }
    return page.encode("utf-8"), content


def _log_folders(run: Run) -> list[Path]:
    return [run.folder / "logs" / stage for stage in STAGES]


def _fingerprint(records: dict[str, dict[str, Any]]) -> str:
    """As `Run.fingerprint`, which a damaged record would end."""
    return "-".join(record.get("weights_sha256", "")[:8] for record in records.values())


def _curves(stages: dict[str, dict[str, Curve]]) -> Markup:
    parts: list[Markup] = []
    for stage, curves in stages.items():
        if not curves:
            continue
        parts.append(tag("h3", stage))
        for group, members in grouped(curves).items():
            figures = [draw_curve(name, curve) for name, curve in members.items()]
            parts += [tag("h4", group), tag("div", *figures, class_="curves")]
    if not parts:
        parts.append(tag("p", "The run has no training logs."))
    return join(parts)


def _evaluation(
    evaluations: list[Evaluation],
    records: dict[str, dict[str, Any]],
    name: str,
    data: Path | None,
) -> Markup:
    if not evaluations:
        words = ["rgan", "eval", "--run", name, "--data", str(data or "DATA"), "--split", "val"]
        words += [] if data else ["--out", "EVAL"]
        line = " ".join(shlex.quote(word) for word in words)
        text = "The run has not been evaluated, or its results lie elsewhere (--metrics). To do so:"
        return join([tag("p", text), tag("pre", line)])
    parts: list[Markup] = []
    for evaluation in evaluations:
        parts.append(tag("h3", f"{evaluation.split}, step {evaluation.step}"))
        steps = records[STAGES[-1]].get("steps")
        if evaluation.step != steps:
            text = f"Not of the run's present weights, which are of step {steps}."
            parts.append(tag("p", text, class_="bad"))
        if evaluation.earlier:
            steps = ", ".join(map(str, evaluation.earlier))
            parts.append(tag("p", f"Evaluated earlier at steps {steps}."))
        parts.append(evaluation_tables(evaluation))
    return join(parts)
