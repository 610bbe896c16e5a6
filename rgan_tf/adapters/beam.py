"""Apache Beam: one pipeline that gives each job to a worker."""

from __future__ import annotations

import argparse
import contextlib
import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner, create_runner
from apache_beam.transforms.environments import SubprocessSDKEnvironment
from apache_beam.utils.shared import Shared

from rgan_tf.errors import BadInput, one_line

_FULL_NAMES = {"daskrunner": "apache_beam.runners.dask.dask_runner.DaskRunner"}
"""Of runners that Beam does not know by a short name."""

_WORKER = "apache_beam.runners.worker.sdk_worker_main"
_MODE = "direct_running_mode"
_LOGGERS = ("apache_beam", "distributed")


def run_pipeline(
    work: Callable[[Any], None], jobs: Sequence[Any], runner: str, options: Sequence[str]
) -> None:
    """Runs `work` of every job on some worker, and waits for all.

    Args:
      work: pickled once per process of a worker.
      jobs: pickled.
      runner: a name that Beam knows, or the full name of a class. "DirectRunner" means processes of
        this machine, as many as cores.
      options: NAME=VALUE or NAME, without dashes.

    Raises:
      BadInput: if the runner or an option is not known, or a value is wrong.
      Exception: whatever the runner makes of an error of a job, or raises by itself.
    """
    chosen, flags = check_runner(runner, options)
    with _quiet():
        pipeline = beam.Pipeline(runner=chosen, options=PipelineOptions(flags))
        _ = pipeline | beam.Create(jobs) | beam.ParDo(_Working(work))
        result = pipeline.run()
        try:
            result.wait_until_finish()
        finally:
            client = getattr(result, "client", None)  # Dask's, which Beam leaves open
            if client is not None:
                client.close()


def check_runner(runner: str, options: Sequence[str]) -> tuple[PipelineRunner, list[str]]:
    """The runner of that name, and the flags of its pipeline; starts nothing.

    Args:
      runner, options: see `run_pipeline`.

    Raises:
      BadInput: if one of them is not known, or a value is wrong.
    """
    flags = ["--direct_num_workers=0", *(f"--{option}" for option in options)]
    if runner.lower() not in ("directrunner", "direct"):
        chosen = _named(runner)
    # Beam's own choice under this name would first download a program.
    elif any(option.startswith(_MODE) for option in options):
        chosen = FnApiRunner()
    else:
        # Processes, whose many lines of log and of TensorFlow's end nobody needs.
        command = f"{shlex.quote(sys.executable)} -m {_WORKER} 2>/dev/null"
        chosen = FnApiRunner(SubprocessSDKEnvironment.from_command_string(command))
    _check(flags)
    return chosen, flags


class _Working(beam.DoFn):
    """Keeps one `work` per process: it may hold a network, which takes seconds to load."""

    def __init__(self, work: Callable[[Any], None]):
        super().__init__()
        self._work = work
        self._shared = Shared()

    def process(self, job: Any) -> None:
        self._shared.acquire(lambda: self._work)(job)


def _named(name: str) -> PipelineRunner:
    try:
        return create_runner(_FULL_NAMES.get(name.lower(), name))
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInput(f"--runner {name}: {one_line(str(error))}") from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise BadInput(f"--runner-option: {message}")


def _check(flags: list[str]) -> None:
    """Refuses options that no part of Beam knows, which Beam itself would drop with a warning."""
    parser = _Parser(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    unknown = parser.parse_known_args(flags)[1]
    if unknown:
        name = unknown[0].removeprefix("--").partition("=")[0]
        raise BadInput(f"--runner-option {name}: Apache Beam has no such option for this runner")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Only errors are logged."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
