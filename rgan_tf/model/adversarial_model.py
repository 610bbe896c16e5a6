"""The training step that stages 1 and 3 share: two optimisers, one forward pass, EMA, a guard."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from rgan_tf.adapters.addons import normalise_spectra
from rgan_tf.config import Config
from rgan_tf.devices import compiles
from rgan_tf.fixed_order import FixedOrderTape
from rgan_tf.losses.total import mean_loss
from rgan_tf.model.gated_adam import GatedAdam
from rgan_tf.model.guarded_model import GuardedModel, dense, in_parts, zero_unless
from rgan_tf.model.moving_average import move_average
from rgan_tf.seeds import Purpose, derive_batch_seeds


class LossTerms(NamedTuple):
    """The losses of one batch, before weighting.

    Attributes:
      generator: name -> [B] float32, terms of the generator side.
      discriminator: name -> [B] float32, terms of the discriminators.
      monitors: name -> scalar float32, reported but not optimised.
    """

    generator: dict[str, tf.Tensor]
    discriminator: dict[str, tf.Tensor]
    monitors: dict[str, tf.Tensor]


class AdversarialModel(GuardedModel):
    """Trains `networks` against `discriminators` and keeps a moving average of `networks`.

    A subclass defines `compute_terms` and the weights of its terms. Generator and discriminator
    gradients come from one shared forward pass: the discriminator's view of the generated images
    is computed once and both sides differentiate it with respect to their own variables only.

    Args:
      config: the experiment.
      networks: the generator side; every trainable variable is optimised.
      average: same architecture as `networks`; holds the exponential moving average.
      discriminators: the adversaries.
      generator_weights: name -> weight of every generator term.
      discriminator_weights: name -> weight of every discriminator term.
      betas: of both Adams; None takes those of the config.
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
        betas: tuple[float, float] | None = None,
        **kwargs,
    ):
        super().__init__(
            seed=config.training.seed,
            losses=2,
            loss_upper_bound=config.training.loss_upper_bound,
            loss_jump=config.training.loss_jump,
            scales_loss=config.training.precision == "float16",
            **kwargs,
        )
        self.config = config
        self.networks = networks
        self.average = average
        self.discriminators = discriminators
        self.generator_weights = generator_weights
        self.discriminator_weights = discriminator_weights
        self.betas = betas or (config.training.beta_1, config.training.beta_2)
        sides = {"generator": generator_weights, "discriminator": discriminator_weights}
        self.declare_metrics([f"loss/{side}" for side in sides])
        self.declare_metrics([f"loss/{side}/{name}" for side in sides for name in sides[side]])
        for target, source in zip(average.variables, networks.variables, strict=True):
            target.assign(source)

    def compile(
        self,
        generator_optimizer: tf.keras.optimizers.Optimizer | None = None,
        discriminator_optimizer: tf.keras.optimizers.Optimizer | None = None,
    ) -> None:
        """Sets one optimiser per side and creates all slots, so that a checkpoint restores them.

        Args:
          generator_optimizer: by default a `GatedAdam` with the rates of the config.
          discriminator_optimizer: likewise. In a skipped step, any other optimiser gets zero
            gradients, which do not change the weights, but an Adam's moments.
        """
        super().compile()
        settings = self.config.training

        def adam(rate: float) -> GatedAdam:
            return GatedAdam(
                rate,
                beta_1=self.betas[0],
                beta_2=self.betas[1],
                epsilon=settings.epsilon,
                guard=self.guard,
            )

        self.generator_optimizer = generator_optimizer or adam(settings.generator_learning_rate)
        self.discriminator_optimizer = discriminator_optimizer or adam(
            settings.discriminator_learning_rate
        )
        self.generator_optimizer.build(self.networks.trainable_variables)
        self.discriminator_optimizer.build(self.discriminators.trainable_variables)

    def state(self) -> dict[str, tf.Module]:
        """See `GuardedModel`."""
        return {
            **super().state(),
            "networks": self.networks,
            "average": self.average,
            "discriminators": self.discriminators,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def inference_networks(self) -> tf.keras.Model:
        """The moving average."""
        return self.average

    def compute_terms(self, batch: dict[str, tf.Tensor], first_row: tf.Tensor) -> LossTerms:
        """The losses of some rows of a batch; each stage defines it.

        Args:
          batch: of the pipeline, or a part of one.
          first_row: int32 scalar, index of its first row in the batch of all replicas. Random
            numbers depend on a row's index, so not on how the batch was split.
        """
        raise NotImplementedError

    def finish_step(self) -> None:
        """Hook after the weight update, in replica context; does nothing here."""

    @tf.autograph.experimental.do_not_convert  # a quarter of the time of tracing, for nothing
    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Updates both sides and the moving average, or skips the step if the guard rejects it.

        Where XLA compiles it (`training.jit_compile`), it is one program from the losses to the
        moving average, if one device computes the batch in one part. Otherwise XLA ends at the
        gradients, since what replicas exchange and parts add up stands between.
        """
        return self._compiled_step(batch) if self.compiles_whole_step() else self._step(batch)

    def compiles_whole_step(self) -> bool:
        """Whether `train_step` is one XLA program under the current strategy."""
        # Mirrored strategies, even of one device, merge in a way that a compiled function refuses.
        strategy = tf.distribute.get_strategy()
        merges = tf.distribute.has_strategy() and not isinstance(
            strategy, tf.distribute.OneDeviceStrategy
        )
        return compiles(self.config) and self.config.training.accumulate_steps == 1 and not merges

    @functools.cached_property
    def _compiled_step(self) -> Callable:
        # Nothing in a step is Python's own branch or loop over tensors; looking for some is slow.
        return tf.function(self._step, jit_compile=True, autograph=False)

    def _step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        first_row, total_rows = _batch_position(tf.shape(next(iter(batch.values())))[0])
        # Once per step for all parts: a kernel must not change between them.
        normalise_spectra(self.discriminators)
        parts = self.config.training.accumulate_steps

        def work(part: dict[str, tf.Tensor], first_row: tf.Tensor) -> tuple:
            return self._part_gradients(part, first_row, total_rows)

        is_whole = self.compiles_whole_step()
        if compiles(self.config) and not is_whole:
            work = tf.function(work, jit_compile=True, autograph=False)
        gradients, losses, figures = in_parts(work, batch, first_row, parts)
        if self.guard.scales_loss:
            unscale = 1.0 / self.guard.loss_scale
            gradients = tf.nest.map_structure(lambda gradient: gradient * unscale, gradients)
        is_sound = self.guard.judge(
            self.step, list(losses.values()), [g for part in gradients.values() for g in part]
        )
        for side, optimizer, networks in (
            ("generator", self.generator_optimizer, self.networks),
            ("discriminator", self.discriminator_optimizer, self.discriminators),
        ):
            safe = zero_unless(is_sound, gradients[side], fuses=is_whole)
            optimizer.apply_gradients(zip(safe, networks.trainable_variables, strict=True))
        move_average(
            self.average,
            self.networks,
            step=self.step,
            decay=self.config.training.ema_decay,
            gate=self.guard.gate,
        )
        self.finish_step()
        self.guard.end_step()
        self.step.assign_add(1)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        figures = {name: value / parts for name, value in figures.items()}
        figures |= {f"loss/{side}": loss * replicas for side, loss in losses.items()}
        return self.track(figures, is_sound)

    def _part_gradients(
        self, batch: dict[str, tf.Tensor], first_row: tf.Tensor, total_rows: tf.Tensor
    ) -> tuple:
        """Gradients and metrics of one part of a replica's batch.

        Returns:
          side -> gradients of its variables, multiplied by the loss scale; side -> scalar, its
          share of the loss; name -> scalar metric.
        """
        variables = {
            "generator": self.networks.trainable_variables,
            "discriminator": self.discriminators.trainable_variables,
        }
        scale = self.guard.loss_scale if self.guard.scales_loss else 1.0
        with FixedOrderTape(persistent=True) as tape:
            terms = self.compute_terms(batch, first_row)
            losses = {
                "generator": mean_loss(terms.generator, self.generator_weights, total_rows),
                "discriminator": mean_loss(
                    terms.discriminator, self.discriminator_weights, total_rows
                ),
            }
            scaled = {side: loss * scale for side, loss in losses.items()}
        gradients = {
            # Stage 1 does not use the last predicate vectors, so their gradient is zero.
            side: tape.gradient(scaled[side], variables[side], unconnected_gradients="zero")
            for side in variables
        }
        del tape
        figures = {
            f"loss/{side}/{name}": tf.reduce_mean(value)
            for side, named in zip(("generator", "discriminator"), terms[:2], strict=True)
            for name, value in named.items()
        }
        figures |= {name: tf.cast(value, tf.float32) for name, value in terms.monitors.items()}
        return {side: dense(part) for side, part in gradients.items()}, losses, figures

    def batch_seeds(self, purpose: Purpose, first_row: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """[rows, 2] int32 seeds of the current step; independent of how the batch is split."""
        return derive_batch_seeds(self.run_seed, self.step, purpose, first_row=first_row, rows=rows)


def _batch_position(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Position of this replica's rows in the batch of all replicas.

    Counts the rows instead of reading the config: `fit` accepts batches of any size, and the last
    replica can have fewer rows.

    Args:
      rows: int32 scalar, rows of this replica.

    Returns:
      int32 scalars: index of the first of them, and the number of rows of all replicas.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return tf.constant(0), rows
    counts = context.all_gather(rows[tf.newaxis], axis=0)  # [replicas]
    return tf.reduce_sum(counts[: context.replica_id_in_sync_group]), tf.reduce_sum(counts)
