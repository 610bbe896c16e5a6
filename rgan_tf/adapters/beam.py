"""Apache Beam: one pipeline that gives each job to a worker."""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import logging
import os
import shlex
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner, create_runner
from apache_beam.utils.shared import Shared

from rgan_tf.adapters.beam_processes import WatchedProcesses
from rgan_tf.cores import usable_cores
from rgan_tf.errors import BadInput, one_line

_FULL_NAMES = {"daskrunner": "apache_beam.runners.dask.dask_runner.DaskRunner"}
"""Full names of the runners that Beam does not know by a short name."""

_NEEDS = "; install it: pip install -c constraints.txt -e '.[dask]'"

_WORKER = "apache_beam.runners.worker.sdk_worker_main"
_MODE = "direct_running_mode"
_LOGGERS = ("apache_beam", "distributed", "distributed.client")
_THREADS = ("run_worker", "beam_control_read", "read_grpc_client_inputs")
"""Names of Beam's threads that fail when a worker is lost."""

_SAME = ("TF_ENABLE_ONEDNN_OPTS", "RGAN_WEIGHTS")
"""Variables of the environment that decide what a job writes; workers take the command's."""


def run_pipeline(
    work: Callable[[Any], None],
    jobs: Sequence[Any],
    runner: str,
    options: Sequence[str],
    note: Path,
    lost: bytes,
) -> None:
    """Runs `work` of every job on some worker, and waits for all.

    Args:
      work: pickled once per process of a worker.
      jobs: pickled.
      runner: a name that Beam knows, or the full name of a class. "DirectRunner" means processes of
        this machine, as many as cores that this one may use.
      options: NAME=VALUE or NAME, without dashes.
      note: a file that gets the text `lost` if a process of "DirectRunner" ends too early.
      lost: its content.

    Raises:
      BadInput: if the runner or an option is not known, or a value is wrong.
      Exception: whatever the runner makes of an error of a job, or raises by itself.
    """
    chosen, flags = check_runner(runner, options)
    if chosen is None:
        chosen = FnApiRunner(WatchedProcesses(_command(flags), note, lost))
        flags = [flag for flag in flags if not flag.startswith(f"--{_MODE}")]
    with _quiet():
        pipeline = beam.Pipeline(runner=chosen, options=PipelineOptions(flags))
        packed = [_packed(job) for job in jobs]
        _ = pipeline | beam.Create(packed) | beam.ParDo(_Working(work))
        result = pipeline.run()
        try:
            result.wait_until_finish()
            states = [future.status for future in getattr(result, "futures", ())]  # Dask's
            if set(states) - {"finished"}:  # Beam waits for these no longer, and says nothing
                raise ConnectionError("its scheduler ended before all was done; start one again")
        finally:
            client = getattr(result, "client", None)  # Dask's, which Beam leaves open
            if client is not None:
                client.close()


def check_runner(runner: str, options: Sequence[str]) -> tuple[PipelineRunner | None, list[str]]:
    """The runner of that name, and the flags of its pipeline; starts nothing.

    Args:
      runner, options: see `run_pipeline`.

    Returns:
      None instead of the runner for processes of this machine.

    Raises:
      BadInput: if one of them is not known, or a value is wrong.
    """
    flags = [f"--direct_num_workers={usable_cores()}", *(f"--{option}" for option in options)]
    # Beam's own choice under the name of DirectRunner would first download a program.
    is_direct = runner.lower() in ("directrunner", "direct")
    chosen = FnApiRunner() if is_direct else _named(runner)
    _check(flags, options)
    direct = PipelineOptions(flags).view_as(DirectOptions)
    if direct.direct_num_workers < 0:
        raise BadInput(
            "--runner-option direct_num_workers: must be at least 1, or 0 for one per core, got "
            f"{direct.direct_num_workers}"
        )
    in_processes = not _is_given(_MODE, flags) or direct.direct_running_mode == "multi_processing"
    return (None if is_direct and in_processes else chosen), flags


def _command(flags: list[str]) -> str:
    """What starts a worker; unless the mode is given, nobody needs its many lines of log."""
    command = f"{shlex.quote(sys.executable)} -m {_WORKER}"
    return command if _is_given(_MODE, flags) else f"{command} 2>/dev/null"


def _is_given(name: str, flags: list[str]) -> bool:
    return name in map(_name_of, flags)


def _packed(value: Any) -> bytes:
    return pickler.dumps(value, use_zlib=True)  # bz2 takes seconds for the jobs of COCO


def _unpacked(packed: bytes) -> Any:
    return pickler.loads(packed, use_zlib=True)


class Packed:
    """A function whose copy in a worker is unpacked when it is first called.

    So what it imports finds the environment of the command, and what fails then fails in a job.

    Args:
      work: takes one argument.
    """

    def __init__(self, work: Callable[[Any], None]):
        self._packed = _packed(work)

    def __call__(self, job: Any) -> None:
        self._work(job)

    @functools.cached_property
    def _work(self) -> Callable[[Any], None]:
        return _unpacked(self._packed)


class _Working(beam.DoFn):
    """Keeps one `work` per process: it may hold a network, which takes seconds to load.

    Jobs are packed, because unpacking them imports TensorFlow, which reads the environment once.
    """

    def __init__(self, work: Callable[[Any], None]):
        super().__init__()
        self._work = work
        self._shared = Shared()
        self._environment = {name: os.environ[name] for name in _SAME if os.environ.get(name)}
        if folder := self._environment.get("RGAN_WEIGHTS"):
            self._environment["RGAN_WEIGHTS"] = os.path.abspath(folder)

    def process(self, job: bytes) -> None:
        os.environ.update(self._environment)
        self._shared.acquire(lambda: self._work)(_unpacked(job))


def _named(name: str) -> PipelineRunner:
    full_name = _FULL_NAMES.get(name.lower(), name)
    try:
        if "." in full_name:
            module, _, attribute = full_name.rpartition(".")
            chosen = getattr(importlib.import_module(module), attribute)
            if not isinstance(chosen, type) or not issubclass(chosen, PipelineRunner):
                raise ValueError(f"{full_name} is not a runner of Apache Beam")
        return create_runner(full_name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        advice = _NEEDS if "dask" in str(error) and name.lower() in _FULL_NAMES else ""
        raise BadInput(f"--runner {name}: {one_line(str(error))}{advice}") from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise BadInput(f"--runner-option: {message}")


def _check(flags: list[str], options: Sequence[str]) -> None:
    """Refuses options that no part of Beam knows, which Beam would drop with a warning, and values
    of which it would read the last alone."""
    parser = _Parser(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    for known in PipelineOptions.__subclasses__():
        known._add_argparse_args(parser)
    if _is_given("runner", flags):
        raise BadInput("--runner-option runner: name the runner by --runner")
    parsed, unknown = parser.parse_known_args(flags)
    if unknown:
        name = _name_of(unknown[0])
        raise BadInput(f"--runner-option {name}: Apache Beam has no such option for this runner")
    for name, times in Counter(map(_name_of, options)).items():
        if times > 1 and not isinstance(getattr(parsed, name, None), list):  # of a list all count
            raise BadInput(f"--runner-option {name}: is given {times} times; give it once")


def _name_of(flag: str) -> str:
    return flag.removeprefix("--").partition("=")[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Logs nothing, with errors of jobs and of runners: the caller reports those, in a line."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    hook = threading.excepthook

    def others(failed: threading.ExceptHookArgs) -> None:
        if failed.thread is None or failed.thread.name not in _THREADS:
            hook(failed)

    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    threading.excepthook = others
    try:
        yield
    finally:
        threading.excepthook = hook
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
