"""Trainings and evaluations as processes of their own, each done once and kept."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rgan_tf.errors import BadInput, CorruptData, Diverged, Interrupted, RganError
from rgan_tf.files import atomic_folder, read_json, write_json_atomic
from rgan_tf.runs import STAGES, open_run
from training.compare.entries import Entry

_ERRORS = {kind.exit_code: kind for kind in (BadInput, Diverged, CorruptData, Interrupted)}
_CHILD = "from rgan_tf.cli import console; console()"


class Evaluation(NamedTuple):
    """What `rgan eval` found.

    Attributes:
      metrics: name -> value.
      images: folder with a folder per system and layout.
    """

    metrics: dict[str, Any]
    images: Path


class _Progress:
    """Says what begins, and how long the rest may take if it goes on like this."""

    def __init__(self, count: int):
        self._left = count
        self._seconds: list[float] = []

    @contextlib.contextmanager
    def of(self, text: str) -> Iterator[None]:
        """Around one of the `count` pieces of work."""
        rest = ""
        if self._seconds:
            mean = sum(self._seconds) / len(self._seconds)
            rest = f", at most {mean * self._left / 60:.0f} min left of this kind"
        print(f"compare: {text}{rest}", file=sys.stderr, flush=True)
        started = time.monotonic()
        yield
        self._seconds.append(time.monotonic() - started)
        self._left -= 1


class Steps:
    """Runs `rgan train` and `rgan eval` for the entries of a comparison.

    A process of its own keeps what one system leaves in memory away from the next, and is
    interrupted and continued like any other.

    Args:
      out: of the comparison; runs go to OUT/runs, evaluations to OUT/evaluations.
      data: prepared folder.
      overrides: of every config.
      weights_dir: folder with weight files, or None.
      count: of entries, for the time that is left.
    """

    def __init__(
        self, out: Path, data: str, overrides: list[str], *, weights_dir: str | None, count: int
    ):
        self._out = out
        self._data = data
        self._overrides = overrides
        self._weights = ["--weights-dir", weights_dir] if weights_dir else []
        self._progress = {"training": _Progress(count), "evaluating": _Progress(count)}
        self._started: set[str] = set()  # runs that have the first two stages
        self._trained: set[str] = set()

    def run_folder(self, run: str) -> Path:
        """Where a run is."""
        return self._out / "runs" / run

    def train(self, entry: Entry) -> None:
        """Trains the run of an entry, and before it the one whose stages it shares.

        Raises:
          RganError: as the training ended; the same command continues.
        """
        if entry.base is not None and entry.base not in self._started:
            base = Entry(entry.base, "", entry.config, entry.base, (), None, "")
            self._train(base, stages_only=True)
            self._started.add(entry.base)
        if entry.run in self._trained:
            return
        self._train(entry, stages_only=False)
        self._started.add(entry.run)
        self._trained.add(entry.run)

    def evaluate(
        self,
        entry: Entry,
        data_fingerprint: str,
        *,
        split: str,
        seed: int,
        resamples: int,
        backbone: str,
    ) -> Evaluation:
        """Figures and images of one entry; from disk where they are of these very weights.

        Raises:
          RganError: as the evaluation ended.
        """
        run = open_run(str(self.run_folder(entry.run)))
        identity = {
            "system": entry.system,
            "weights": {stage: run.stage_record(stage).get("weights_sha256") for stage in STAGES},
            "data": data_fingerprint,
            "split": split,
            "seed": seed,
            "resamples": resamples,
            "backbone": backbone,
        }
        folder = self._out / "evaluations" / entry.name
        result = folder / "result.json"
        number = 0
        while result.exists():
            found = read_json(result)
            if found.get("identity") == identity:
                return Evaluation(found["metrics"], folder / "images" / split)
            # Of other weights or another protocol: kept, it may be what a table was made of.
            number += 1
            folder = self._out / "evaluations" / f"{entry.name}-{number}"
            result = folder / "result.json"
        with (
            self._progress["evaluating"].of(f"evaluating {entry.name}"),
            atomic_folder(folder) as partial,
        ):
            words = ["eval", "--run", self.run_folder(entry.run), "--data", self._data]
            words += ["--split", split, "--system", entry.system, "--seed", seed]
            words += ["--resamples", resamples, "--metric-backbone", backbone, *self._weights]
            words += ["--out", partial, "--save-images", partial / "images"]
            metrics = self._run(words)[split]
            write_json_atomic(partial / "result.json", {"identity": identity, "metrics": metrics})
        return Evaluation(metrics, folder / "images" / split)

    def _train(self, entry: Entry, *, stages_only: bool) -> None:
        words: list[Any] = ["train", entry.config, "--data", self._data]
        words += ["--run", self.run_folder(entry.run), *self._weights]
        settings = [*self._overrides, *entry.settings]
        if stages_only:
            settings.append("training.steps=0")
        for setting in settings:
            words += ["--set", setting]
        if entry.base is not None:
            words += ["--stages-from", self.run_folder(entry.base)]
        with self._progress["training"].of(f"training {entry.run}"):
            self._run(words)

    def _run(self, words: list[Any]) -> dict[str, Any]:
        """One `rgan` command; its progress goes to our stderr.

        Raises:
          RganError: of the kind that its exit code names.
        """
        command = [sys.executable, "-c", _CHILD, *map(str, words)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                output = process.communicate()[0]
            except BaseException:
                # It saves what it has before it ends; leaving earlier would kill it.
                process.send_signal(signal.SIGTERM)
                process.wait()
                raise
        if process.returncode:
            kind = _ERRORS.get(process.returncode, RganError)
            raise kind(
                f"{' '.join(map(str, words[:2]))} ended with exit code {process.returncode}; the "
                "lines above say why, and the same command continues from here"
            )
        return json.loads(output.splitlines()[-1])
