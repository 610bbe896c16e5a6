"""Stage 3 of a run whose `training.system` is a rival: trains that system instead of ours."""

from __future__ import annotations

import numpy as np

from rgan_tf.data.prepared import PreparedData
from rgan_tf.rivals.registry import rival_model
from rgan_tf.rivals.rival import FORM, RivalModel
from rgan_tf.runs import STAGES, Run
from training.pictures import rival_pictures
from training.stages.task import SceneTask


class RivalTask(SceneTask):
    """Trains a rival for the steps of the joint stage, and leaves its weights in that place.

    The first two stages are trained as in any run: whoever compares shares them, and they give a
    rival without a layout of its own the predicted boxes.
    """

    name = STAGES[-1]
    model: RivalModel

    def __init__(self, run: Run, data: PreparedData):
        super().__init__(run, data, steps=run.config.training.steps)

    @property
    def adversarial(self) -> str:
        return FORM

    def build_model(self) -> RivalModel:
        return rival_model(self.config, self.run.vocabulary)

    def pictures(self) -> dict[str, np.ndarray]:
        return rival_pictures(self.run, self.data, self.model.average)
