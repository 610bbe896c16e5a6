"""Forward passes that are computed again for the gradient, so that less has to be remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.fixed_order import FixedOrderTape


def recomputed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose inner values are not kept for its gradient.

    Differs from `tf.recompute_grad` in the tape within, which adds up in a fixed order.

    Args:
      function: of floating-point tensors. Others, and those without a gradient, belong in its
        closure: 0 is added to every argument to put the second pass after the first.

    Returns:
      A function of the same arguments and results; its gradient costs one more forward pass.
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
    """0 that cannot be known before the tensor is; XLA does not respect control dependencies."""
    first = tf.cast(tf.reduce_max(tf.reshape(tensor, [-1])[:1]), tf.bool)  # []; true for a NaN
    return tf.where(first == first, 0.0, float("nan"))  # []
