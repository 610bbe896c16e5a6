"""Counts the floating-point operations of a forward pass, and weights."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def count_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """Floating-point operations of one call, as TensorFlow's profiler counts them.

    A multiply-add counts as two. Operations without a registered count (gathers, segment sums)
    count as zero, and the body of a loop counts once.

    Args:
      function: what to trace; called once with symbolic tensors.
      *arguments: nested structures of tensors or `tf.TensorSpec`; every size must be known.

    Returns:
      The number of operations.

    Raises:
      ValueError: if a size is unknown.
    """
    specs = tf.nest.map_structure(_spec, arguments)
    for spec in tf.nest.flatten(specs):
        if not spec.shape.is_fully_defined():
            raise ValueError(f"every size must be known to count operations, got {spec.shape}")
    concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    graph = convert_variables_to_constants_v2(concrete).graph  # also inlines nested functions
    options = tf.compat.v1.profiler.ProfileOptionBuilder(
        tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    ).with_empty_output()
    with contextlib.redirect_stdout(io.StringIO()), _quiet():
        profile = tf.compat.v1.profiler.profile(graph, cmd="scope", options=options.build())
    return int(profile.total_float_ops)


def count_weights(networks: tf.Module) -> int:
    """Number of weights; Keras only counts models that were called as a whole."""
    return sum(int(variable.shape.num_elements()) for variable in networks.variables)


def _spec(value: Any) -> tf.TensorSpec:
    if isinstance(value, tf.TensorSpec):
        return value
    value = tf.convert_to_tensor(value)
    return tf.TensorSpec(value.shape, value.dtype)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences TensorFlow's deprecation notes about its own profiler."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
