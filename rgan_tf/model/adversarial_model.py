"""The training step that stages 1 and 3 share: two optimisers, one forward pass, EMA."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.losses.total import weighted_sum


class LossTerms(NamedTuple):
    """What one batch costs, before weighting.

    Attributes:
      generator: name -> [B] float32, terms of the generator side.
      discriminator: name -> [B] float32, terms of the discriminators.
      monitors: name -> scalar float32, reported and not optimised.
    """

    generator: dict[str, tf.Tensor]
    discriminator: dict[str, tf.Tensor]
    monitors: dict[str, tf.Tensor]


class AdversarialModel(tf.keras.Model):
    """Trains `networks` against `discriminators` and keeps a moving average of `networks`.

    A subclass defines `compute_terms` and the weights of its terms. Generator and discriminator
    gradients come from one shared forward pass: the discriminator's view of the generated images
    is computed once and both sides differentiate it with respect to their own variables only.

    Args:
      config: the experiment.
      networks: the generator side; every trainable variable is optimised.
      average: same architecture as `networks`; receives the exponential moving average.
      discriminators: the adversaries.
      generator_weights: name -> weight of every generator term.
      discriminator_weights: name -> weight of every discriminator term.
    """

    def __init__(
        self,
        config: Config,
        networks: tf.keras.Model,
        average: tf.keras.Model,
        discriminators: tf.keras.Model,
        *,
        generator_weights: dict[str, float],
        discriminator_weights: dict[str, float],
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.config = config
        self.networks = networks
        self.average = average
        self.discriminators = discriminators
        self.generator_weights = generator_weights
        self.discriminator_weights = discriminator_weights
        self.step = tf.Variable(
            0,
            dtype=tf.int64,
            trainable=False,
            name="step",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self._trackers: dict[str, tf.keras.metrics.Mean] = {}
        for target, source in zip(average.variables, networks.variables, strict=True):
            target.assign(source)

    def compile(
        self,
        generator_optimizer: tf.keras.optimizers.Optimizer,
        discriminator_optimizer: tf.keras.optimizers.Optimizer,
    ) -> None:
        """Takes one optimiser per side and creates their slots, so that resume finds them."""
        super().compile()
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        generator_optimizer.build(self.networks.trainable_variables)
        discriminator_optimizer.build(self.discriminators.trainable_variables)

    def compute_terms(self, batch: dict[str, tf.Tensor], replica: tf.Tensor) -> LossTerms:
        """The losses of one per-replica batch; defined by each stage."""
        raise NotImplementedError

    def finish_step(self) -> None:
        """What a stage does after the weights' update, in replica context; nothing here."""

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Means over the current logging interval."""
        return list(self._trackers.values())

    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One update of both sides and of the moving average."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        generator_variables = self.networks.trainable_variables
        discriminator_variables = self.discriminators.trainable_variables
        with tf.GradientTape(persistent=True) as tape:
            terms = self.compute_terms(batch, replica)
            generator_loss = self._total(terms.generator, self.generator_weights)
            discriminator_loss = self._total(terms.discriminator, self.discriminator_weights)
        generator_gradients = tape.gradient(generator_loss, generator_variables)
        discriminator_gradients = tape.gradient(discriminator_loss, discriminator_variables)
        del tape
        _apply(self.generator_optimizer, generator_gradients, generator_variables)
        _apply(self.discriminator_optimizer, discriminator_gradients, discriminator_variables)
        self._update_average()
        self.finish_step()
        self.step.assign_add(1)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._track("loss/generator", generator_loss * replicas)
        self._track("loss/discriminator", discriminator_loss * replicas)
        for name, value in terms.generator.items():
            self._track(f"loss/generator/{name}", value)
        for name, value in terms.discriminator.items():
            self._track(f"loss/discriminator/{name}", value)
        for name, value in terms.monitors.items():
            self._track(name, value)
        return {name: tracker.result() for name, tracker in self._trackers.items()}

    def _total(self, terms: dict[str, tf.Tensor], weights: dict[str, float]) -> tf.Tensor:
        """Weighted sum over this replica's rows, divided by the global batch size.

        Optimisers add gradients up over replicas, so the division by the global size makes n
        replicas at batch B/n equal one replica at batch B.
        """
        return tf.reduce_sum(weighted_sum(terms, weights)) / self.config.training.batch_size

    def _track(self, name: str, value: tf.Tensor) -> None:
        if name not in self._trackers:
            raise KeyError(f"metric {name} was not declared with declare_metrics")
        self._trackers[name].update_state(value)

    def declare_metrics(self, names: list[str]) -> None:
        """Creates the trackers up front: under a strategy no variable may appear in a step."""
        for name in ["loss/generator", "loss/discriminator", *names]:
            self._trackers[name] = tf.keras.metrics.Mean(name=name)

    def _update_average(self) -> None:
        """Moves the average towards the networks; early steps move it faster."""
        step = tf.cast(self.step, tf.float32)
        decay = tf.minimum(self.config.training.ema_decay, (1.0 + step) / (10.0 + step))
        pairs = list(zip(self.average.variables, self.networks.variables, strict=True))

        def move(average, value, decay):
            average.assign_sub((1.0 - decay) * (average - value))

        def merge(strategy, decay):
            for average, value in pairs:
                strategy.extended.update(average, move, args=(value, decay))

        # A mirrored variable without an aggregation can only be written in cross-replica context.
        tf.distribute.get_replica_context().merge_call(merge, args=(decay,))


def _apply(optimizer, gradients, variables) -> None:
    """Updates what the loss depends on; stage 1 has no use for the last predicate vectors."""
    pairs = zip(gradients, variables, strict=True)
    optimizer.apply_gradients([pair for pair in pairs if pair[0] is not None])
