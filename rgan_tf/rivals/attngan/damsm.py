"""DAMSM, the first training: encoders under which a text fits its own image best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.fixed_order import FixedOrderTape, sum_of
from rgan_tf.model.gated_adam import GatedAdam
from rgan_tf.model.guarded_model import GuardedModel, dense, zero_unless
from rgan_tf.rivals.attngan.image_encoder import ImageEncoder, Regions, frozen_features
from rgan_tf.rivals.attngan.matching import TERMS, matching_losses
from rgan_tf.rivals.attngan.sizes import Sizes, scaled
from rgan_tf.rivals.attngan.text_encoder import TextEncoder
from rgan_tf.rivals.attngan.tokens import SceneTexts, same_text, triple_order
from rgan_tf.rivals.rival import Graph
from rgan_tf.seeds import Purpose, derive_batch_seeds
from rgan_tf.vocabulary import Vocabulary

BETAS = (0.5, 0.999)

Features = Callable[[tf.Tensor], tf.Tensor]
"""Images [B, H, W, 3] float32 in [-1, 1] -> frozen maps [B, h, w, C]."""

_LARGEST_NORM = 0.25  # of the text encoder's gradient
_PER_EPOCH = 0.98  # factor on the rate
_LEAST = 0.1  # share of the rate that is left at the end
_PROBE = 64  # px, of the image with which variables are created


class DamsmEncoders(tf.keras.Model):
    """Both encoders, with all variables created: what DAMSM trains and the GAN reads.

    Args:
      text_encoder, image_encoder: built by the caller, for the GAN shares the first.
      features: the frozen network; not part of the weights.
    """

    def __init__(
        self, text_encoder: TextEncoder, image_encoder: ImageEncoder, features: Features, **kwargs
    ):
        super().__init__(**kwargs)
        self.text_encoder = text_encoder
        self.image_encoder = image_encoder
        self._features = features
        text_encoder(tf.ones([1, 1], tf.int32))
        self.encode_image(tf.zeros([1, _PROBE, _PROBE, 3]))

    def encode_image(self, images: tf.Tensor) -> Regions:
        """The regions of images [B, H, W, 3] float32 in [-1, 1]; differentiable in them."""
        return self.image_encoder(self._features(images))


class DamsmModel(GuardedModel):
    """Trains both encoders by the matching loss; the frozen network is only read.

    Under a strategy every replica must get the whole batch, for each row is told apart from all
    others.

    Args:
      encoders: to train.
      texts: of the run's vocabulary.
      averages: see `matching_losses`.
      **guarded: see `GuardedModel`.
    """

    def __init__(
        self, encoders: DamsmEncoders, texts: SceneTexts, *, averages: bool = False, **guarded: Any
    ):
        super().__init__(**guarded)
        self.encoders = encoders
        self.texts = texts
        self.averages = averages
        self.declare_metrics(["loss", *(f"loss/{term}" for term in TERMS)])

    def state(self) -> dict[str, tf.Module]:
        """See `GuardedModel`."""
        return {**super().state(), "encoders": self.encoders, "optimizer": self.optimizer}

    def inference_networks(self) -> DamsmEncoders:
        """Both encoders."""
        return self.encoders

    def compute_losses(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The terms of a batch, in the order of triples and with the dropout of the current step.

        Args:
          batch: `image` [B, H, W, 3] float32 in [-1, 1], `objects` and `triples`.

        Returns:
          `TERMS` -> [B] float32.
        """
        graph: Graph = {"objects": batch["objects"], "triples": batch["triples"]}
        order, dropout = (
            derive_batch_seeds(
                self.run_seed, self.step, purpose, rows=tf.shape(graph["objects"])[0]
            )
            for purpose in (Purpose.TRIPLE_ORDER, Purpose.WORD_DROPOUT)
        )  # [B, 2] each
        tokens = self.texts(graph, triple_order(graph["triples"], order))  # [B, W]
        text = self.encoders.text_encoder(tokens, dropout, trims=True)
        image = self.encoders.encode_image(batch["image"])
        same = same_text(self.texts.keys(graph))  # [B, B]
        return matching_losses(text, image, same, averages=self.averages)

    @tf.autograph.experimental.do_not_convert  # a quarter of the time of tracing, for nothing
    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One optimiser step."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        with FixedOrderTape() as tape:
            losses = self.compute_losses(batch)
            total = tf.reduce_mean(sum_of(list(losses.values())))  # []
            share = total / replicas  # optimisers sum gradients over replicas
        of_text = self.encoders.text_encoder.trainable_variables
        variables = [*of_text, *self.encoders.image_encoder.trainable_variables]
        gradients = dense(tape.gradient(share, variables))
        is_sound = self.guard.judge(self.step, [share], gradients)
        norm = tf.linalg.global_norm(gradients[: len(of_text)]) * replicas  # []
        clip = tf.minimum(1.0, _LARGEST_NORM / tf.maximum(norm, 1e-12))  # []
        gradients = [
            gradient * clip if index < len(of_text) else gradient
            for index, gradient in enumerate(gradients)
        ]
        safe = zero_unless(is_sound, gradients)
        self.optimizer.apply_gradients(zip(safe, variables, strict=True))
        self.guard.end_step()
        self.step.assign_add(1)
        figures = {f"loss/{term}": value for term, value in losses.items()}
        return self.track({"loss": total, **figures}, is_sound)


class FallingRate(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A rate that loses a fiftieth with every epoch, down to a tenth.

    Args:
      rate: at the start.
      epoch_steps: steps of an epoch, at least 1.
    """

    def __init__(self, rate: float, epoch_steps: int):
        super().__init__()
        self.rate = rate
        self.epoch_steps = epoch_steps

    def __call__(self, step) -> tf.Tensor:
        epochs = tf.floor(tf.cast(step, tf.float32) / self.epoch_steps)  # []
        return self.rate * tf.maximum(_PER_EPOCH**epochs, _LEAST)

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "epoch_steps": self.epoch_steps}


def build_damsm(
    config: Config,
    vocabulary: Vocabulary,
    sizes: Sizes | None = None,
    *,
    features: Features | None = None,
    epoch_steps: int = 1_000_000,
) -> DamsmModel:
    """The compiled model with new weights.

    Args:
      config: gives rate, seed, guard and the form of the words' score.
      vocabulary: of the run.
      sizes: widths; None takes ours.
      features: the frozen network; None loads the one that ships with the project.
      epoch_steps: steps in which the training scenes are seen once.
    """
    sizes = sizes or scaled(config.data.image_size)
    texts = SceneTexts(vocabulary)
    encoders = DamsmEncoders(
        TextEncoder(
            num_words=texts.dictionary.size, embedding=sizes.embedding, hidden=sizes.hidden
        ),
        ImageEncoder(joint=sizes.joint),
        features or frozen_features(),
    )
    model = DamsmModel(
        encoders,
        texts,
        averages=config.attngan.averages_words,
        seed=config.training.seed,
        loss_upper_bound=config.training.loss_upper_bound,
        loss_jump=config.training.loss_jump,
    )
    optimizer = GatedAdam(
        FallingRate(config.attngan.damsm_learning_rate, epoch_steps),
        beta_1=BETAS[0],
        beta_2=BETAS[1],
        guard=model.guard,
    )
    optimizer.build(
        [
            *encoders.text_encoder.trainable_variables,
            *encoders.image_encoder.trainable_variables,
        ]
    )
    model.compile(optimizer=optimizer)
    return model
