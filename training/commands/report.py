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
    from training.report.write import write_report

    return write_report(args.run, args.out, data=args.data, metrics=args.metrics)
