"""The tasks of a run whose `training.system` is a rival."""

from __future__ import annotations

from collections.abc import Iterator

from rgan_tf.config import Config
from rgan_tf.data.prepared import PreparedData
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.runs import DAMSM, STAGES, Run
from training.stages.attngan import AttnganTask, DamsmTask
from training.stages.rival import RivalTask
from training.stages.task import Task


def rival_tasks(run: Run, data: PreparedData, perceptual: PerceptualDistance) -> Iterator[Task]:
    """What such a run trains after its first two stages, one at a time; see `RivalTask`."""
    if run.config.training.system == "attngan":
        yield DamsmTask(run, data)
        yield AttnganTask(run, data, perceptual)
    else:
        yield RivalTask(run, data, perceptual)


def stages_of(config: Config) -> tuple[str, ...]:
    """Names of the stages of a run, in the order of their training."""
    if config.training.system == "attngan":
        return (*STAGES[:-1], DAMSM, STAGES[-1])
    return STAGES
