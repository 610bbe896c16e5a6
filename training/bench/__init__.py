"""`rgan bench`: how fast the parts are on this machine."""

from __future__ import annotations

import argparse
from typing import Any

from training.bench import boxes, embedding, prefilter, retrieval, selection, train

TASKS = {
    "train": (train, "the joint training step and the generator's cost"),
    "retrieval": (retrieval, "retrieval among 10 to 4096 candidates, beside a plain layer"),
    "prefilter": (prefilter, "exact search and ScaNN on a bank of any size"),
    "embedding": (embedding, "building a patch bank, beside the backbone alone"),
    "boxes": (boxes, "what instance codes and the overlap loss teach the box predictor"),
    "selection": (selection, "what each form of the selection loss teaches the patch embedding"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares one sub-command per thing that can be measured."""
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    for name, (module, text) in TASKS.items():
        module.add_arguments(tasks.add_parser(name, help=text, description=text))


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Runs the chosen measurement."""
    return TASKS[args.task][0].main(args)
