"""The run folder: creates it, opens it, and reads the records of its stages."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import tensorflow as tf

from rgan_tf import released
from rgan_tf.arguments import path_text
from rgan_tf.config import Config, changed
from rgan_tf.config_files import config_to_yaml, load_config
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.exported import is_exported
from rgan_tf.near_names import spelled_otherwise
from rgan_tf.registered_names import RULES
from rgan_tf.runs import settings
from rgan_tf.storage.files import read_json, write_bytes_atomic, write_json_atomic
from rgan_tf.storage.renames import partial_siblings
from rgan_tf.vocabulary import Vocabulary

STAGES = ("sg2im", "cooccurrence", "retrievegan")
DAMSM = "damsm"
"""AttnGAN's stage of its own, before the last one."""

EMBEDDING = "embedding"
"""φ's stage of its own, before the last one."""

LOCK = "lock"
"""The file that the training process locks; the first that a run gets."""

_STEPS = {  # the setting of a stage's steps
    STAGES[0]: ("sg2im", "steps"),
    STAGES[1]: ("cooccurrence", "steps"),
    DAMSM: ("attngan", "damsm_steps"),
    EMBEDDING: ("retrieval", "embedding_steps"),
    STAGES[2]: ("training", "steps"),
}
_DESCRIPTIONS = ("config.yaml", "vocabulary.json", "run.json")  # the last makes it a run


