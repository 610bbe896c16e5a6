"""Checkpoints of a stage: each is a folder that is complete or absent.

    RUN/<stage>/checkpoints/step-00000500/manifest.json   step, stage, config, data, checksums
    RUN/<stage>/checkpoints/step-00000500/state.*         weights, average, optimisers, guard

A batch is a function of its number, so the step also gives the position in the data.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.progress import note
from rgan_tf.refusals import is_refused
from rgan_tf.runs import write_state
from rgan_tf.storage.files import atomic_folder, replaced_folder
from rgan_tf.storage.manifest import ManifestKind, describe_files
from rgan_tf.storage.plain_folder import plain_folder

KEPT = 3
_STATE = "state"
_ADVICE = "restore it or delete its folder"
_CHECKPOINT = ManifestKind(
    "rgan_checkpoint",
    1,
    "a checkpoint",
    advice=_ADVICE,
    renew="choose another run folder",
    seal="required",
    error=CorruptData,
)


class CheckpointFolder:
    """Writes, lists and restores the checkpoints of one stage.

    Args:
      folder: RUN/<stage>/checkpoints; created if missing.
      state: name -> content of a checkpoint, from `GuardedModel.state`.
      identity: what a checkpoint must match to be resumed, as JSON.
      writes: False for processes that leave writing to another one.

    Raises:
      BadInput: if the folder holds checkpoints of an older version of the program.
    """

    def __init__(
        self, folder: Path, state: dict[str, Any], identity: dict[str, Any], *, writes: bool = True
    ):
        self.folder = folder
        self._identity = identity
        self._checkpoint = tf.train.Checkpoint(**state)
        self._writes = writes
        if (folder / "checkpoint").exists() and not self._steps():
            raise BadInput(
                f"{folder}: holds checkpoints of an older version, which this one cannot resume; "
                f"finish the stage with that version, or delete {folder.parent} to train it again"
            )
        if writes:
            folder.mkdir(parents=True, exist_ok=True)
            # Of a killed process; a checkpoint that it was replacing was damaged or rolled back.
            for leftover in (*folder.glob(".*.partial"), *folder.glob(".*.replaced")):
                shutil.rmtree(leftover, ignore_errors=True)

    def save(self, step: int) -> None:
        """Writes the state of a step, and deletes all but the last three checkpoints.

        Raises:
          OSError: if the disk is full or fails; all earlier checkpoints are then intact.
        """
        if not self._writes:
            return
        path = self._path(step)
        # An existing one is damaged, or was written before a rollback.
        with (replaced_folder if path.exists() else atomic_folder)(path) as partial:
            self._write(partial, step)
        for old in [s for s in self._steps() if s <= step][:-KEPT]:
            shutil.rmtree(self._path(old), ignore_errors=True)

    def restore_each(self) -> Iterator[int]:
        """Restores every checkpoint in turn, oldest first, and yields its step.

        Raises:
          CorruptData: at a damaged checkpoint.
          BadInput: at a checkpoint of another config or data.
        """
        for step in self._steps():
            self._read(self._path(step))
            yield step

    def restore_newest(self) -> int | None:
        """Restores the newest intact checkpoint.

        Returns:
          Its step; None if there is no checkpoint.

        Raises:
          CorruptData: if there are checkpoints but none is intact: training must not start over
            unnoticed.
          BadInput: if the newest intact one is of another config or data.
        """
        steps = self._steps()
        for step in reversed(steps):
            try:
                self._read(self._path(step))
            except CorruptData as error:
                note(f"{error}; trying the one before")
                continue
            note(f"resuming from {self._path(step)}")
            return step
        if steps:
            raise CorruptData(
                f"{self.folder}: no checkpoint can be read; restore one, or delete "
                f"{self.folder.parent} to train this stage again"
            )
        return None

    def _write(self, partial: Path, step: int) -> None:
        try:
            write_state(self._checkpoint, partial / _STATE)
        except OSError as error:  # under the name that the user will look for
            raise OSError(error.errno, error.strerror, str(self._path(step))) from error
        names = sorted(path.name for path in partial.iterdir())
        files = describe_files(partial, names)
        _CHECKPOINT.write(partial, {"step": step, **self._identity, "files": files})

    def _read(self, path: Path) -> None:
        manifest = _CHECKPOINT.open(path)
        for key, value in self._identity.items():
            if manifest.content.get(key) != value:
                raise BadInput(f"{path}: is of another {key}; choose another run folder")
        manifest.check_files([f"{_STATE}.index"], verify=True)
        try:
            with plain_folder(path) as folder:
                status = self._checkpoint.read(str(folder / _STATE))
                status.assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            if is_refused(error):
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CorruptData(f"{path}: does not fit the networks ({reason}); {_ADVICE}") from error

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _steps(self) -> list[int]:
        """Steps of all checkpoints, intact or not, oldest first."""
        names = [path.name.removeprefix("step-") for path in self.folder.glob("step-*")]
        return sorted(int(name) for name in names if name.isdecimal())
