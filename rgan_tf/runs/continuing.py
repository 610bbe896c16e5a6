"""What training can resume from: the run's checkpoints, and the earlier stages of another run."""

from __future__ import annotations

import hashlib
import json
import shutil

from rgan_tf.config import Config
from rgan_tf.config_files import flat_settings
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.idle_settings import OF_JOINT_STAGE
from rgan_tf.runs.folder import DAMSM, EMBEDDING, STAGES, Run, stages_of
from rgan_tf.runs.settings import (
    ADDED_LATER,
    MAY_DIFFER,
    SHAPES_OF_FIRST_STAGES,
    difference,
)
from rgan_tf.storage.files import atomic_folder, write_json_atomic

# Settings on which stages between the first two and the last depend, besides their steps.
_OF_OWN_STAGES = {
    DAMSM: ("attngan.damsm_", "attngan.averages_words", "data.", "training.seed"),
    EMBEDDING: (
        "data.",
        "retrieval.backbone",
        "retrieval.candidates",
        "retrieval.index",
        "retrieval.embedding_",
        "retrieval.initial_scale",
        "retrieval.half_size_patches",
        "retrieval.selection_loss",
        "retrieval.shared_pixels",
        "training.seed",
        "training.beta_",
        "training.epsilon",
        "training.ema_decay",
    ),
}


def check_stages_fit(
    source: Run, config: Config, data: PreparedData, *, as_they_are: bool = False
) -> None:
    """Refuses the first two stages of a run if training them here would give other weights.

    Args:
      source: the run to take them from.
      config: of the run that takes them; settings of the joint stage may differ.
      data: of that run.
      as_they_are: only networks and names must fit; for runs that vary settings of all stages but
        are compared by their joint stage, and for stages of a release: the bytes of one world may
        differ where another version or machine prepared it.

    Raises:
      BadInput: names what differs, or which stage is not trained.
    """
    owner = f"--stages-from {source.folder}"
    if data.vocabulary.sha256() != source.vocabulary.sha256():
        raise BadInput(
            f"{owner}: was trained with other names of objects or relationships than --data has; "
            "name a run on this data, or leave the option out to train the stages anew"
        )
    if data.fingerprint != source.data_fingerprint and not as_they_are:
        raise BadInput(
            f"{owner}: was trained on other data than --data; name a run on this data, leave the "
            "option out to train the stages anew, or add --as-they-are to take them anyway"
        )
    if config.retrieval.backbone != source.config.retrieval.backbone:
        raise BadInput(
            f"{owner}: was trained on features of {source.config.retrieval.backbone}, not of "
            f"{config.retrieval.backbone}"
        )
    if as_they_are:
        changed = difference(source.config, config, only=SHAPES_OF_FIRST_STAGES)
        advice = ""
    else:
        changed = difference(source.config, config, also=OF_JOINT_STAGE)
        advice = "; to take them anyway, add --as-they-are"
    if changed:
        raise BadInput(f"{owner}: was started with {changed}{advice}")
    for stage, wanted in (
        ("sg2im", config.sg2im.steps),
        ("cooccurrence", config.cooccurrence.steps),
    ):
        done = source.stage_record(stage).get("steps")
        if done != wanted:
            advice = (
                f"to take it, set {stage}.steps={done}, and --max-steps, if given, no lower"
                if done
                else "train it there first"
            )
            raise BadInput(
                f"{owner}: stage {stage} has {done or 0} steps, {wanted} are asked for; {advice}"
            )


def take_stages(run: Run, source: Run, *, as_they_are: bool = False) -> None:
    """Copies the first two stages of another run; keeps those that the run already has.

    AttnGAN's encoders and φ's own stage are copied as well, where both runs have them, they would
    be the same, and were trained on the same data and on the first two stages that this run then
    has: they have learning rates of their own, so runs that search the others share them.

    Args:
      run: the destination.
      source: a run that passed `check_stages_fit`.
      as_they_are: as given to `check_stages_fit`; kept in the stages' records.

    Raises:
      BadInput: if the run has other stages already, and they may differ in their settings.
    """
    for stage in STAGES[:2] if as_they_are else ():
        own = run.stage_record(stage).get("weights_sha256")
        if own not in (None, source.stage_record(stage)["weights_sha256"]):
            raise BadInput(
                f"--stages-from {source.folder}: run {run.folder} has another stage {stage} "
                "already; leave the option out to resume with that one, or name another run"
            )
    for stage in (*STAGES[:2], DAMSM, EMBEDDING):
        if run.stage_folder(stage).exists():
            continue
        if stage not in STAGES and not _is_own_stage_of(run, source, stage):
            continue
        record = source.stage_record(stage)
        with atomic_folder(run.stage_folder(stage)) as partial:
            for path in source.stage_folder(stage).glob(f"{record['weights']}.*"):
                shutil.copyfile(path, partial / path.name)
            origin = {"taken_from": str(source.folder), "as_they_are": as_they_are}
            write_json_atomic(partial / "stage.json", {**record, **origin})


def _is_own_stage_of(run: Run, source: Run, stage: str) -> bool:
    """Whether a run can take `DAMSM` or `EMBEDDING` from another one.

    It keeps first stages that it already has; what the source trained on others does not fit them.
    """
    record = source.stage_record(stage)
    return (
        is_same_stage(stage, run.config, source.config)
        and run.data_fingerprint == source.data_fingerprint
        and record.get("steps") == stages_of(run.config)[stage]
        and all(
            record.get(f"{first}_weights") in (None, run.stage_record(first).get("weights_sha256"))
            for first in STAGES[:2]
        )
    )


def is_same_stage(stage: str, config: Config, other: Config) -> bool:
    """Whether two configs have the same stage of their own, `DAMSM` or `EMBEDDING`.

    They have if both train it, and training it on the same first stages would give the same.
    """
    return (
        stages_of(config).get(stage) is not None
        and stages_of(config).get(stage) == stages_of(other).get(stage)
        and not difference(other, config, only=_OF_OWN_STAGES[stage])
    )


def checkpoint_identity(run: Run, stage: str) -> dict[str, str]:
    """What a checkpoint must match before training resumes from it.

    Returns:
      `stage`, `config` (a hash of all settings that must not change) and `data`.
    """
    settings = {
        key: value
        for key, value in flat_settings(run.config).items()
        if key not in MAY_DIFFER and (key, value) not in ADDED_LATER.items()
    }
    text = json.dumps(settings, sort_keys=True)
    return {
        "stage": stage,
        "config": hashlib.sha256(text.encode()).hexdigest(),
        "data": run.data_fingerprint,
    }
