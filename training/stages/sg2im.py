"""Stage 1: graph encoder and parametric decoder."""

from __future__ import annotations

import numpy as np

from rgan_tf.data.prepared import PreparedData
from rgan_tf.model.networks import build_discriminators, build_sg2im_networks
from rgan_tf.model.sg2im import Sg2imModel
from rgan_tf.runs import Run
from training.pictures import sg2im_pictures
from training.stages.task import SceneTask


class Sg2imTask(SceneTask):
    """Trains the encoder whose graph features pre-filter the candidates of stage 3."""

    name = "sg2im"
    model: Sg2imModel

    def __init__(self, run: Run, data: PreparedData):
        super().__init__(run, data, steps=run.config.sg2im.steps)

    def build_model(self) -> Sg2imModel:
        config, vocabulary = self.config, self.run.vocabulary
        precision = config.training.precision
        model = Sg2imModel(
            config,
            build_sg2im_networks(config, vocabulary, precision=precision),
            build_sg2im_networks(config, vocabulary),
            build_discriminators(config, vocabulary, precision=precision),
        )
        model.compile()
        return model

    def pictures(self) -> dict[str, np.ndarray]:
        return sg2im_pictures(self.run, self.data, self.model.average)
