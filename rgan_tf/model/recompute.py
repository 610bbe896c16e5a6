"""Recomputes forward passes for the gradient to save memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.fixed_order import FixedOrderTape


def recomputed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with inner values recomputed for its gradient instead of stored.

    Unlike `tf.recompute_grad`, its inner tape sums in a fixed order.

    Args:
      function: takes floating-point tensors. Other values, and those without a gradient, belong in
        its closure. 0 is added to every argument to delay the second pass after the first.

    Returns:
      A function with the same arguments and results; its gradient costs another forward pass.
    """

    @tf.custom_gradient
    def forward(*arguments: tf.Tensor) -> tuple[Any, Callable[..., Any]]:
        def gradient(*upstream: tf.Tensor, variables: Sequence[tf.Variable] = ()) -> tuple:
            zero = _zero_after(upstream[0])
            with FixedOrderTape() as tape:
                again = [argument + tf.cast(zero, argument.dtype) for argument in arguments]
                tape.watch(again)
                results = function(*again)
            gradients = tape.gradient(
                tf.nest.flatten(results),
                [*again, *variables],
                output_gradients=list(upstream),
                unconnected_gradients="zero",
            )
            return gradients[: len(again)], gradients[len(again) :]

        return function(*arguments), gradient

    return forward


def _zero_after(tensor: tf.Tensor) -> tf.Tensor:
    """A 0 that depends on the tensor, because XLA ignores control dependencies."""
    first = tf.cast(tf.reduce_max(tf.reshape(tensor, [-1])[:1]), tf.bool)  # []; true for a NaN
    return tf.where(first == first, 0.0, float("nan"))  # []
