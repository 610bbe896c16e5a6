"""Trainings and evaluations in separate processes, each done once and kept."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rgan_tf.errors import BadInput, CorruptData, Diverged, Interrupted, RganError
from rgan_tf.progress import note
from rgan_tf.runs import DAMSM, EMBEDDING, STAGES, is_same_stage, open_run, stages_of
from rgan_tf.storage.files import atomic_folder, read_json, write_json_atomic
from training.compare.entries import SEED, Entry
from training.compare.existing import (
    check_first_stages,
    check_same_first_stages,
    check_steps,
    diverged_before,
    keep_diverged,
    other_first_stage,
    run_there,
)
from training.configuration import named_config
from training.evaluation.names import FIRST_STAGE

_ERRORS = {kind.exit_code: kind for kind in (BadInput, Diverged, CorruptData, Interrupted)}
_VERSION = 3  # of the evaluation; a new one discards stored results
_FOUND_DONE = 60.0  # a process that takes fewer seconds had nothing to do
_CHILD = "from rgan_tf.cli import console; console()"


class Evaluation(NamedTuple):
    """The result of `rgan eval`.

    Attributes:
      metrics: name -> value.
      images: folder with a folder per system and layout.
    """

    metrics: dict[str, Any]
    images: Path


class _Progress:
    """Prints what begins, and an estimate of the time left."""

    def __init__(self, count: int):
        self._left = count
        self._seconds: list[float] = []

    @contextlib.contextmanager
    def of(self, text: str) -> Iterator[None]:
        """Context for one of the `count` pieces of work."""
        rest = ""
        real = [seconds for seconds in self._seconds if seconds > _FOUND_DONE]
        if real:
            minutes = sum(real) / len(real) * self._left / 60
            rest = f", about {minutes:.0f} min left if nothing of it is done yet"
        note(f"compare: {text}{rest}")
        started = time.monotonic()
        yield
        self._seconds.append(time.monotonic() - started)
        self._left -= 1


class Steps:
    """Runs `rgan train` and `rgan eval` for the entries of a comparison.

    Separate processes keep the memory of one system from the next, and can be interrupted and
    resumed like any other.

    Args:
      out: of the comparison; runs go to OUT/runs, evaluations to OUT/evaluations.
      data: prepared folder.
      overrides: of every config.
      weights_dir: folder with weight files, or None.
      count: number of entries, for the estimate of the time left.
    """

    def __init__(
        self, out: Path, data: str, overrides: list[str], *, weights_dir: str | None, count: int
    ):
        self._out = out
        self._data = data
        self._overrides = overrides
        self._weights = ["--weights-dir", weights_dir] if weights_dir else []
        self._progress = {"training": _Progress(count), "evaluating": _Progress(count)}
        self._trained: set[str] = set()
        self._done: dict[str, list[str]] = {}  # config -> its runs

    def run_folder(self, run: str) -> Path:
        """The folder of a run."""
        return self._out / "runs" / run

    def train(self, entry: Entry) -> None:
        """Trains the run of an entry, after the run whose stages it shares.

        Raises:
          BadInput: if the existing run was trained for longer, or on other first stages.
          RganError: the error of the training; the same command resumes.
        """
        if entry.run in self._trained:
            return
        self._train_base(entry)
        self._train(entry)
        self._check(entry)
        self._trained.add(entry.run)

    def survives(self, entry: Entry) -> bool:
        """Trains the run of an entry; False if it diverges, or did so with these settings before.

        A run that diverged would be tried again with other random numbers, and the same command
        would not give the same table.

        Raises:
          RganError: see `train`; also if the first stages diverge.
        """
        self._train_base(entry)
        folder = self.run_folder(entry.run)
        config = named_config(entry.config, [*self._overrides, *entry.settings])
        if diverged_before(folder, config):
            self._remember(entry)
            return False
        try:
            self.train(entry)
        except Diverged as error:
            note(f"compare: {error}")
            keep_diverged(folder, config)
            return False
        return True

    def _train_base(self, entry: Entry) -> None:
        if entry.base is None:
            return
        if self._has_first_stages(entry):
            base = open_run(str(self.run_folder(entry.base)))
            check_first_stages(base, named_config(entry.config, self._overrides))
            return
        base = dataclasses.replace(entry, run=entry.base, settings=entry.base_settings)
        self._train(dataclasses.replace(base, base=None))

    def steps(self, entry: Entry) -> int | None:
        """How many steps the entry's own stage was trained; None if it has none."""
        if entry.system == "pasted_canvas":
            return None
        stage = STAGES[0] if entry.system == FIRST_STAGE else STAGES[-1]
        return open_run(str(self.run_folder(entry.run))).stage_record(stage)["steps"]

    def _has_first_stages(self, entry: Entry) -> bool:
        run = run_there(self.run_folder(entry.base))
        if run is None:
            return False
        wanted = dict(zip(STAGES, entry.first_steps, strict=False))
        config = named_config(entry.config, [*self._overrides, *entry.settings])
        provided = named_config(entry.config, [*self._overrides, *entry.base_settings])
        own = stages_of(config).get(EMBEDDING)
        if own and is_same_stage(EMBEDDING, config, provided):  # taken as well
            wanted[EMBEDDING] = own
        return all(run.stage_record(stage).get("steps") == steps for stage, steps in wanted.items())

    def _check(self, entry: Entry) -> None:
        """Checks that the run matches its row."""
        folder = self.run_folder(entry.run)
        run = open_run(str(folder))
        config = named_config(entry.config, [*self._overrides, *entry.settings])
        check_steps(run, stages_of(config), is_trained=True)
        if entry.base is not None:
            check_same_first_stages(run, open_run(str(self.run_folder(entry.base))))

    def evaluate(
        self,
        entry: Entry,
        data_fingerprint: str,
        *,
        split: str,
        seed: int,
        resamples: int,
        backbone: str,
        backbone_weights: str,
        only: str | None = None,
    ) -> Evaluation:
        """Metrics and images of one entry; from disk if they are of these very weights.

        Raises:
          RganError: the error of the evaluation.
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
            "backbone_weights": backbone_weights,
            "version": _VERSION,
            **({"only": only} if only else {}),
        }
        folder = self._out / "evaluations" / entry.name
        result = folder / "result.json"
        number = 0
        while result.exists():
            found = read_json(result)
            if found.get("identity") == identity:
                return Evaluation(found["metrics"], folder / "images" / split)
            # Results of other weights or another protocol are kept: a table may be based on them.
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
            words += ["--only", only] if only else []
            metrics = self._run(words)[split]
            write_json_atomic(partial / "result.json", {"identity": identity, "metrics": metrics})
        return Evaluation(metrics, folder / "images" / split)

    def _begin_again_without_steps(self, entry: Entry) -> None:
        """Removes a joint stage of no steps that would keep φ's own stage from coming before it.

        A run that only lent its first stages, to rows that learn no choice, has one.
        """
        run = run_there(self.run_folder(entry.run))
        if run is None:
            return
        config = named_config(entry.config, [*self._overrides, *entry.settings])
        is_due = EMBEDDING in stages_of(config) and not run.stage_folder(EMBEDDING).exists()
        if is_due and run.stage_record(STAGES[-1]).get("steps") == 0:
            shutil.rmtree(run.stage_folder(STAGES[-1]))

    def _train(self, entry: Entry) -> None:
        self._begin_again_without_steps(entry)
        words: list[Any] = ["train", entry.config, "--data", self._data]
        words += ["--run", self.run_folder(entry.run), *self._weights]
        for setting in [*self._overrides, *entry.settings]:
            words += ["--set", setting]
        if entry.base is not None:
            words += ["--stages-from", self.run_folder(self._source(entry))]
            # The shared stages have the rates and the seed of the config.
            if any(
                name in setting
                for name in ("learning_rate=", f"{SEED}=")
                for setting in entry.settings
            ):
                words.append("--as-they-are")
        try:
            with self._progress["training"].of(f"training {entry.run}"):
                self._run(words)
        finally:
            self._remember(entry)

    def _remember(self, entry: Entry) -> None:
        """Later runs take the stages of this one, also if its joint stage diverged."""
        if run_there(self.run_folder(entry.run)):
            self._done.setdefault(entry.config, []).append(entry.run)

    def _source(self, entry: Entry) -> str | None:
        """The run whose stages an entry takes: one that has its own stage too, if there is one."""
        config = named_config(entry.config, [*self._overrides, *entry.settings])
        for name in self._done.get(entry.config, []):
            run = open_run(str(self.run_folder(name)))
            if other_first_stage(run, open_run(str(self.run_folder(entry.base)))):
                continue
            for stage in (DAMSM, EMBEDDING):
                if is_same_stage(stage, config, run.config) and run.has_trained(
                    stage, stages_of(config)[stage]
                ):
                    return name
        return entry.base

    def _run(self, words: list[Any]) -> dict[str, Any]:
        """Runs one `rgan` command; its progress goes to our stderr.

        Raises:
          RganError: of the type of its exit code.
        """
        command = [sys.executable, "-c", _CHILD, *map(str, words)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                output = process.communicate()[0]
            except BaseException:
                # It saves its state before it ends; exiting earlier would kill it.
                process.send_signal(signal.SIGTERM)
                process.wait()
                raise
        if process.returncode:
            kind = _ERRORS.get(process.returncode, RganError)
            named = words[: 3 if words[1] == "--run" else 2]  # the config, or which run
            what = f"{' '.join(map(str, named))} ended with exit code {process.returncode}"
            if process.returncode < 0:
                raise Interrupted(f"{what}: it was killed; the same command continues from here")
            advice = "" if kind in (BadInput, CorruptData) else "; the same command continues"
            raise kind(f"{what}; see the lines above{advice}")
        return json.loads(output.splitlines()[-1])
