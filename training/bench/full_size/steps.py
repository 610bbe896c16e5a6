"""What is done with a data set of full size, one process per step."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rgan_tf.errors import BadInput
from rgan_tf.storage.files import read_json, write_json_atomic
from training.bench.full_size.genome import minimum_counts
from training.bench.full_size.process import Usage, WatchedProcess, run_watched, watched

_RGAN = "import sys; from rgan_tf.cli import console; sys.argv[0] = 'rgan'; console()"
_WORK = "training.bench.full_size.work"
_READY = re.compile(r"rgan serve: version \d+ of \S+ at (http://\S+) and \S+ after (\S+) s")
_START_S = 1800.0  # for a server to load
# Rates in requests per second, and for how many seconds each.
_SEND = "bench serve --model {model} --rates 0.5 1 --seconds 20 --timeout-s 60"
_SETTINGS = "settings.json"
_FOLDERS = ("source", "added", "data", "run", "bank", "model")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the results depend on.

    Attributes:
      scale: 1 for the real size.
      config: of the training, a file or the name of a shipped one.
      overrides: of the config, SECTION.KEY=VALUE.
      backbone: of the patch features.
      size: side of the stored images in px.
      train_steps: of each stage.
      eval_words: options of `rgan eval`.
      seed: of the data.
    """

    scale: float
    config: str
    overrides: tuple[str, ...]
    backbone: str
    size: int
    train_steps: int
    eval_words: tuple[str, ...]
    seed: int


