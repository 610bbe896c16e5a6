"""What a stage brings to the trainer: the seams of TF-GNN's runner, a `Task` and a `Trainer`."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.data.pipeline import Share, batch_image_ids, scene_dataset
from rgan_tf.data.prepared import PreparedData
from rgan_tf.model.guarded_model import GuardedModel
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.runs import Run
from training.callbacks.stage import StageCallback

_STATISTICS_ROWS = 20_000


class Task:
    """One stage of a run, as `training.trainer.Trainer` asks for its parts, in this order.

    `check`, then, if steps are missing, `prepare` and `build_model`; then `callbacks` and `batches`
    whenever training goes on from a checkpoint; `pictures`, `embeddings` and `record` as it goes.

    Args:
      run: where everything is written.
      data: what is trained on.

    Attributes:
      name: of the stage, one of `rgan_tf.runs.STAGES`.
      steps: of the stage.
      rows: of a batch, over all replicas.
      break_every_steps: `batches` is asked again so often; 0 = never.
      model: what `build_model` returned; the trainer sets it.
    """

    name: str
    model: GuardedModel
    break_every_steps = 0

    def __init__(self, run: Run, data: PreparedData, *, steps: int, rows: int):
        self.run = run
        self.data = data
        self.config = run.config
        self.steps = steps
        self.rows = rows

    def check(self) -> None:
        """Refuses a run in which this stage cannot go on."""

    def prepare(self) -> None:
        """Computes what the model needs, outside the strategy's scope."""

    def build_model(self) -> GuardedModel:
        """The compiled model with all its variables; called within the strategy's scope."""
        raise NotImplementedError

    def batches(self, step: int, share: Share, seed: int) -> tf.data.Dataset:
        """Endless batches from a step on, of which a process gets its share."""
        raise NotImplementedError

    def scenes_of(self, step: int, seed: int) -> list[int] | None:
        """Image ids of the batch of a step; None where batches have none."""
        return None

    def callbacks(self, first_step: int) -> list[StageCallback]:
        """Callbacks of this stage's own; they come before all that report."""
        return []

    def pictures(self) -> dict[str, np.ndarray]:
        """What the model makes of fixed scenes: name -> uint8 [H, W, 3]."""
        return {}

    def embeddings(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Embeddings of n rows of the bank, for TensorBoard: name -> [n, D]."""
        return {}

    def record(self, step: int) -> dict[str, Any]:
        """Entries of the stage's record at a step."""
        return {}

    def forget_after(self, step: int) -> None:
        """Deletes what is of later steps: training went back to this one."""


class SceneTask(Task):
    """A stage that is trained on scenes, with or without candidates for their objects."""

    def __init__(self, run: Run, data: PreparedData, *, steps: int):
        super().__init__(run, data, steps=steps, rows=run.config.training.batch_size)

    def candidates(self, step: int) -> CandidateSource | None:
        """What the scenes of a step retrieve from."""
        return None

    def batches(self, step: int, share: Share, seed: int) -> tf.data.Dataset:
        return scene_dataset(
            self.data,
            "train",
            self.config,
            batch_size=self.rows,
            seed=seed,
            start_step=step,
            repeat=True,
            drop_remainder=True,
            candidates=self.candidates(step),
            share=share,
        )

    def scenes_of(self, step: int, seed: int) -> list[int]:
        return batch_image_ids(
            self.data, "train", self.config, batch_size=self.rows, seed=seed, step=step
        )


def sample_features(bank: PatchBank) -> np.ndarray:
    """Backbone features of evenly spaced rows of a bank, enough for mean and deviation."""
    return np.asarray(bank.features[:: max(1, len(bank) // _STATISTICS_ROWS)])
