"""φ before the joint stage: trained by the ground-truth selection loss alone, without images."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.fixed_order import FixedOrderTape
from rgan_tf.losses.retrieval import draw_anchors, selection_loss
from rgan_tf.model.gated_adam import GatedAdam
from rgan_tf.model.guarded_model import GuardedModel, dense, zero_unless
from rgan_tf.model.moving_average import move_average
from rgan_tf.model.retrieval_losses import anchor_mask, sharing_objects
from rgan_tf.retrieval.embedding import PatchEmbedding
from rgan_tf.seeds import Purpose, derive_seed


class PatchEmbeddingModel(GuardedModel):
    """Trains a `PatchEmbedding` to rank an object's own patch before its candidates (method §4.1).

    Under a strategy every replica must get the whole batch, because it draws the queries.

    Args:
      config: the experiment.
      embedding: φ, with its variables.
      average: another one of the same sizes; holds the moving average, which is saved.
      teacher_forcing: see `selection_loss`.
    """

    def __init__(
        self,
        config: Config,
        embedding: PatchEmbedding,
        average: PatchEmbedding,
        *,
        teacher_forcing: bool = True,
    ):
        settings = config.training
        super().__init__(
            seed=settings.seed,
            loss_upper_bound=settings.loss_upper_bound,
            loss_jump=settings.loss_jump,
        )
        self.config = config
        self.embedding = embedding
        self.average = average
        self._teacher_forcing = teacher_forcing
        self.declare_metrics(["loss", "retrieval/scale"])
        for target, source in zip(average.variables, embedding.variables, strict=True):
            target.assign(source)

    def compile(self) -> None:
        """Sets the optimiser, with all its slots."""
        training = self.config.training
        optimizer = GatedAdam(
            self.config.retrieval.embedding_learning_rate,
            beta_1=training.beta_1,
            beta_2=training.beta_2,
            epsilon=training.epsilon,
            guard=self.guard,
        )
        optimizer.build(self.embedding.trainable_variables)
        super().compile(optimizer=optimizer)

    def state(self) -> dict[str, tf.Module]:
        """See `GuardedModel`."""
        return {
            **super().state(),
            "embedding": self.embedding,
            "average": self.average,
            "optimizer": self.optimizer,
        }

    def inference_networks(self) -> tf.keras.layers.Layer:
        """The moving average."""
        return self.average

    @tf.autograph.experimental.do_not_convert  # a quarter of the time of tracing, for nothing
    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One optimiser step on a batch of `scene_dataset` with candidates."""
        with FixedOrderTape() as tape:
            loss = self._loss(batch)  # []
            # Optimisers sum gradients over replicas.
            share = loss / tf.distribute.get_strategy().num_replicas_in_sync
        variables = self.embedding.trainable_variables
        gradients = dense(tape.gradient(share, variables))
        is_sound = self.guard.judge(self.step, [share], gradients)
        safe = zero_unless(is_sound, gradients)
        self.optimizer.apply_gradients(zip(safe, variables, strict=True))
        move_average(
            self.average,
            self.embedding,
            step=self.step,
            decay=self.config.training.ema_decay,
            gate=self.guard.gate,
        )
        self.guard.end_step()
        self.step.assign_add(1)
        return self.track({"loss": loss, "retrieval/scale": self.embedding.scale}, is_sound)

    def _loss(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        settings, boxes = self.config.retrieval, batch["boxes"]
        mask = batch["objects"] > 0  # [B, O]
        anchors = draw_anchors(
            anchor_mask(settings, mask, boxes),
            derive_seed(self.run_seed, self.step, 0, Purpose.SELECTION_ANCHOR),
        )  # [B]
        losses = selection_loss(
            self.embedding(batch["patch_features"]),
            self.embedding(batch["candidate_features"]),
            batch["candidate_valid"],
            mask,
            anchors,
            scale=self.embedding.scale,
            form=settings.selection_loss,
            teacher_forcing=self._teacher_forcing,
            sharing=sharing_objects(settings, boxes),
        )  # [B]
        return tf.reduce_mean(losses)
