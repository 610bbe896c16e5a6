"""φ's own stage, before the joint one (`retrieval.embedding_steps`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.backbones import Backbone
from rgan_tf.data.pipeline import WHOLE, Share
from rgan_tf.data.prepared import PreparedData
from rgan_tf.model.networks import build_patch_embedding
from rgan_tf.model.patch_embedding import PatchEmbeddingModel
from rgan_tf.progress import note
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.retrieval.prefilter import embed_rows
from rgan_tf.runs import EMBEDDING, STAGES, Run
from training.first_stages import load_first_stages
from training.stages.earlier import check_earlier_weights, earlier_weights
from training.stages.task import SceneTask, half_size_of, repeated, sample_features


class EmbeddingTask(SceneTask):
    """Trains the patch embedding φ by the selection loss alone.

    No image is made, so φ sees many more scenes in the time of a joint step.

    Args:
      run, data: see `Task`.
      backbone: see `RetrieveGANTask`.
    """

    name = EMBEDDING
    model: PatchEmbeddingModel

    def __init__(self, run: Run, data: PreparedData, *, backbone: Backbone | None = None):
        settings = run.config.retrieval
        super().__init__(run, data, steps=settings.embedding_steps)
        self.rows = settings.embedding_scenes
        self.backbone = backbone

    @property
    def place(self) -> int:
        return len(STAGES) + 1  # after AttnGAN's

    def check(self) -> None:
        """See `check_earlier_weights`: the encoder of stage 1 finds the candidates."""
        check_earlier_weights(self.run, self.name)

    def prepare(self) -> None:
        """Pre-filters the candidates of the training scenes."""
        stages = load_first_stages(self.run)
        self.table = stages.candidates(self.config, self.data, ["train"], progress=note)["train"]
        self.half_size = half_size_of(self.data, self.backbone)

    def build_model(self) -> PatchEmbeddingModel:
        width = self.run.feature_size
        networks = [build_patch_embedding(self.config, width) for _ in range(2)]
        networks[0].set_statistics(sample_features(self.data.bank, self.half_size))
        model = PatchEmbeddingModel(self.config, *networks)
        model.compile()
        return model

    def candidates(self, step: int) -> CandidateSource:
        return self.table

    def batches(self, step: int, share: Share, seed: int) -> tf.data.Dataset:
        # Every replica gets the whole batch, see `PatchEmbeddingModel`.
        return repeated(super().batches(step, WHOLE, seed), share)

    def embeddings(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"phi": embed_rows(self.model.average, self.data.bank.features[rows])}

    def record(self, step: int) -> dict[str, Any]:
        return earlier_weights(self.run, self.name)
