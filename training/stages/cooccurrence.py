"""Stage 2: the co-occurrence embedding, by triplet loss on frozen backbone features."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from rgan_tf.data.pipeline import Share
from rgan_tf.data.prepared import PreparedData
from rgan_tf.model.cooccurrence import CooccurrenceModel, same_image_auc, triplet_dataset
from rgan_tf.model.gated_adam import GatedAdam
from rgan_tf.model.networks import build_cooccurrence_embedding
from rgan_tf.retrieval.prefilter import embed_rows
from rgan_tf.runs import Run
from training.stages.task import Task, repeated, sample_features


class CooccurrenceTask(Task):
    """Trains an embedding in which patches of one image are close together."""

    name = "cooccurrence"
    model: CooccurrenceModel

    def __init__(self, run: Run, data: PreparedData):
        settings = run.config.cooccurrence
        super().__init__(run, data, steps=settings.steps, rows=settings.triplets_per_step)

    def build_model(self) -> CooccurrenceModel:
        settings, training = self.config.cooccurrence, self.config.training
        embedding = build_cooccurrence_embedding(self.config, self.run.feature_size)
        embedding.set_statistics(sample_features(self.data.bank))
        model = CooccurrenceModel(
            embedding,
            margin=settings.margin,
            loss_upper_bound=training.loss_upper_bound,
            loss_jump=training.loss_jump,
        )
        optimizer = GatedAdam(settings.learning_rate, beta_1=0.9, beta_2=0.999, guard=model.guard)
        optimizer.build(embedding.trainable_variables)
        model.compile(optimizer=optimizer)
        return model

    def batches(self, step: int, share: Share, seed: int) -> tf.data.Dataset:
        settings = self.config.cooccurrence
        triplets = triplet_dataset(
            self.data.bank,
            triplets_per_step=self.rows,
            same_category_share=settings.same_category_negatives,
            seed=seed,
            start_step=step,
            shared_pixels=settings.shared_pixels,
        )
        # Every replica gets the whole batch, see `CooccurrenceModel`.
        return repeated(triplets, share)

    def embeddings(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"cooccurrence": embed_rows(self.model.embedding, self.data.bank.features[rows])}

    def record(self, step: int) -> dict[str, float]:
        if step < self.steps:
            return {}
        figures = {
            f"same_image_auc_{split}": same_image_auc(self.model.embedding, self.data.truth(split))
            for split in ("train", "val")
            if len(self.data.truth(split))
        }
        return {name: figure for name, figure in figures.items() if not math.isnan(figure)}
