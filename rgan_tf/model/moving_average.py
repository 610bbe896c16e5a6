"""The moving average of networks in training."""

from __future__ import annotations

import tensorflow as tf


def move_average(
    average: tf.Module, networks: tf.Module, *, step: tf.Tensor, decay: float, gate: tf.Tensor
) -> None:
    """Moves the average towards the networks, faster in early steps; in replica context.

    Args:
      average: of the same variables as `networks`.
      networks: in training.
      step: integer scalar, of the step that has just updated the networks.
      decay: of the average, once there are many steps.
      gate: bool scalar; the average stays as it is where this is false.
    """
    step = tf.cast(step, tf.float32)  # []
    decay = tf.minimum(decay, (1.0 + step) / (10.0 + step))  # []
    share = (1.0 - decay) * tf.cast(gate, decay.dtype)  # []
    pairs = list(zip(average.variables, networks.variables, strict=True))

    def move(variable, value, share):
        variable.assign_sub(share * (variable - value))

    def merge(strategy, share):
        for variable, value in pairs:
            strategy.extended.update(variable, move, args=(value, share))

    # A mirrored variable without aggregation can only be written in cross-replica context.
    tf.distribute.get_replica_context().merge_call(merge, args=(share,))
