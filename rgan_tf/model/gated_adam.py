"""Adam that leaves everything unchanged in a step that its guard has rejected."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rgan_tf.model.guard import UpdateGuard


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

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Updates one variable; gradients are dense."""
        guard, kind = self.guard, variable.dtype
        gate = tf.cast(guard.gate, kind)  # []
        rate = tf.cast(self.learning_rate, kind)  # []
        number = tf.cast(guard.performed(self.iterations) + 1, kind)  # [], of this update
        corrected = tf.sqrt(1 - tf.pow(tf.cast(self.beta_2, kind), number))  # []
        corrected /= 1 - tf.pow(tf.cast(self.beta_1, kind), number)  # []
        index = self._index_dict[self._var_key(variable)]
        momentum, velocity = self._momentums[index], self._velocities[index]
        momentum.assign_add((gradient - momentum) * ((1 - self.beta_1) * gate))
        velocity.assign_add((tf.square(gradient) - velocity) * ((1 - self.beta_2) * gate))
        step = momentum * (rate * corrected * gate)  # shaped like the variable
        variable.assign_sub(step / (tf.sqrt(velocity) + self.epsilon))
