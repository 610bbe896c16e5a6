"""Sums whose order does not depend on how busy the machine is.

TensorFlow's `AddN` collects its sum in the buffer of the first term that nobody else reads any
more, and begins with that term. Which one it is depends on how far other operations are by then,
so with three terms or more the last bits differ from run to run, and
`tf.config.experimental.enable_op_determinism` does not change that. Two terms are safe: a + b is
b + a. `tf.GradientTape` joins the gradients of a tensor that was used n times by one `AddN`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def fix_order_of_process() -> None:
    """Makes all functions of this process that are traced from now on repeatable to the bit.

    Left alone, TensorFlow's optimiser of graphs joins sums of two terms to `AddN`s of many again,
    whoever wrote them; it is told not to. The rest of what it does stays on.
    """
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


def sum_of(terms: Sequence[tf.Tensor]) -> tf.Tensor:
    """What `tf.add_n` gives, always in the order of the terms.

    Args:
      terms: at least one, all of one shape and type.

    Returns:
      The sum, of the same shape and type.
    """
    return tf.reduce_sum(tf.stack(terms), axis=0)


class FixedOrderTape(tf.GradientTape):
    """A tape that adds gradients up in pairs, always in the same order.

    It differs from `tf.GradientTape` within a `tf.function` only; without one, operations run one
    after the other anyway.
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