class Place:
    """The folder of one data set, with all that is made of it.

    Args:
      root: created if missing.
      kind: "coco" or "vg".
      settings: as before, if the folder has been used before.

    Raises:
      BadInput: if the folder holds results of other settings.
    """

    def __init__(self, root: Path, kind: str, settings: Settings):
        self.kind = kind
        self.settings = settings
        self.folder = root / kind
        for name in ("results", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        path, found = self.folder / _SETTINGS, json.loads(json.dumps(vars(settings)))
        if not path.exists():
            write_json_atomic(path, found)
        elif read_json(path) != found:
            raise BadInput(
                f"{path}: was begun with other options; repeat them, or name another --out"
            )

    def words(self, template: str) -> list[str]:
        """A command line in which {NAME} stands for a setting, `kind`, `root` or a folder."""
        folders = {name: self.folder / name for name in _FOLDERS}
        values = {**vars(self.settings), "kind": self.kind, "root": self.folder, **folders}
        return [word.format_map(values) for word in shlex.split(template)]

    def log(self, step: str) -> Path:
        """Where the errors and the progress of a step go."""
        return self.folder / "logs" / f"{step}.log"

    def result(self, step: str) -> dict[str, Any] | None:
        """The result of a step; None if it has none yet."""
        path = _result_path(self.folder, step)
        return read_json(path) if path.exists() else None

    def run(self, step: str) -> dict[str, Any]:
        """Does a step, or returns its result if that stands.

        Args:
          step: of `STEPS`.

        Returns:
          data, step, the fields of `Usage`, `folder_mb` (of what it made) and `answer`.

        Raises:
          BadInput: if an earlier step is missing, or the command fails.
        """
        chosen = STEPS[step]
        standing = self.result(step)
        if standing is not None:
            return standing
        for earlier in chosen.needs:
            if self.result(earlier) is None:
                raise BadInput(f"--steps {step}: {earlier} of {self.kind} comes before it")
        self._clear(chosen.makes)
        usage, answer = chosen.act(self, step)
        made = [self.folder / name for name in (*chosen.makes, *chosen.changes)]
        result = {
            "data": self.kind,
            "step": step,
            **dataclasses.asdict(usage),
            "folder_mb": sum(map(size_of, made)) // 2**20,
            "answer": answer,
        }
        write_json_atomic(_result_path(self.folder, step), result)
        return result

    def _clear(self, names: tuple[str, ...]) -> None:
        """Deletes what an earlier try has left."""
        for path in (*map(self.folder.joinpath, names), *self.folder.glob(".*.partial")):
            shutil.rmtree(path, ignore_errors=True)


def found_in(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The settings and the results that the folder of a `Place` holds, in the order of `STEPS`."""
    paths = [_result_path(folder, step) for step in STEPS]
    return read_json(folder / _SETTINGS), [read_json(path) for path in paths if path.exists()]


def _result_path(folder: Path, step: str) -> Path:
    return folder / "results" / f"{step}.json"


def size_of(path: Path) -> int:
    """Bytes of all files below a folder; files with several names count once."""
    sizes = {}
    for item in path.rglob("*"):
        if item.is_file():
            state = item.stat()
            sizes[state.st_ino] = state.st_size
    return sum(sizes.values())


Act = Callable[[Place, str], tuple[Usage, Any]]


@dataclasses.dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
      act: does it.
      needs: steps that come before it.
      makes: folders that it makes; deleted before it begins.
      changes: folders that it changes; it can be repeated.
    """

    act: Act
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


def _command(template: str, more: Callable[[Settings, str], Sequence[str]] | None = None) -> Act:
    """Runs `rgan` with the words of a template, and with what `more` has for settings and kind."""

    def act(place: Place, step: str) -> tuple[Usage, Any]:
        others = more(place.settings, place.kind) if more else ()
        return _run(place, step, ["-c", _RGAN, *place.words(template), *others])

    return act


def _work(template: str) -> Act:
    """Runs a task of `training.bench.full_size.work`."""

    def act(place: Place, step: str) -> tuple[Usage, Any]:
        return _run(place, step, ["-m", _WORK, *place.words(template)])

    return act


def _run(place: Place, step: str, words: list[str]) -> tuple[Usage, Any]:
    command = [sys.executable, *words]
    usage, line = run_watched(command, folder=place.folder, log=place.log(step))
    return usage, json.loads(line)


def _least_counts(settings: Settings, kind: str) -> list[str]:
    counts = minimum_counts(settings.scale) if kind == "vg" else {}
    return [word for option, value in counts.items() for word in (option, str(value))]


def _overrides(settings: Settings, kind: str) -> list[str]:
    return [word for override in settings.overrides for word in ("--set", override)]


def _serve(place: Place, step: str) -> tuple[Usage, Any]:
    """Starts `rgan serve` and sends it requests; the sender is not measured."""
    log = place.log(step)
    log.unlink(missing_ok=True)  # of an earlier server
    words = place.words("serve --model {model} --rest-port 0 --grpc-port 0")
    command = [sys.executable, "-c", _RGAN, *words]
    answer = log.with_suffix(".out")
    with watched(command, folder=place.folder, log=log, answer=answer) as (server, usage):
        ready = _wait_until_ready(server, log)
        words = [*place.words(_SEND), "--server", ready[1]]
        sender = subprocess.Popen(
            [sys.executable, "-c", _RGAN, *words], stdout=subprocess.PIPE, text=True
        )
        try:
            while sender.poll() is None:
                server.wait(1.0)
            sent = sender.communicate()[0]
        finally:
            sender.kill()
        server.stop()
    if sender.returncode or server.returncode:
        raise BadInput(f"{log}: the server or `rgan bench serve` failed")
    return usage, {"load_seconds": float(ready[2]), **json.loads(sent)}


def _wait_until_ready(server: WatchedProcess, log: Path) -> re.Match:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and server.returncode is None:
        found = _READY.search(log.read_text(errors="replace"))
        if found:
            return found
        server.wait(1.0)
    raise BadInput(f"{log}: the server did not start; this file says why")


STEPS = {
    "make": Step(_work("make {kind} {root} {scale} {seed}"), makes=("source", "added")),
    "prepare": Step(
        _command(
            "prepare {kind} --root {source} --out {data} --size {size} --backbone {backbone}",
            _least_counts,
        ),
        needs=("make",),
        makes=("data",),
    ),
    "train": Step(
        _command("train {config} --data {data} --run {run} --max-steps {train_steps}", _overrides),
        needs=("prepare",),
        changes=("run",),
    ),
    "search": Step(_work("search {run} {data}"), needs=("train",)),
    "epoch": Step(_work("epoch {run} {data}"), needs=("train",)),
    "bank-build": Step(
        _command("bank build --data {data} --out {bank}"), needs=("prepare",), makes=("bank",)
    ),
    "bank-add": Step(
        _command("bank add {bank} --folders {added} --source-licence CC0 --skip-duplicates"),
        needs=("bank-build",),
        changes=("bank",),
    ),
    "bank-remove": Step(
        _command("bank remove {bank} --category 'thing 3'"),  # both data sets have it
        needs=("bank-add",),
        changes=("bank",),
    ),
    "bank-verify": Step(_command("bank verify {bank}"), needs=("bank-remove",), changes=("bank",)),
    "export": Step(
        _command("export --run {run} --out {model}"), needs=("train",), makes=("model",)
    ),
    "serve": Step(_serve, needs=("export",)),
    "eval": Step(
        _command("eval --run {run}", lambda settings, _: settings.eval_words), needs=("train",)
    ),
}
"""The steps by name, in their order."""
