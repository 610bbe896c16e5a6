"""`rgan train`: trains the three stages of a run folder from config and data."""

from __future__ import annotations

import argparse
from typing import Any

from rgan_tf.options import add_config, add_weights_dir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_config(parser)
    parser.add_argument("--data", help="folder made by `rgan prepare`")
    parser.add_argument("--run", help="run folder; an existing run is resumed")
    parser.add_argument(
        "--stages-from",
        metavar="RUN",
        help="take the first two stages from this run, which may differ only in the joint stage",
    )
    parser.add_argument(
        "--as-they-are",
        action="store_true",
        help="with --stages-from: take these stages even if this config or data would train "
        "different ones",
    )
    parser.add_argument(
        "--max-steps", type=int, help="train each stage for at most this many steps"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the resolved config")
    parser.add_argument(
        "--profile",
        type=int,
        metavar="STEP",
        help="write a TensorBoard profile of ten steps from this step on; SIGUSR1 asks for one "
        "at any time",
    )
    add_weights_dir(parser)


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Trains what is missing and returns the stages' records."""
    from rgan_tf.config_files import config_to_dict
    from rgan_tf.errors import BadInput
    from rgan_tf.idle_settings import idle_line, names_of
    from rgan_tf.progress import note
    from training.configuration import at_most, named_config

    config = named_config(args.config, args.overrides)
    if args.profile is not None and args.profile < 0:
        raise BadInput(f"--profile {args.profile}: must be a step, at least 0")
    if args.as_they_are and not args.stages_from:
        raise BadInput("--as-they-are: only applies to --stages-from; name a run there")
    if args.max_steps is not None:
        config = at_most(config, args.max_steps)
    if idle := idle_line(config, names_of(args.overrides)):
        note(idle)
    if args.dry_run:
        return {"config": config_to_dict(config)}
    if not args.data or not args.run:
        raise BadInput("--data and --run are needed (or --dry-run)")

    from training.api import train  # takes seconds to import

    trained = train(
        config,
        args.data,
        args.run,
        stages_from=args.stages_from,
        as_they_are=args.as_they_are,
        profile_at=args.profile,
        weights_dir=args.weights_dir,
    )
    return {"run": args.run, **trained.stages}
