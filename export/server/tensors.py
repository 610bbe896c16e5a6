"""Converts fields of a gRPC request to arrays, checking them before allocating anything."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from export.wire import TensorSpec, check_fields, check_rows, check_shape
from rgan_tf.errors import BadInput

# Where a proto has its values unless they are raw bytes.
_VALUES = {"bool": "bool_val", "int32": "int_val", "uint8": "int_val", "float32": "float_val"}
_MAX_BYTE = 255
_MAX_RANK = 8  # more dimensions than any field has


def read_protos(
    inputs: Mapping[str, tf.compat.v1.TensorProto],
    specs: Mapping[str, TensorSpec],
    *,
    max_rows: int,
) -> dict[str, np.ndarray]:
    """Converts tensor protos to arrays and refuses those that do not fit.

    Args:
      inputs: by field name.
      specs: expected fields, by name.
      max_rows: of a request.

    Returns:
      Arrays [rows, ...] by name.

    Raises:
      BadInput: names the field, what it has and what it needs.
    """
    check_fields(inputs, specs)
    arrays = {name: _read_proto(name, inputs[name], spec, max_rows) for name, spec in specs.items()}
    check_rows(arrays, max_rows)
    return arrays


def _read_proto(name: str, proto, spec: TensorSpec, max_rows: int) -> np.ndarray:
    needed = tf.as_dtype(spec.dtype)
    if proto.dtype != needed.as_datatype_enum:
        raise BadInput(f"{name}: has type number {proto.dtype}, needs {needed.name}")
    shape = tuple(dimension.size for dimension in proto.tensor_shape.dim)
    check_shape(name, () if proto.tensor_shape.unknown_rank else shape[:_MAX_RANK], spec)
    if not 0 <= shape[0] <= max_rows:
        raise BadInput(f"{name}: has {shape[0]} rows; a request has 1 to {max_rows}")
    values = getattr(proto, _VALUES[spec.dtype])
    # Before TensorFlow converts them to Python numbers, possibly millions.
    if not proto.tensor_content and len(values) > math.prod(shape):
        raise BadInput(f"{name}: has {len(values)} values, more than its shape {list(shape)}")
    if spec.dtype == "uint8" and values and not 0 <= min(values) <= max(values) <= _MAX_BYTE:
        raise BadInput(f"{name}: a number does not fit uint8")  # it would be cut to 8 bits
    try:
        array = tf.make_ndarray(proto)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"{name}: content does not fill its shape {list(shape)}") from error
    # A byte other than 0 and 1 is not a valid bool for later readers.
    return array.view(np.uint8) != 0 if array.dtype == bool else array
