"""Spreads jobs that do not depend on each other: in this process, or over a runner of Apache Beam.

A job leaves one file or folder that appears whole under its name. So nothing has to be collected, a
job that has run already is skipped, a runner may repeat one, and progress is what has appeared.
Nothing that is written depends on where or in which order the jobs run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from tqdm import tqdm

from rgan_tf.arguments import shown, text_list
from rgan_tf.errors import BadInput, CorruptData, RganError, one_line
from rgan_tf.progress import progress_bar
from rgan_tf.refusals import refusal_of
from rgan_tf.storage.files import read_json, write_bytes_atomic

_POLL_S = 1.0  # between two checks of which outputs have appeared
_SHOWN = 300  # characters of a runner's own error
_LOST = (
    "a worker process was killed or has crashed; if the memory was short, use fewer "
    "(--runner-option direct_num_workers=N)"
)
_KINDS = {kind.__name__: kind for kind in (BadInput, CorruptData)}


class Job(Protocol):
    """What a worker is given.

    Attributes:
      out: the file or folder that appears when the job is done.
      count: items in it, for the progress.
    """

    out: Path

    @property
    def count(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where jobs run.

    Attributes:
      runner: a runner of Apache Beam by name, such as "DirectRunner" (processes of this machine) or
        "DaskRunner"; "" for this process, without Beam.
      options: options of the pipeline as NAME=VALUE or NAME, such as "direct_num_workers=4"; one
        or several.

    Raises:
      BadInput: if the runner is not a text, or the options are not texts.

    Example:
      ```python
      import rgan_tf

      engine = rgan_tf.Engine("DirectRunner", ("direct_running_mode=multi_threading",))
      rgan_tf.draw_world("WORLD", images=40, size=64, seed=0, engine=engine)
      ```
    """

    runner: str = ""
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.runner, str):
            raise BadInput(f"runner {shown(self.runner)}: must be the name of a runner, or empty")
        object.__setattr__(self, "options", text_list(self.options, "options"))

    def check(self) -> None:
        """Refuses what `run` would, before hours of reading; imports Beam if a runner is named.

        Raises:
          BadInput: if the runner or an option is not known.
        """
        if self.options and not self.runner:
            raise BadInput("--runner-option: without --runner nothing would read it; name both")
        if self.runner:
            _beam().check_runner(self.runner, self.options)

    def run(
        self,
        work: Callable[[Any], None],
        jobs: Sequence[Job],
        label: str,
        *,
        shown: bool = True,
    ) -> None:
        """Runs the jobs that have not left anything yet, and returns when all have.

        Args:
          work: makes `job.out`; with a runner, it and the jobs are pickled. Workers see the same
            folders under the same paths.
          jobs: of any number.
          label: of the progress on standard error.
          shown: whether there is any.

        Raises:
          BadInput: if the runner or an option is not known, the runner fails, or workers write to
            another disk.
          RganError: what a job raised; with a runner, that of one job that failed, after the jobs
            that were at work then.
        """
        self.check()
        left = [job for job in jobs if not job.out.exists()]
        total = sum(job.count for job in jobs)
        done = total - sum(job.count for job in left)
        with progress_bar(label, total, done=done, shown=shown) as bar:
            if not self.runner:
                for job in left:
                    _make(work, job)
                    bar.update(job.count)
            elif left:
                with _following(left, bar):
                    self._run_on_beam(work, left)

    def _run_on_beam(self, work: Callable[[Any], None], jobs: list[Job]) -> None:
        note = jobs[0].out.with_name(f"{jobs[0].out.name}.error")
        note.unlink(missing_ok=True)  # of a call that was killed
        failure = None
        try:
            _beam().run_pipeline(
                _Noting(_beam().Packed(work), note),
                jobs,
                self.runner,
                self.options,
                note,
                _noted(BadInput.__name__, f"--runner {self.runner}: {_LOST}"),
            )
        except RganError:
            raise
        except Exception as error:
            failure = error
        if note.exists():
            kind, text = read_json(note)
            note.unlink()
            raise _KINDS.get(kind, RuntimeError)(text) from failure
        if failure is not None:  # no job failed: the runner did
            text = one_line(f"{type(failure).__name__}: {failure}", _SHOWN)
            raise BadInput(f"--runner {self.runner}: {text}") from failure
        missing = [job.out for job in jobs if not job.out.exists()]
        if missing:
            raise BadInput(
                f"{missing[0]}: was written by a worker of --runner {self.runner} and is not seen "
                "here; name folders that all machines share"
            )


HERE = Engine()
"""This process alone, without Beam."""


def check_engine(engine: Any) -> None:
    """Refuses an engine that could not run a job, such as the name of a runner in its place.

    Raises:
      BadInput: if it is not an `Engine`; see also `Engine.check`.
    """
    if not isinstance(engine, Engine):
        raise BadInput(
            f"engine {shown(engine)}: must be an rgan_tf.Engine, such as Engine('DirectRunner')"
        )
    engine.check()


def _beam() -> ModuleType:
    with _without_warnings():
        return importlib.import_module("rgan_tf.adapters.beam")  # takes seconds


@dataclasses.dataclass(frozen=True)
class _Noting:
    """Notes what a job raises in a file: runners hand on errors as they please, after many lines.

    Once there is a note, no further job begins: some runners only report a failure when all other
    workers have done their share.
    """

    work: Callable[[Any], None]
    note: Path

    def __call__(self, job: Job) -> None:
        if job.out.exists() or self.note.exists():
            return  # a runner's second try, or another job has failed
        try:
            _make(self.work, job)
        except Exception as error:
            if not self.note.parent.is_dir():  # nobody waits any more: this process outlived them
                raise
            refusal = refusal_of(error)
            kind = type(error).__name__ if refusal is None else BadInput.__name__
            text = refusal or (str(error) if kind in _KINDS else f"{kind}: {error}")
            try:
                write_bytes_atomic(self.note, _noted(kind, text))
            except OSError:  # a full disk, of which the error itself tells
                raise error from None
            if kind not in _KINDS:  # a bug
                raise


def _make(work: Callable[[Any], None], job: Job) -> None:
    """Runs a job, unless somebody else has done it before this ends.

    A runner may run a job again before the first try is lost, and workers may outlive a call that
    was killed, beside the one that resumes it. What they leave is the same.
    """
    try:
        work(job)
    except BadInput:  # that the name is taken, if it is
        if not job.out.exists():
            raise


def _noted(kind: str, text: str) -> bytes:
    return json.dumps([kind, text]).encode()


@contextlib.contextmanager
def _following(jobs: list[Job], bar: tqdm) -> Iterator[None]:
    """Moves a bar as outputs appear; a runner says nothing of its own that is the same for all."""
    ended = threading.Event()

    def follow() -> None:
        waiting = jobs
        is_last = False
        while waiting and not is_last:
            is_last = ended.wait(_POLL_S)
            before = sum(job.count for job in waiting)
            waiting = [job for job in waiting if not job.out.exists()]
            bar.update(before - sum(job.count for job in waiting))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Beam warns at import that the tools of one cloud are not installed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
