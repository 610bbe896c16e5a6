"""Saves and loads a stage's inference weights; writes TensorFlow checkpoint files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.refusals import is_refused
from rgan_tf.runs.folder import STAGES, Run
from rgan_tf.storage.files import sha256_of, sync_files, write_json_atomic
from rgan_tf.storage.plain_folder import plain_folder


def save_weights(run: Run, stage: str, networks: tf.keras.Model, **record: Any) -> None:
    """Writes the inference weights of a stage and its record.

    The weights get a new file name before the record points to them, so a reader finds the old pair
    or the new pair, never a mixture.
    """
    folder = run.stage_folder(stage)
    folder.mkdir(parents=True, exist_ok=True)
    previous = run.stage_record(stage).get("weights")
    name = f"weights-{int(record.get('steps', 0))}"
    if name == previous:
        name += "b"
    write_state(tf.train.Checkpoint(networks=networks), folder / name)
    data_file = folder / f"{name}.data-00000-of-00001"
    write_json_atomic(
        folder / "stage.json",
        {"weights": name, "weights_sha256": sha256_of(data_file), **record},
    )
    for path in folder.glob("weights-*"):
        if path.name.split(".")[0] != name:
            path.unlink()


def write_state(checkpoint: tf.train.Checkpoint, prefix: Path) -> None:
    """Writes a checkpoint's files and flushes them to disk.

    Raises:
      OSError: if the disk is full or fails.
    """
    try:
        checkpoint.write(str(prefix))
    except tf.errors.OpError as error:  # TensorFlow has its own errors for disk problems
        number = errno.ENOSPC if "space" in str(error) else errno.EIO
        raise OSError(number, os.strerror(number), str(prefix)) from error
    sync_files(prefix.parent.glob(f"{prefix.name}.*"))


def load_weights(
    run: Run, stage: str, networks: tf.keras.Model, *, system: str = "retrievegan"
) -> None:
    """Fills `networks` (all variables already created) with the stage's inference weights.

    Args:
      run: an opened run.
      stage: one of `STAGES`, or a rival's own.
      networks: of that stage.
      system: value of `training.system` that the networks are for; matters to the last stage.

    Raises:
      BadInput: if the stage has not been trained, or trained another system.
      CorruptData: if the weights are damaged or do not fit the config.
    """
    trained = run.config.training.system
    if stage == STAGES[-1] and trained != system:
        raise BadInput(
            f"run {run.folder}: was trained with training.system={trained}, and this needs "
            f"{system}; name another run"
        )
    record = run.stage_record(stage)
    while True:
        try:
            _read_weights(run, stage, networks, record)
            return
        except CorruptData:
            newer = run.stage_record(stage)
            if newer == record:
                raise
            record = newer  # training has saved meanwhile and deleted what was being read


def _read_weights(run: Run, stage: str, networks: tf.keras.Model, record: dict[str, Any]) -> None:
    """Fills `networks` with the weights that a record names; see `load_weights`."""
    if "weights" not in record:
        raise BadInput(
            f"run {run.folder}: stage {stage} has no weights; resume it with `rgan train`"
        )
    prefix = run.stage_folder(stage) / record["weights"]
    data_file = Path(f"{prefix}.data-00000-of-00001")
    try:
        is_intact = sha256_of(data_file) == record["weights_sha256"]
    except FileNotFoundError:
        is_intact = False
    if not is_intact:
        raise CorruptData(f"{data_file}: missing or damaged; restore it or train again")
    try:
        with plain_folder(prefix.parent) as folder:
            status = tf.train.Checkpoint(networks=networks).read(str(folder / prefix.name))
            status.assert_existing_objects_matched().assert_consumed()
    except (tf.errors.OpError, AssertionError, ValueError) as error:
        if is_refused(error):
            raise
        raise CorruptData(
            f"{prefix}: weights do not fit {run.folder / 'config.yaml'} "
            f"({str(error).splitlines()[0]})"
        ) from error
