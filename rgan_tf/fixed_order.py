"""Sums in a fixed order, independent of the load of the machine.

TensorFlow's `AddN` accumulates in the buffer of the first term that is otherwise unused, and begins
with that term. Which term it is depends on timing, so with three or more terms the last bits differ
from run to run, even with `tf.config.experimental.enable_op_determinism`. Two terms are safe, since
a + b is b + a. `tf.GradientTape` sums the gradients of a tensor that is used n times by one `AddN`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def fix_order_of_process() -> None:
    """Makes all functions that this process traces from now on reproducible to the bit.

    By default TensorFlow's graph optimiser merges sums of two terms into `AddN`s of many. This
    disables that and nothing else.
    """
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


def sum_of(terms: Sequence[tf.Tensor]) -> tf.Tensor:
    """Like `tf.add_n`, but always in the order of the terms.

    Args:
      terms: at least one, all of one shape and type.

    Returns:
      The sum, of the same shape and type.
    """
    return tf.reduce_sum(tf.stack(terms), axis=0)


class FixedOrderTape(tf.GradientTape):
    """A tape that sums gradients in pairs, always in the same order.

    It differs from `tf.GradientTape` only within a `tf.function`; otherwise operations run in
    sequence anyway.
    """

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: tf.UnconnectedGradients | str = tf.UnconnectedGradients.NONE,
    ) -> Any:
        """See `tf.GradientTape.gradient`; `sources` is one tensor or variable, or a list."""
        if tf.executing_eagerly():
            return super().gradient(target, sources, output_gradients, unconnected_gradients)
        gradients = tf.gradients(
            target,
            sources,
            grad_ys=output_gradients,
            unconnected_gradients=unconnected_gradients,
            aggregation_method=tf.AggregationMethod.EXPERIMENTAL_TREE,
        )
        return gradients if isinstance(sources, (list, tuple)) else gradients[0]
