"""A run folder: what was trained, on which data, with which config, and its weights.

    RUN/config.yaml            the resolved config
    RUN/vocabulary.json        category and predicate tables
    RUN/run.json               data folder and its fingerprint, backbone, versions
    RUN/<stage>/weights.*      inference weights of a stage (moving averages)
    RUN/<stage>/stage.json     steps done, seconds, figures of the stage
    RUN/<stage>/checkpoints/   everything training needs to continue
    RUN/<stage>/rollbacks.json steps and scenes that training went back from, if it ever did
    RUN/retrievegan/redraws/   embeddings that candidates were drawn anew with, if they are
    RUN/pictures/              fixed scenes as training sees them
    RUN/logs/                  TensorBoard
    RUN/lock                   held by the process that trains

A run that ships with the project is named `released:NAME` and holds no checkpoints and no data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from rgan_tf import released
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.config import Config, config_to_yaml, flat_settings, load_config
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.refusals import is_refused
from rgan_tf.storage.files import (
    atomic_folder,
    read_json,
    sha256_of,
    sync_files,
    write_bytes_atomic,
    write_json_atomic,
)
from rgan_tf.vocabulary import Vocabulary

STAGES = ("sg2im", "cooccurrence", "retrievegan")
_MAY_DIFFER = {
    "name",
    "sg2im.steps",
    "cooccurrence.steps",
    "training.steps",
    "training.log_every_steps",
    "training.picture_every_steps",
    "training.checkpoint_every_steps",
    # They change how a step is computed and not what.
    "training.accumulate_steps",
    "training.jit_compile",
    "training.loss_jump",
    "training.loss_upper_bound",
    "training.recompute",
}
# Settings that the first two stages do not look at.
_OF_JOINT_STAGE = (
    "retrieval.",
    "generator.",
    "losses.selection",
    "losses.cooccurrence",
    "losses.perceptual_",
    "losses.adversarial_feature",
    "discriminators.feature",
    "training.predicted_boxes",
    "training.relit_patches",
    "training.exchanged_patches",
)
# Settings that runs began without, at the values that mean what they did. What a new run gets is
# another matter: that is the default in `config`.
_ADDED_LATER = {
    "retrieval.choice": "learned",
    "discriminators.feature": False,
    "discriminators.feature_channels": 64,
    "losses.adversarial_feature": 0.1,
    "generator.composition": False,
    "generator.masks": False,
    "generator.skip": False,
    "retrieval.embedding_start": "random",
    "retrieval.gradient": "paper",
    "retrieval.cooccurrence_loss": "sampled",
    "retrieval.shared_pixels": True,
    "cooccurrence.shared_pixels": True,
    "training.relit_patches": 0.0,
    "training.exchanged_patches": 0.0,
}
# What decides whether the weights of the first two stages fit the networks at all.
_SHAPES_OF_FIRST_STAGES = (
    "data.image_size",
    "data.max_",
    "graph.",
    "retrieval.backbone",
    "cooccurrence.sizes",
    "sg2im.layout_channels",
    "sg2im.decoder_channels",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """One opened run.

    Attributes:
      folder: where it lives.
      config: the resolved config.
      vocabulary: the tables it was trained with.
      feature_size: width of the backbone features the patch embedding reads.
      data: the data folder it was trained on; None for a released run.
      data_fingerprint: of that data.
    """

    folder: Path
    config: Config
    vocabulary: Vocabulary
    feature_size: int
    data: Path | None
    data_fingerprint: str

    def stage_folder(self, stage: str) -> Path:
        """Folder of one of `STAGES`."""
        return self.folder / stage

    def stage_record(self, stage: str) -> dict[str, Any]:
        """What is known of a stage; empty before its first weights.

        Raises:
          CorruptData: if the record is damaged.
        """
        path = self.stage_folder(stage) / "stage.json"
        if not path.exists():
            return {}
        record = read_json(path)
        kinds = {"weights": str, "weights_sha256": str, "steps": int}
        if not isinstance(record, dict) or any(
            not isinstance(record.get(key), kind) for key, kind in kinds.items()
        ):
            raise CorruptData(f"{path}: not a stage's record; restore it or train again")
        return record

    def fingerprint(self) -> str:
        """Identifies the weights of all stages."""
        parts = [self.stage_record(stage).get("weights_sha256", "") for stage in STAGES]
        return "-".join(part[:8] for part in parts)


def check_run_folder(folder: str | Path, config: Config, data) -> None:
    """Refuses a folder that this config and data cannot be trained in; writes nothing.

    Args:
      folder, config, data: as for `create_run`.

    Raises:
      BadInput: if the folder holds a run with another config or data, or something else.
    """
    if str(folder).startswith(released.PREFIX):
        raise BadInput(f"--run {folder}: a released run cannot be trained on; name a folder")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--run {folder}: is a file; name a folder")
    if (folder / "run.json").exists():
        run = open_run(str(folder))
        difference = _difference(run.config, config)
        if difference:
            raise BadInput(f"--run {folder}: was started with {difference}; choose another folder")
        if run.data_fingerprint != data.fingerprint:
            raise BadInput(f"--run {folder}: was started on other data; choose another folder")
    elif folder.exists() and any(folder.iterdir()):
        raise BadInput(f"--run {folder}: is not empty and not a run; choose another folder")


def create_run(folder: str | Path, config: Config, data) -> Run:
    """Starts a run folder, or continues the one that is there.

    Args:
      folder: the run folder; may exist.
      config: the resolved config.
      data: an opened `PreparedData`.

    Raises:
      BadInput: as `check_run_folder`.
    """
    check_run_folder(folder, config, data)
    folder = Path(folder)
    feature_size = int(data.bank.features.shape[1])  # a damaged bank is found before any writing
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(folder / "config.yaml", config_to_yaml(config).encode())
    write_json_atomic(folder / "vocabulary.json", data.vocabulary.to_json())
    write_json_atomic(
        folder / "run.json",
        {
            "version": 1,
            "data": str(Path(data.folder).resolve()),
            "data_fingerprint": data.fingerprint,
            "backbone": config.retrieval.backbone,
            "feature_size": feature_size,
            "tensorflow": tf.__version__,
        },
    )
    return open_run(str(folder))


@contextlib.contextmanager
def training_lock(run: Run) -> Iterator[None]:
    """Keeps every other process from training on a run; the system frees it, however we end.

    Raises:
      BadInput: if another process holds it.
    """
    with open(run.folder / "lock", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(
                f"--run {run.folder}: another process is training on it; wait for it, end it, or "
                "name another folder"
            ) from error
        yield


def open_run(name: str) -> Run:
    """Opens a run folder, or a run that ships with the project as `released:NAME`.

    Raises:
      BadInput: if there is no run, or a file of it is missing or unreadable.
    """
    if name.startswith(released.PREFIX):
        folder = released.FOLDER / name[len(released.PREFIX) :]
        if not (folder / "run.json").exists():
            raise BadInput(f"--run {name}: no such released run; there is {', '.join(_released())}")
    else:
        folder = Path(name)
        if not (folder / "run.json").exists():
            advice = f"; did you mean {released.PREFIX}{name}?" if name in _released() else ""
            raise BadInput(f"--run {name}: not a run folder (run.json is missing){advice}")
    record = read_json(folder / "run.json")
    try:
        data = record["data"]
        return Run(
            folder=folder,
            config=load_config(folder / "config.yaml", where_missing=_ADDED_LATER),
            vocabulary=_read_vocabulary(folder / "vocabulary.json"),
            feature_size=int(record["feature_size"]),
            data=Path(data) if data else None,
            data_fingerprint=record["data_fingerprint"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptData(f"{folder / 'run.json'}: {error!r}; the run is damaged") from error


def _released() -> list[str]:
    """Names of the runs that ship with the project."""
    return sorted(path.parent.name for path in released.FOLDER.glob("*/run.json"))


def check_bank_fits(run: Run, name: str, bank: PatchBank) -> None:
    """Refuses a patch bank that a run's networks cannot retrieve from.

    Args:
      run: an opened run.
      name: how the user called it.
      bank: an opened bank.

    Raises:
      BadInput: if vocabulary, backbone, sizes or amount do not fit.
    """
    wanted, size = run.config.retrieval.backbone, run.config.data.crop_size
    if bank.vocabulary.sha256() != run.vocabulary.sha256():
        raise BadInput(
            f"{bank.folder}: was made with another vocabulary than run {name} "
            f"({bank.vocabulary.num_objects} and {run.vocabulary.num_objects} object names); "
            f"build it with --like {name}"
        )
    if bank.manifest["backbone"] != wanted or bank.feature_size != run.feature_size:
        raise BadInput(
            f"{bank.folder}: holds features of {bank.manifest['backbone']} of width "
            f"{bank.feature_size}, run {name} reads {wanted} of width {run.feature_size}; build it "
            f"with --backbone {wanted}"
        )
    if bank.crop_size % size:
        raise BadInput(
            f"{bank.folder}: patches of {bank.crop_size} px cannot be averaged to the {size} px "
            f"that run {name} reads"
        )
    if not len(bank):
        raise BadInput(f"{bank.folder}: the patch bank is empty; add patches")


def check_learns_retrieval(run: Run, name: str) -> None:
    """Refuses a run that chooses patches by a rule, to be compared with: its φ was never trained.

    Args:
      run: an opened run.
      name: how the user called it.

    Raises:
      BadInput: if `retrieval.choice` is not learned.
    """
    rule = run.config.retrieval.choice
    if rule != "learned":
        raise BadInput(
            f"--run {name}: was trained with retrieval.choice={rule}, to be compared with; name a "
            "run that learned to retrieve"
        )


def check_stages_fit(
    source: Run, config: Config, data_fingerprint: str, *, as_they_are: bool = False
) -> None:
    """Refuses to take the first two stages of a run where training them would give others.

    Args:
      source: the run to take them from.
      config: of the run that wants them; may differ in settings of the joint stage.
      data_fingerprint: of its data.
      as_they_are: only networks and data must fit; for runs that vary what all stages read, and
        are compared by their joint stage.

    Raises:
      BadInput: names what differs, or what is not trained.
    """
    owner = f"--stages-from {source.folder}"
    if data_fingerprint != source.data_fingerprint:
        raise BadInput(f"{owner}: was trained on other data")
    if config.retrieval.backbone != source.config.retrieval.backbone:
        raise BadInput(
            f"{owner}: was trained on features of {source.config.retrieval.backbone}, not of "
            f"{config.retrieval.backbone}"
        )
    if as_they_are:
        difference = _difference(source.config, config, only=_SHAPES_OF_FIRST_STAGES)
        advice = ""
    else:
        difference = _difference(source.config, config, also=_OF_JOINT_STAGE)
        advice = "; to take them all the same, add --as-they-are"
    if difference:
        raise BadInput(f"{owner}: was started with {difference}{advice}")
    for stage, wanted in (
        ("sg2im", config.sg2im.steps),
        ("cooccurrence", config.cooccurrence.steps),
    ):
        done = source.stage_record(stage).get("steps")
        if done != wanted:
            raise BadInput(f"{owner}: stage {stage} has {done or 0} steps, {wanted} are asked for")


def take_stages(run: Run, source: Run, *, as_they_are: bool = False) -> None:
    """Copies the first two stages of another run; a stage that the run already has stays.

    Args:
      run: where they go.
      source: a run for which `check_stages_fit` raised nothing.
      as_they_are: what it was told; kept in the stages' records.
    """
    for stage in STAGES[:2]:
        if run.stage_folder(stage).exists():
            continue
        record = source.stage_record(stage)
        with atomic_folder(run.stage_folder(stage)) as partial:
            for path in source.stage_folder(stage).glob(f"{record['weights']}.*"):
                shutil.copyfile(path, partial / path.name)
            origin = {"taken_from": str(source.folder), "as_they_are": as_they_are}
            write_json_atomic(partial / "stage.json", {**record, **origin})


def checkpoint_identity(run: Run, stage: str) -> dict[str, str]:
    """What a checkpoint must agree with before training goes on from it.

    Returns:
      `stage`, `config` (a hash of all settings that may not change) and `data`.
    """
    settings = {
        key: value
        for key, value in flat_settings(run.config).items()
        if key not in _MAY_DIFFER and (key, value) not in _ADDED_LATER.items()
    }
    text = json.dumps(settings, sort_keys=True)
    return {
        "stage": stage,
        "config": hashlib.sha256(text.encode()).hexdigest(),
        "data": run.data_fingerprint,
    }


def save_weights(run: Run, stage: str, networks: tf.keras.Model, **record: Any) -> None:
    """Writes the inference weights of a stage and its record.

    The weights get a name of their own before the record points to them, so that a reader finds
    the old pair or the new pair and never a mixture.
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
    """Writes a checkpoint's files, flushed to disk.

    Raises:
      OSError: if the disk is full or refuses.
    """
    try:
        checkpoint.write(str(prefix))
    except tf.errors.OpError as error:  # TensorFlow reports a disk's troubles in its own way
        number = errno.ENOSPC if "space" in str(error) else errno.EIO
        raise OSError(number, os.strerror(number), str(prefix)) from error
    sync_files(prefix.parent.glob(f"{prefix.name}.*"))


