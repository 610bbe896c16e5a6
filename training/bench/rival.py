"""`rgan bench rival`: whether a trained rival has learned what makes it that system."""

from __future__ import annotations

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--run", required=True, help="folder of a run that trained a rival")
    parser.add_argument("--data", required=True, help="folder made by `rgan prepare`")
    parser.add_argument("--split", default="val", help="split whose scenes are drawn (val)")
    parser.add_argument(
        "--scenes",
        type=int,
        default=400,
        help="number of scenes to draw, the first of the split (400)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of codes, noise and patches (0)")
    parser.add_argument(
        "--words",
        nargs=2,
        metavar=("UPPER", "LOWER"),
        help="two words for AttnGAN, of which the first usually stands higher (sky grass)",
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Draws scenes in their true boxes, and measures what the rival's own losses are to teach.

    Returns:
      `system`, `scenes`, and what `training.bench.trained_rivals` has for that system.

    Raises:
      BadInput: if the run trains none of layout2im, pastegan and attngan, or a number or name is
        out of range.
    """
    from rgan_tf.arguments import check_least
    from rgan_tf.errors import BadInput
    from rgan_tf.runs import open_run
    from training.bench.trained_rivals import CHECKS, Subject, measure
    from training.evaluation.inputs import check_seed, check_split, open_data_of

    check_least(args, 2, "scenes")
    check_seed(args.seed)
    run = open_run(args.run)
    system = run.config.training.system
    if system not in CHECKS:
        raise BadInput(
            f"--run {args.run}: has training.system={system}; these checks are for "
            f"{', '.join(CHECKS)}"
        )
    words = args.words or ["sky", "grass"]
    if args.words and system != "attngan":
        raise BadInput(f"--words {' '.join(words)}: --run {args.run} trains {system}, not attngan")
    if len(set(words)) < 2:
        raise BadInput(f"--words {words[0]}: is given twice; name two words")
    data = open_data_of(run, args.run, args.data)
    check_split(data, args.split)
    scenes = min(args.scenes, data.record_count(args.split))
    return measure(Subject(run, data, args.split, scenes, args.seed, tuple(words)))
