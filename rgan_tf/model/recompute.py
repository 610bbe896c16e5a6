"""Forward passes that are computed again for the gradient, so that less has to be remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def recomputed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose inner values are not kept for its gradient.

    Args:
      function: of floating-point tensors. Others, and those without a gradient, belong in its
        closure: TensorFlow adds 0 to every argument to put the second pass after the first.

    Returns:
      A function of the same arguments and results; its gradient costs one more forward pass.
    """
    return tf.recompute_grad(function)