@dataclasses.dataclass(frozen=True)
class Run:
    """An opened run.

    Attributes:
      folder: the run folder, absolute.
      config: the resolved config.
      vocabulary: tables that it was trained with.
      feature_size: width of the backbone features that the patch embedding reads.
      data: the data folder that it was trained on; None for a released run.
      data_fingerprint: of that data.
    """

    folder: Path
    config: Config
    vocabulary: Vocabulary
    feature_size: int
    data: Path | None
    data_fingerprint: str

    def __fspath__(self) -> str:
        """Its folder: an opened run may stand wherever a folder is asked for."""
        return str(self.folder)

    def data_there(self, name: str, instead: str) -> Path:
        """The data folder that it was trained on, where it still is.

        Args:
          name: beginning of messages, such as "--run RUN".
          instead: what to do without it.

        Raises:
          BadInput: if it has none, or nothing is there now.
        """
        if self.data is None:
            raise BadInput(f"{name}: comes without data; {instead}")
        if not self.data.exists():
            raise BadInput(f"{name}: its data was in {self.data}, where nothing is now; {instead}")
        return self.data

    def stage_folder(self, stage: str) -> Path:
        """Folder of a stage of `stages_of`."""
        return self.folder / stage

    def stage_record(self, stage: str) -> dict[str, Any]:
        """The record of a stage; empty before its first weights.

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

    def has_trained(self, stage: str, steps: int) -> bool:
        """Whether a stage has its weights, of that many steps or more."""
        record = self.stage_record(stage)
        return "weights" in record and record["steps"] >= steps

    def fingerprint(self) -> str:
        """Identifies the weights of all stages."""
        parts = [self.stage_record(stage).get("weights_sha256", "") for stage in STAGES]
        return "-".join(part[:8] for part in parts)


def uses_embedding(config: Config) -> bool:
    """Whether a run of this config chooses patches by φ, as far as the config tells."""
    return config.training.system == "retrievegan" and config.retrieval.choice not in RULES


def stages_of(config: Config) -> dict[str, int]:
    """Steps of each stage of a run, in the order of their training."""
    steps = {STAGES[0]: config.sg2im.steps, STAGES[1]: config.cooccurrence.steps}
    if config.training.system == "attngan":
        steps[DAMSM] = config.attngan.damsm_steps
    if uses_embedding(config) and config.retrieval.embedding_steps:
        steps[EMBEDDING] = config.retrieval.embedding_steps
    return {**steps, STAGES[2]: config.training.steps}


def is_finished(run: Run, config: Config) -> bool:
    """Whether a run has the steps of every stage that a config asks for, or more."""
    return all(run.has_trained(stage, steps) for stage, steps in stages_of(config).items())


def check_run_folder(folder: str | Path, config: Config, data) -> None:
    """Refuses a folder in which this config and data cannot be trained; writes nothing.

    Args:
      folder, config, data: see `create_run`.

    Raises:
      BadInput: if the folder holds a run with another config or data, or anything else; or more
        steps are asked of a stage on whose weights a later one was trained.
    """
    if str(folder).startswith(released.PREFIX):
        raise BadInput(f"--run {folder}: a released run cannot be trained further; name a folder")
    folder = Path(folder)
    try:
        str(folder).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput(f"--run {folder}: its name is not UTF-8; choose another folder") from error
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--run {folder}: is a file; name a folder")
    if (folder / "run.json").exists():
        run = open_run(str(folder))
        difference = settings.difference(run.config, config)
        if difference:
            raise BadInput(f"--run {folder}: was started with {difference}; choose another folder")
        if run.data_fingerprint != data.fingerprint:
            raise BadInput(f"--run {folder}: was started on other data; choose another folder")
        _check_built_on(run, config)
    elif folder.exists() and not _can_begin(folder):
        raise BadInput(f"--run {folder}: is not empty and not a run; choose another folder")


def _check_built_on(run: Run, config: Config) -> None:
    """Refuses to train a stage further that a later one was trained on: it would be lost for it.

    Raises:
      BadInput: names the first such stage.
    """
    steps = stages_of(config)
    for later in reversed(steps):
        record = run.stage_record(later)
        for stage, wanted in steps.items():
            done = run.stage_record(stage).get("steps", 0)
            if f"{stage}_weights" in record and wanted > done:
                raise BadInput(
                    f"--run {run.folder}: {wanted} steps are asked of {stage}, and {later} was "
                    f"trained on its weights of step {done}; name another run, or remove "
                    f"{run.stage_folder(later)} to train it again"
                )


def _can_begin(folder: Path) -> bool:
    """Whether a run can be made in a folder: it is empty, or a process was killed making one."""
    names = {path.name for path in folder.iterdir()}
    begun = {LOCK, *_DESCRIPTIONS}
    begun |= {path.name for name in _DESCRIPTIONS for path in partial_siblings(folder / name)}
    return not names or (LOCK in names and names <= begun)


def create_run(folder: str | Path, config: Config, data) -> Run:
    """Creates a run folder, or opens the existing one to resume it; hold its `training_lock`.

    Nothing is written where there is nothing to train: the files say what the weights there come
    from. A stage that has more steps than are asked for keeps them, in the config too.

    Args:
      folder: the run folder; may exist.
      config: the resolved config.
      data: an opened `PreparedData`.

    Raises:
      BadInput: see `check_run_folder`.
    """
    check_run_folder(folder, config, data)
    folder = Path(folder)
    if (folder / "run.json").exists():
        run = open_run(str(folder))
        if is_finished(run, config):
            return run
        config = _with_steps_done(config, run)
    feature_size = int(data.bank.features.shape[1])  # a damaged bank raises before any writing
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


def _with_steps_done(config: Config, run: Run) -> Config:
    """The config with no fewer steps of a stage than a run has."""
    sections: dict[str, dict[str, int]] = {}
    for stage, steps in stages_of(config).items():
        done = run.stage_record(stage).get("steps", 0)
        if done > steps:
            section, key = _STEPS[stage]
            sections[section] = {key: done}
    return changed(config, **sections)


def run_name(run: Run | str | Path, option: str = "--run") -> str:
    """The name by which `open_run` opens a run, of a run that was opened already too.

    Args:
      run: a run folder, `released:NAME`, or an opened run.
      option: beginning of messages.

    Raises:
      BadInput: if it is none of these.
    """
    if isinstance(run, Run) and run.folder.parent == released.FOLDER:
        return f"{released.PREFIX}{run.folder.name}"  # nothing is written into its folder
    return path_text(run, option)


def open_run(name: str, option: str = "--run") -> Run:
    """Opens a run folder, or a run that ships with the project as `released:NAME`.

    Args:
      name: of the run.
      option: by which a user named it; for messages.

    Raises:
      BadInput: if there is no such run, or one of its files is missing or unreadable.
    """
    if name.startswith(released.PREFIX):
        folder = released.FOLDER / name[len(released.PREFIX) :]
        if not (folder / "run.json").exists():
            known = ", ".join(_released())
            raise BadInput(f"{option} {name}: no such released run; there is {known}")
    else:
        folder = Path(name)
        if not (folder / "run.json").exists():
            raise BadInput(
                f"{option} {name}: not a run folder (run.json is missing){_hint(folder)}"
            )
    record = read_json(folder / "run.json")
    try:
        data = record["data"]
        return Run(
            folder=folder.absolute(),  # it is found after the program changes its working folder
            config=load_config(folder / "config.yaml", where_missing=settings.ADDED_LATER),
            vocabulary=_read_vocabulary(folder / "vocabulary.json"),
            feature_size=int(record["feature_size"]),
            data=Path(data) if data else None,
            data_fingerprint=record["data_fingerprint"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptData(f"{folder / 'run.json'}: {error!r}; the run is damaged") from error


def _hint(folder: Path) -> str:
    """What a folder that is not a run holds, or what may be meant instead; ends a message."""
    if str(folder) in _released():
        return f"; did you mean {released.PREFIX}{folder}?"
    if is_exported(folder):
        return "; it is an exported model: name the run that it was exported from"
    if (folder / "manifest.json").is_file():
        return "; it holds data or a bank: name a run that was trained on them"
    runs = sorted(path.parent.name for path in folder.glob("*/run.json"))
    runs = runs or sorted(f"runs/{path.parent.name}" for path in folder.glob("runs/*/run.json"))
    return f"; it holds runs, such as {folder / runs[0]}" if runs else spelled_otherwise(folder)


def _released() -> list[str]:
    """Names of the runs that ship with the project."""
    return sorted(path.parent.name for path in released.FOLDER.glob("*/run.json"))


def _read_vocabulary(path: Path) -> Vocabulary:
    content = read_json(path)
    try:
        return Vocabulary.from_json(content)
    except BadInput as error:
        raise CorruptData(f"{path}: damaged ({error}); restore it") from error
