"""The options that say where a command's jobs run."""

from __future__ import annotations

import argparse

from rgan_tf.errors import BadInput
from rgan_tf.spread import Engine


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options; see `engine_of`."""
    parser.add_argument(
        "--runner",
        default="",
        metavar="NAME",
        help="run the work on this runner of Apache Beam, such as DirectRunner (processes of "
        "this machine), DaskRunner or FlinkRunner (without it: in this process)",
    )
    parser.add_argument(
        "--runner-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set an option of the Beam pipeline, such as direct_num_workers=4 or "
        "dask_client_address=tcp://HOST:8786; may be given several times",
    )


def engine_of(args: argparse.Namespace) -> Engine:
    """The engine that the options name; `--workers`, where a command has it, names one as well.

    Raises:
      BadInput: if options contradict each other, or Beam does not know the runner or an option.
    """
    runner, options = args.runner, tuple(args.runner_option)
    workers = getattr(args, "workers", 1)
    if workers > 1:
        if runner:
            raise BadInput("--workers: applies to this machine only; leave it out with --runner")
        runner, options = "DirectRunner", (f"direct_num_workers={workers}", *options)
    engine = Engine(runner, options)
    engine.check()
    return engine
