"""Stage 3 of a run whose `training.system` is a rival: trains that system instead of ours."""

from __future__ import annotations

from typing import Any

import numpy as np

from rgan_tf.data.prepared import PreparedData
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.retrieval.prefilter import foreign_objects
from rgan_tf.rivals.pastegan.selector import TEST_CANDIDATES, TRAINING_CANDIDATES
from rgan_tf.rivals.registry import reads_patches, rival_model
from rgan_tf.rivals.rival import FORM, RivalModel
from rgan_tf.runs import STAGES, Run
from training.pictures import held_out_split, rival_pictures
from training.rival_candidates import rival_candidates
from training.stages.earlier import check_earlier_weights, earlier_weights
from training.stages.task import SceneTask


class RivalTask(SceneTask):
    """Trains a rival for the steps of the joint stage, and leaves its weights in that place.

    The first two stages are trained as in any run: a comparison shares them, they give a rival
    without a layout of its own the predicted boxes, and one that draws from patches its candidates.

    Args:
      run, data: see `Task`.
      perceptual: distance on a frozen backbone.
    """

    name = STAGES[-1]
    model: RivalModel

    def __init__(self, run: Run, data: PreparedData, perceptual: PerceptualDistance):
        super().__init__(run, data, steps=run.config.training.steps)
        self.perceptual = perceptual
        self._reads_patches = reads_patches(run.config)
        self._table: CandidateSource | None = None
        self._shown: CandidateSource | None = None

    @property
    def adversarial(self) -> str:
        return FORM

    def check(self) -> None:
        """See `check_earlier_weights`; matters where the first stage gives the candidates.

        Raises:
          BadInput: if that one was trained further since this stage began.
        """
        if self._reads_patches:
            check_earlier_weights(self.run)

    def prepare(self) -> None:
        """Finds the candidates of a rival that draws from patches."""
        if not self._reads_patches:
            return
        shown = held_out_split(self.data)
        # If the training scenes are shown, the pool of training is too.
        counts = {shown: TEST_CANDIDATES, "train": TRAINING_CANDIDATES}
        tables = rival_candidates(self.run, self.data, counts)
        self._table, self._shown = tables["train"], tables[shown]

    def build_model(self) -> RivalModel:
        return rival_model(self.config, self.run.vocabulary, self.perceptual)

    def candidates(self, step: int) -> CandidateSource | None:
        return self._table

    def pictures(self) -> dict[str, np.ndarray]:
        return rival_pictures(self.run, self.data, self.model.average, self._shown)

    def record(self, step: int) -> dict[str, Any]:
        if not self._reads_patches:
            return {}
        bank, scenes = self.data.bank, self.data.scenes("train", self.config.data)
        without = foreign_objects(bank, bank, scenes.patch_rows)
        return {**earlier_weights(self.run), "objects_without_patches": without}
