"""`rgan report`: writes a run as one self-contained HTML file."""

from __future__ import annotations

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("run", metavar="RUN", help="run folder or released:NAME")
    parser.add_argument("--out", metavar="FILE", help="HTML file to write; default RUN/report.html")
    parser.add_argument("--data", help="prepared data; default: what the run was trained on")
    parser.add_argument(
        "--metrics",
        metavar="FOLDER",
        help="where `rgan eval --out` left its results; default: the run folder",
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Writes the report and returns a summary of its content."""
    from pathlib import Path

    from rgan_tf import released
    from rgan_tf.errors import BadInput
    from rgan_tf.runs import open_run
    from rgan_tf.storage.files import write_bytes_atomic
    from training.report.notes import Notes
    from training.report.page import build_page, require_own

    is_released = args.run.startswith(released.PREFIX)
    run = open_run(args.run)
    if is_released and not args.out:
        raise BadInput(f"{args.run}: ships with the project; name a file with --out")
    out = Path(args.out) if args.out else run.folder / "report.html"
    require_own(out)
    metrics = Path(args.metrics) if args.metrics else run.folder
    if not metrics.is_dir():
        raise BadInput(f"--metrics {metrics}: no such folder; name the --out of rgan eval")
    notes = Notes()
    page, content = build_page(
        run,
        args.run if is_released else str(run.folder.resolve()),
        data=Path(args.data) if args.data else run.data,
        metrics=metrics,
        notes=notes,
    )
    write_bytes_atomic(out, page)
    return {
        "run": args.run,
        "report": str(out),
        "bytes": len(page),
        **content,
        "notes": notes.lines,
    }