def load_weights(run: Run, stage: str, networks: tf.keras.Model) -> None:
    """Fills `networks` (all variables already created) with the stage's inference weights.

    Raises:
      BadInput: if the stage has not been trained.
      CorruptData: if the weights are damaged or do not fit the config.
    """
    record = run.stage_record(stage)
    if "weights" not in record:
        raise BadInput(f"run {run.folder}: stage {stage} has no weights; continue `rgan train`")
    prefix = run.stage_folder(stage) / record["weights"]
    data_file = Path(f"{prefix}.data-00000-of-00001")
    if not data_file.exists() or sha256_of(data_file) != record["weights_sha256"]:
        raise CorruptData(f"{data_file}: missing or damaged; restore it or train again")
    try:
        status = tf.train.Checkpoint(networks=networks).read(str(prefix))
        status.assert_existing_objects_matched().assert_consumed()
    except (tf.errors.OpError, AssertionError, ValueError) as error:
        if is_refused(error):
            raise
        raise CorruptData(
            f"{prefix}: weights do not fit {run.folder / 'config.yaml'} "
            f"({str(error).splitlines()[0]})"
        ) from error


def _read_vocabulary(path: Path) -> Vocabulary:
    content = read_json(path)
    try:
        return Vocabulary.from_json(content)
    except BadInput as error:
        raise CorruptData(f"{path}: damaged ({error}); restore it") from error


def _difference(
    old: Config, new: Config, also: tuple[str, ...] = (), only: tuple[str, ...] = ("",)
) -> str:
    """The first setting in which two configs differ, apart from those that may change.

    Args:
      old, new: the configs.
      also: beginnings of further settings that may differ.
      only: beginnings of the settings that are compared; all by default.
    """
    before, after = flat_settings(old), flat_settings(new)
    for key, value in before.items():
        if key in _MAY_DIFFER or key.startswith(also) or not key.startswith(only):
            continue
        if value != after[key]:
            return f"{key} = {value}, asked for now {after[key]}"
    return ""
