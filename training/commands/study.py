"""`rgan study`: people judge which of two sets of patches fits together better.

RetrieveGAN's user study on patch compatibility: two ways of choosing patches, the same scene
graphs, and for each the question which set could come from one image. With --pictures the same of
the pictures of two runs, of any systems.
"""

from __future__ import annotations

import argparse
from typing import Any

# Those of `training.evaluation.retrieval`, which is slow to import.
SELECTIONS = ("learned", "untrained", "backbone", "graph_nearest", "random")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares one sub-command for making a study and one for its result."""
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")

    def task(name: str, text: str) -> argparse.ArgumentParser:
        return tasks.add_parser(name, help=text, description=text, allow_abbrev=False)

    maker = task("make", "write the page that people answer, and the key to it")
    maker.add_argument("--run", required=True, help="run folder or released:NAME")
    maker.add_argument(
        "--other",
        metavar="RUN",
        help="run that the second of --systems, or the second picture, is from (--run)",
    )
    maker.add_argument(
        "--pictures",
        action="store_true",
        help="show what --run and --other draw, and no patches; both may be runs of any system",
    )
    maker.add_argument(
        "--systems",
        nargs=2,
        choices=SELECTIONS,
        metavar=("A", "B"),
        help=f"two ways of choosing to compare (learned graph_nearest), of {', '.join(SELECTIONS)}",
    )
    maker.add_argument("--data", help="prepared data; default: what the run was trained on")
    maker.add_argument(
        "--split",
        default="val",
        choices=("train", "val", "test"),
        help="split that the scenes are from (val)",
    )
    maker.add_argument("--scenes", type=int, default=30, help="number of pairs to show (30)")
    maker.add_argument(
        "--repeats",
        type=int,
        help="number of pairs that are shown again with sides swapped (a sixth of --scenes)",
    )
    maker.add_argument(
        "--seed", type=int, default=0, help="seed of scenes, order, sides and noise (0)"
    )
    maker.add_argument("--out", required=True, metavar="FOLDER", help="study folder to make")

    report = task("report", "evaluate the answers")
    report.add_argument(
        "--study", required=True, metavar="FOLDER", help="folder made by rgan study make"
    )
    report.add_argument(
        "--answers", required=True, nargs="+", metavar="FILE", help="one file per participant"
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Makes a study, or reports on one."""
    if args.task == "make":
        from training.study.make import make

        return make(args)
    from training.study.report import report

    return report(args)
