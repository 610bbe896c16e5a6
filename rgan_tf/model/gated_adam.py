"""Adam that leaves everything unchanged in a step that its guard has rejected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import tensorflow as tf

from rgan_tf.model.guard import UpdateGuard


class _Factors(NamedTuple):
    """Scalars of one step, the same for all variables.

    Attributes:
      momentum, velocity: how far the moments move.
      step: the rate, corrected for the moments' start at zero.
    """

    momentum: tf.Tensor
    velocity: tf.Tensor
    step: tf.Tensor


class GatedAdam(tf.keras.optimizers.Adam):
    """Adam (Kingma & Ba, ICLR 2015) with every update multiplied by the gate of a guard.

    Zero gradients alone would let the moments decay, and `tf.cond` does not work either, because
    under a distribution strategy nothing may be merged over replicas inside it. With gate 1 it is
    Keras's Adam; with gate 0 weights, moments and bias correction stay unchanged, for finite
    gradients. The caller replaces gradients that are not finite by zeros.

    Args:
      learning_rate, beta_1, beta_2, epsilon: as in Keras's Adam.
      guard: provides the gate.
    """

    def __init__(
        self,
        learning_rate: float,
        *,
        beta_1: float,
        beta_2: float,
        epsilon: float = 1e-7,
        guard: UpdateGuard,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, **kwargs)
        self.guard = guard

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[tf.Tensor, tf.Variable]], *args: Any, **kwargs: Any
    ) -> Any:
        """See Keras. The factors are computed once, instead of once per variable."""
        pairs = list(grads_and_vars)
        self._compute_current_learning_rate()  # Keras does it below, which is late for the factors
        # Under a strategy each replica sets them in turn, to the same numbers.
        self._factors = self._factors_of_step(pairs[0][1].dtype)
        return super().apply_gradients(pairs, *args, **kwargs)

    def _factors_of_step(self, kind: tf.DType) -> _Factors:
        guard = self.guard
        gate = tf.cast(guard.gate, kind)  # []
        rate = tf.cast(self.learning_rate, kind)  # []
        number = tf.cast(guard.performed(self.iterations) + 1, kind)  # [], of this update
        corrected = tf.sqrt(1 - tf.pow(tf.cast(self.beta_2, kind), number))  # []
        corrected /= 1 - tf.pow(tf.cast(self.beta_1, kind), number)  # []
        return _Factors((1 - self.beta_1) * gate, (1 - self.beta_2) * gate, rate * corrected * gate)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Updates one variable; gradients are dense."""
        factors = self._factors
        index = self._index_dict[self._var_key(variable)]
        momentum, velocity = self._momentums[index], self._velocities[index]
        momentum.assign_add((gradient - momentum) * factors.momentum)
        velocity.assign_add((tf.square(gradient) - velocity) * factors.velocity)
        step = momentum * factors.step  # shaped like the variable
        variable.assign_sub(step / (tf.sqrt(velocity) + self.epsilon))
