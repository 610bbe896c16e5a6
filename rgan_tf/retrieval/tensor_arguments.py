"""Checks of tensors that callers give to a selection: one line names the argument that is wrong."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

EPSILON = float(np.finfo(np.float32).tiny)  # the smallest normal number

_SHAPES = {
    "candidates": "BOKD",
    "embeddings": "BOKD",
    "features": "BOKD",
    "valid": "BOK",
    "query": "BD",
    "gumbel": "BOK",
    "seeds": "B2",
    "is_random": "B",
    "temperature": "B",
    "locked": "BO",
    "repeats": "B",
    "distances": "BOK",
    "ids": "BOK",
}
_NEEDED = ("candidates", "features", "valid", "query", "gumbel")


def check_shapes(**arguments: tf.Tensor | None) -> None:
    """Refuses shapes that TensorFlow would broadcast, or refuse without the argument's name.

    Args:
      **arguments: by name; None is left out if the argument is not needed. What one tells of B, O,
        K and D holds for those after it.

    Raises:
      ValueError: if one is no tensor of numbers, known to have another shape, or none of objects or
        candidates.
    """
    sizes: dict[str, int | None] = {"2": 2}
    for name, given in arguments.items():
        letters = _SHAPES[name]
        if given is None and name not in _NEEDED:
            continue
        wanted = f"[{', '.join(letters)}]"
        found = _shape_of_numbers(given, f"{name} must be {wanted}")
        shape = [sizes.get(letter) for letter in letters]
        if not found.is_compatible_with(shape):
            known = "" if None in shape else f" = {shape}"
            raise ValueError(f"{name} must be {wanted}{known}, got shape {found}")
        if found.rank is not None:
            for letter, size in zip(letters, found, strict=True):
                if size == 0 and letter in "OK":
                    raise ValueError(f"{name} must be {wanted} with {letter} >= 1, got {found}")
                if sizes.get(letter) is None:  # only a later argument may tell it
                    sizes[letter] = size


def _shape_of_numbers(given: object, message: str) -> tf.TensorShape:
    """The shape of what is, or can become, a dense tensor of numbers."""
    try:
        tensor = tf.convert_to_tensor(given)
    except (TypeError, ValueError) as error:  # sparse, ragged, or None
        kind = type(given).__name__
        raise ValueError(f"{message}, a tensor or array, got {kind}") from error
    kind = tensor.dtype
    if not (kind.is_floating or kind.is_integer or kind.is_bool):
        raise ValueError(f"{message}, of numbers, got {kind.name}")
    return tf.TensorShape(tensor.shape)


def check_above_zero(name: str, value: tf.Tensor | float, *, or_zero: bool = False) -> None:
    """Refuses a number at which a selection makes no sense: a temperature of 0 gives NaN.

    Raises:
      ValueError: if its value is known and not above 0 and finite, as float32; in a graph it may
        not be known.
    """
    known = value
    if tf.is_tensor(value):
        # A variable tells its value where it has one; in a graph, reading it adds an operation.
        tensor = tf.convert_to_tensor(value) if tf.executing_eagerly() else value
        known = tf.get_static_value(tensor)
        if known is None:
            return
    if np.ndim(known) or not is_real(known):
        raise ValueError(f"{name} must be a number, got {known!r:.80}")
    with np.errstate(over="ignore", under="ignore"):
        number = np.float32(known)  # below `EPSILON` processors take it for 0
    if not (EPSILON <= number < math.inf or (or_zero and 0 <= number < math.inf)):
        least = "at least" if or_zero else "above"
        raise ValueError(f"{name} must be {least} 0 and finite, got {known}")


def is_real(value: object) -> bool:
    """Whether it is a real number, or an array of them; bool is none."""
    kind = np.asarray(value).dtype
    return kind.kind in "iuf" or kind == tf.bfloat16.as_numpy_dtype
