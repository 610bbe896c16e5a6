"""Keeps NaN and infinity out of the weights: an unsound step is skipped on all replicas."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

KEPT_STEPS = 16  # numbers of skipped steps that are kept, for inspection
_FIRST_SCALE = 2.0**15
_SOUND_STEPS_TO_GROW = 2000
_FORGETTING = 0.01  # weight of a new loss in its moving average


class UpdateGuard(tf.Module):
    """Judges every step before it changes anything, and scales the loss for float16.

    A step is sound if all losses and gradients on all replicas are finite, and no loss exceeds the
    bound or lies far above its usual size. All replicas reach the same verdict; it is kept in
    `gate`, which the optimisers (`GatedAdam`) and the moving average read: at 0 they change
    nothing.

    Sums are checked in place of their parts: a sum with a part that is not finite is not finite. A
    sum of finite gradients that overflows float32 also counts as unsound, as it should.

    Args:
      losses: number of losses to judge.
      loss_upper_bound: a weighted loss above it is unsound; above 0.
      loss_jump: so is a loss above `loss_jump * (1 + its usual size)`; above 1. The usual size is a
        moving average over the sound steps. An exploding network need not produce NaN: a
        classifier's loss may grow to thousands and stay there.
      scales_loss: multiply the loss so that small float16 gradients survive (Micikevicius et al.,
        ICLR 2018). The factor doubles after 2000 sound steps and halves when gradients overflow;
        such a step is skipped too, but counted separately, since it is not a sign of trouble.

    Attributes:
      gate: float32 variable, 1 = the current step is sound, 0 = it is not.
      skipped: int64 variable, unsound steps so far.
      skipped_in_row: int64 variable, number of consecutive unsound steps until now.
      closed_steps: int64 variable, steps with gate 0, including overflows.
      recent: [KEPT_STEPS] int64 variable, numbers of the latest unsound steps, -1 = none yet.
      loss_scale: float32 variable.
      usual: [losses] float32 variable, the usual size of each loss.

    Raises:
      ValueError: if a bound is out of range.
    """

    def __init__(
        self,
        *,
        losses: int = 1,
        loss_upper_bound: float = 1e6,
        loss_jump: float = 20.0,
        scales_loss: bool = False,
    ):
        super().__init__(name="guard")
        if not loss_upper_bound > 0:
            raise ValueError(f"loss_upper_bound must be above 0, got {loss_upper_bound}")
        if not loss_jump > 1:
            raise ValueError(f"loss_jump must be above 1, got {loss_jump}")
        self.loss_upper_bound = loss_upper_bound
        self.loss_jump = loss_jump
        self.scales_loss = scales_loss
        self.gate = _state(1.0, "gate")
        self.skipped = _state(tf.constant(0, tf.int64), "skipped")
        self.skipped_in_row = _state(tf.constant(0, tf.int64), "skipped_in_row")
        self.closed_steps = _state(tf.constant(0, tf.int64), "closed_steps")
        self.recent = _state(tf.fill([KEPT_STEPS], tf.constant(-1, tf.int64)), "recent")
        self.loss_scale = _state(_FIRST_SCALE if scales_loss else 1.0, "loss_scale")
        self.usual = _state(tf.zeros([losses]), "usual")
        self._sound_steps = _state(tf.constant(0, tf.int64), "sound_steps")
        self._judged = _state(tf.constant(0, tf.int64), "judged")

    def judge(
        self, step: tf.Tensor, losses: Sequence[tf.Tensor], gradients: Sequence[tf.Tensor]
    ) -> tf.Tensor:
        """Sets the gate for the current step; call it once per step in replica context.

        Args:
          step: int64 scalar, for the record.
          losses: scalars, this replica's shares of the losses, without the loss scale.
          gradients: of this replica, any shapes.

        Returns:
          Scalar bool, the same on every replica: whether the step is sound.
        """
        parts = tf.stack([tf.reduce_sum(tf.cast(g, tf.float32)) for g in gradients])  # [G]
        # A running sum: XLA repeats an ordinary one, addition by addition, in the kernel of every
        # variable, as all of them wait for the verdict.
        total = tf.cumsum(parts)[-1]  # []
        is_bad = tf.cast(~tf.math.is_finite(total), tf.float32)  # []
        # A loss that is not finite on one replica makes the sum not finite.
        summed = tf.stack([*[tf.cast(loss, tf.float32) for loss in losses], is_bad])  # [L + 1]
        context = tf.distribute.get_replica_context()
        summed = context.all_reduce(tf.distribute.ReduceOp.SUM, summed)  # [L + 1]
        sums = summed[:-1]  # [L]
        jump = self.loss_jump * (1.0 + self.usual)  # [L]
        bound = tf.minimum(
            tf.where(self._judged > 0, jump, self.loss_upper_bound), self.loss_upper_bound
        )  # [L]; nothing is usual before the first step
        losses_fine = tf.reduce_all(tf.math.is_finite(sums) & (sums <= bound))  # []
        is_sound = losses_fine & (summed[-1] == 0)  # []
        is_overflow = losses_fine & ~is_sound & (self.loss_scale > 1.0)  # []
        self._update_usual(sums, is_sound)
        self._record(tf.cast(step, tf.int64), is_sound, is_overflow)
        return is_sound

    def performed(self, iterations: tf.Tensor) -> tf.Tensor:
        """How many of an optimiser's iterations before the current step changed something."""
        return tf.cast(iterations, tf.int64) - self.closed_steps

    def end_step(self) -> None:
        """Counts the step if its gate was 0. Call it after the optimisers."""
        self.closed_steps.assign_add(tf.cast(self.gate == 0.0, tf.int64))

    def _update_usual(self, losses: tf.Tensor, is_sound: tf.Tensor) -> None:
        """Updates the usual sizes with the losses of a sound step; the first ones count in full."""
        share = tf.maximum(_FORGETTING, 1.0 / tf.cast(self._judged + 1, tf.float32))  # []
        moved = self.usual + share * (tf.abs(losses) - self.usual)  # [L]
        self.usual.assign(tf.where(is_sound, moved, self.usual))
        self._judged.assign_add(tf.cast(is_sound, tf.int64))

    def _record(self, step: tf.Tensor, is_sound: tf.Tensor, is_overflow: tf.Tensor) -> None:
        is_skipped = ~is_sound & ~is_overflow  # []
        counted = tf.cast(is_skipped, tf.int64)  # []
        place = tf.one_hot(
            self.skipped % KEPT_STEPS, KEPT_STEPS, on_value=True, off_value=False, dtype=tf.bool
        )  # [KEPT_STEPS]
        self.recent.assign(tf.where(place & is_skipped, step, self.recent))
        self.skipped.assign_add(counted)
        in_row = self.skipped_in_row + counted  # []
        self.skipped_in_row.assign(tf.where(is_sound, tf.zeros_like(in_row), in_row))
        self.gate.assign(tf.cast(is_sound, tf.float32))
        if not self.scales_loss:
            return
        sound_steps = self._sound_steps + 1  # []
        sound_steps = tf.where(is_sound, sound_steps, tf.zeros_like(sound_steps))  # []
        grows = sound_steps >= _SOUND_STEPS_TO_GROW  # []
        factor = tf.where(is_sound, tf.where(grows, 2.0, 1.0), 0.5)  # []
        self.loss_scale.assign(tf.maximum(self.loss_scale * factor, 1.0))
        self._sound_steps.assign(tf.where(grows, tf.zeros_like(sound_steps), sound_steps))


def _state(value, name: str) -> tf.Variable:
    """A variable that every replica sets to the same value."""
    return tf.Variable(
        value,
        trainable=False,
        name=name,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
