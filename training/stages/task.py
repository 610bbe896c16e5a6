"""The interface between a stage and the trainer, after TF-GNN's runner."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.backbones import Backbone
from rgan_tf.bank.half_size import half_size_features
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.data.pipeline import Share, batch_image_ids, scene_dataset
from rgan_tf.data.prepared import PreparedData
from rgan_tf.model.guarded_model import GuardedModel
from rgan_tf.progress import note
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.runs import STAGES, Run
from training.callbacks.stage import StageCallback

_STATISTICS_ROWS = 20_000


class Task:
    """One stage of a run; `training.trainer.Trainer` calls its methods in this order:

    `check`, then, if steps are missing, `prepare` and `build_model`; then `callbacks` and `batches`
    whenever training resumes from a checkpoint; `pictures`, `embeddings` and `record` during it.

    Args:
      run: the run folder to write to.
      data: the training data.

    Attributes:
      name: of the stage, one of `rgan_tf.runs.STAGES`, or a rival's own.
      steps: number of steps.
      rows: batch size over all replicas.
      break_every_steps: `batches` is called again after this many steps; 0 = never.
      model: result of `build_model`, set by the trainer.
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

    @property
    def place(self) -> int:
        """Its place among the stages, which makes its first weights its own."""
        return STAGES.index(self.name)

    @property
    def adversarial(self) -> str:
        """The form of this stage's adversarial loss, for those who watch it."""
        return self.config.losses.adversarial

    def check(self) -> None:
        """Refuses a run in which this stage cannot be resumed."""

    def prepare(self) -> None:
        """Computes what the model needs; called outside the strategy's scope."""

    def build_model(self) -> GuardedModel:
        """The compiled model with all its variables; called within the strategy's scope."""
        raise NotImplementedError

    def batches(self, step: int, share: Share, seed: int) -> tf.data.Dataset:
        """Endless batches from a step on; a process gets its share of each."""
        raise NotImplementedError

    def scenes_of(self, step: int, seed: int) -> list[int] | None:
        """Image ids of the batch of a step; None if batches have none."""
        return None

    def callbacks(self, first_step: int) -> list[StageCallback]:
        """This stage's own callbacks, which run before those that report."""
        return []

    def pictures(self) -> dict[str, np.ndarray]:
        """Pictures of fixed scenes: name -> uint8 [H, W, 3]."""
        return {}

    def embeddings(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Embeddings of n rows of the bank, for TensorBoard: name -> [n, D]."""
        return {}

    def record(self, step: int) -> dict[str, Any]:
        """Entries of the stage's record at a step."""
        return {}

    def forget_after(self, step: int) -> None:
        """Deletes files of later steps, after a rollback to this one."""


class SceneTask(Task):
    """A stage trained on scenes, with or without candidates for their objects.

    Attributes:
      half_size: features of the patches at half the size, see `scene_dataset`.
    """

    half_size: np.ndarray | None = None

    def __init__(self, run: Run, data: PreparedData, *, steps: int):
        super().__init__(run, data, steps=steps, rows=run.config.training.batch_size)

    def candidates(self, step: int) -> CandidateSource | None:
        """The candidates for the scenes of a step."""
        return None

    def batches(self, step: int, share: Share, seed: int) -> tf.data.Dataset:
        return scene_dataset(
            self.data,
            "train",
            self.config,
            batch_size=self.rows,
            seed=seed,
            start_step=step,
            candidates=self.candidates(step),
            share=share,
            half_size=self.half_size,
        )

    def scenes_of(self, step: int, seed: int) -> list[int]:
        return batch_image_ids(
            self.data, "train", self.config, batch_size=self.rows, seed=seed, step=step
        )


def repeated(batches: tf.data.Dataset, share: Share) -> tf.data.Dataset:
    """Every batch once for each of the share's replicas."""
    return batches.flat_map(lambda batch: tf.data.Dataset.from_tensors(batch).repeat(share.count))


def half_size_of(data: PreparedData, backbone: Backbone | None) -> np.ndarray | None:
    """Features of the training patches at half the size; None without a backbone for them."""
    if backbone is None:
        return None
    return half_size_features(data.bank, backbone, image_size=data.image_size, progress=note)


def sample_features(bank: PatchBank, half_size: np.ndarray | None = None) -> np.ndarray:
    """Backbone features of evenly spaced rows of a bank, enough for mean and deviation.

    Args:
      bank: of N patches.
      half_size: [N, Dx], features of the same patches at half the size, if these are used too.
    """
    rows = slice(None, None, max(1, len(bank) // _STATISTICS_ROWS))
    tables = [bank.features] if half_size is None else [bank.features, half_size]
    return np.concatenate([table[rows] for table in tables])
