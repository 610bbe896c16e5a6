"""Requests and replies as JSON, as in TensorFlow Serving's REST interface.

    {"signature_name": NAME, "inputs": {FIELD: [row, ...], ...}}     columns; answered by "outputs"
    {"signature_name": NAME, "instances": [{FIELD: row, ...}, ...]}  rows; answered by "predictions"

As in TensorFlow Serving's `json_tensor.cc`, unknown keys are ignored, at the top level and among
columns; a row must have exactly its fields. Binary values are {"b64": "..."}. A reply with only one
field has the values without the field's name. Imports no TensorFlow; used by server and client.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from export.signatures import GENERATE, Field, Sizes
from rgan_tf.errors import BadInput
from rgan_tf.storage.files import each_key_once

# Milliseconds after which the client no longer waits; TensorFlow Serving ignores it.
TIMEOUT_HEADER = "X-Request-Timeout-Ms"

_BYTES = "bytes"
# Types that JSON numbers may become; ranges are checked separately.
_KINDS = {"bool": "b", "int32": "iu", "uint8": "iu", "float32": "iuf"}
_SHOWN = 60  # characters of a value in a message
_MAX_RANK = 8  # dimensions that are checked


class TensorSpec(NamedTuple):
    """Type and shape of a field.

    Attributes:
      dtype: NumPy name; "bytes" for binary strings.
      shape: dimensions after the batch.
    """

    dtype: str
    shape: tuple[int, ...]


def specs_of(fields: Iterable[Field], sizes: Sizes) -> dict[str, TensorSpec]:
    """Type and shape of each field of a model, by name."""
    return {field.name: TensorSpec(field.dtype, sizes.shape_of(field)) for field in fields}


class Call(NamedTuple):
    """A request as sent.

    Attributes:
      signature: name.
      fields: raw values, by field name; lists with a value per row.
      by_row: whether the reply must be by row, and unknown fields are refused.
    """

    signature: str
    fields: dict[str, Any]
    by_row: bool


def parse_call(body: bytes) -> Call:
    """Reads the body of a predict request.

    Raises:
      BadInput: names the error; the values are not checked yet.
    """
    try:
        # NaN is accepted as in TensorFlow Serving; the model refuses it by field.
        value = json.loads(body.decode("utf-8-sig"), object_pairs_hook=each_key_once)
    except RecursionError as error:
        raise BadInput("JSON: nested too deeply") from error
    except ValueError as error:  # also invalid UTF-8 and numbers of thousands of digits
        raise BadInput(f"JSON: {str(error).splitlines()[0][:_SHOWN]}") from error
    if not isinstance(value, dict):
        raise BadInput('JSON: must be an object with "inputs" or "instances"')
    signature = value.get("signature_name", GENERATE)
    if not isinstance(signature, str):
        raise BadInput("signature_name: must be a string")
    if ("inputs" in value) == ("instances" in value):
        raise BadInput('JSON: give either "inputs" (by column) or "instances" (by row)')
    if "inputs" in value:
        if not isinstance(value["inputs"], dict):
            raise BadInput("inputs: must be an object with a list of rows per field")
        return Call(signature, value["inputs"], by_row=False)
    return Call(signature, _columns_of(value["instances"]), by_row=True)


def read_tensors(
    fields: Mapping[str, Any],
    specs: Mapping[str, TensorSpec],
    *,
    max_rows: int,
    allow_more: bool = False,
) -> dict[str, np.ndarray]:
    """Converts raw values to arrays and refuses those that do not fit.

    Args:
      fields: lists or arrays by name.
      specs: expected fields, by name.
      max_rows: of a request.
      allow_more: drop unexpected fields instead of refusing them.

    Returns:
      Arrays [rows, ...] by name.

    Raises:
      BadInput: names the field, what it has and what it needs.
    """
    if allow_more:
        fields = {name: value for name, value in fields.items() if name in specs}
    check_fields(fields, specs)
    for name in specs:  # before millions of values are converted
        if isinstance(fields[name], list) and len(fields[name]) > max_rows:
            raise BadInput(f"{name}: has {len(fields[name])} rows; a request has 1 to {max_rows}")
    arrays = {name: _read_tensor(name, fields[name], spec) for name, spec in specs.items()}
    check_rows(arrays, max_rows)
    return arrays


def check_fields(fields: Mapping[str, Any], specs: Mapping[str, TensorSpec]) -> None:
    """Checks that there are exactly the expected fields.

    Raises:
      BadInput: names one that differs.
    """
    for name in fields:
        if name not in specs:
            raise BadInput(f"{_shown(name)}: no such field; there are {', '.join(sorted(specs))}")
    missing = sorted(set(specs) - set(fields))
    if missing:
        raise BadInput(f"{missing[0]}: is missing")


def check_rows(arrays: Mapping[str, np.ndarray], max_rows: int) -> None:
    """Checks that all fields have the same, allowed number of rows.

    Raises:
      BadInput: names a field that has not.
    """
    first, *others = arrays
    rows = len(arrays[first])
    for name in others:
        if len(arrays[name]) != rows:
            raise BadInput(
                f"{name}: has {len(arrays[name])} rows and {first} {rows}; they must be equal"
            )
    if not 1 <= rows <= max_rows:
        raise BadInput(f"{first}: has {rows} rows; a request has 1 to {max_rows}")


def dump_reply(reply: Mapping[str, np.ndarray], *, by_row: bool) -> bytes:
    """The body of a reply; arrays [rows, ...] by field name, binary ones of dtype object."""
    columns = {name: _values_of(array) for name, array in reply.items()}
    if not by_row:
        outputs = columns if len(columns) != 1 else next(iter(columns.values()))
        return _dump({"outputs": outputs})
    if len(columns) == 1:
        return _dump({"predictions": next(iter(columns.values()))})
    rows = zip(*columns.values(), strict=True)
    return _dump({"predictions": [dict(zip(columns, row, strict=True)) for row in rows]})


def dump_call(signature: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    """The body of a request, by column."""
    inputs = {name: _values_of(array) for name, array in arrays.items()}
    return _dump({"signature_name": signature, "inputs": inputs})


def parse_reply(body: bytes, specs: Mapping[str, TensorSpec], rows: int) -> dict[str, np.ndarray]:
    """Reads the body of a reply by column.

    Args:
      body: written by `dump_reply` with `by_row` False.
      specs: of the expected fields; others are ignored.
      rows: the requested number of rows.

    Returns:
      Arrays [rows, ...]; binary ones of dtype object.

    Raises:
      BadInput: if it is not such a reply.
    """
    try:
        outputs = json.loads(body)["outputs"]
        if len(specs) == 1 and not isinstance(outputs, dict):
            outputs = {next(iter(specs)): outputs}
        arrays = {name: _read_tensor(name, outputs[name], spec) for name, spec in specs.items()}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"reply: not that of a predict request ({error!r:.80})") from error
    for name, array in arrays.items():
        if len(array) != rows:
            raise BadInput(f"reply: {name} has {len(array)} rows, {rows} were asked for")
    return arrays


def _columns_of(instances: Any) -> dict[str, list[Any]]:
    if not isinstance(instances, list) or not instances:
        raise BadInput("instances: must be a list with at least one row")
    columns: dict[str, list[Any]] = {}
    for number, row in enumerate(instances):
        if not isinstance(row, dict):
            raise BadInput(f"instances[{number}]: must be an object with a value per field")
        if number and row.keys() != columns.keys():
            raise BadInput(f"instances[{number}]: has other fields than instances[0]")
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return columns


def _read_tensor(name: str, value: Any, spec: TensorSpec) -> np.ndarray:
    if spec.dtype == _BYTES:
        array = _read_bytes(name, value, len(spec.shape) + 1)
        check_shape(name, array.shape, spec)
        return array
    if isinstance(value, np.ndarray):
        if value.dtype != spec.dtype:
            raise BadInput(f"{name}: is {value.dtype}, needs {spec.dtype}")
        check_shape(name, value.shape, spec)
        return value
    if not isinstance(value, list):
        raise BadInput(f"{name}: must be a list with a value per row")
    return _read_numbers(name, value, spec)


def check_shape(name: str, shape: tuple[int, ...], spec: TensorSpec) -> None:
    """Checks the dimensions of a field, apart from rows.

    Raises:
      BadInput: if they differ.
    """
    if not shape or shape[1:] != spec.shape:
        needed = ", ".join(["batch", *map(str, spec.shape)])
        raise BadInput(f"{name}: has shape {list(shape)}, needs [{needed}]")


def _read_numbers(name: str, value: list[Any], spec: TensorSpec) -> np.ndarray:
    dtype = spec.dtype
    # NumPy only gets what fits: from strings and nested lists it would make arrays far larger than
    # the request.
    shape = _shape_of(value)
    check_shape(name, shape, spec)
    types = _types_in(name, value, shape)
    if not types <= {int, float, bool}:
        raise BadInput(f"{name}: must be {dtype} in equal lists")
    try:
        # Integers of any size are valid as float.
        array = np.array(value, np.float64 if dtype == "float32" else None)
    except OverflowError as error:
        raise BadInput(f"{name}: a number does not fit {dtype}") from error
    if array.size == 0:
        return array.reshape(shape).astype(dtype)
    # Mixed types become the widest; booleans among numbers become 0 and 1.
    if array.dtype.kind not in _KINDS[dtype] or (dtype != "bool" and bool in types):
        raise BadInput(f"{name}: must be {dtype} in equal lists")
    if dtype in ("int32", "uint8"):
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise BadInput(f"{name}: a number does not fit {dtype}")
    with np.errstate(over="ignore"):  # becomes infinite, which the model refuses
        return array.astype(dtype)


def _shape_of(value: Any) -> tuple[int, ...]:
    """The shape of nested lists by the first item of each; at most eight dimensions."""
    shape: list[int] = []
    while isinstance(value, list) and len(shape) < _MAX_RANK:
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _types_in(name: str, value: list[Any], shape: tuple[int, ...]) -> set[type]:
    """Types of the values in lists that all have this shape.

    Raises:
      BadInput: if one has another shape.
    """
    if len(shape) == 1:
        return set(map(type, value))
    types: set[type] = set()
    for part in value:
        if not isinstance(part, list) or len(part) != shape[1]:
            raise BadInput(f"{name}: must be numbers in equal lists")
        types |= _types_in(name, part, shape[1:])
    return types


def _read_bytes(name: str, value: Any, rank: int) -> np.ndarray:
    flat: list[bytes] = []

    def walk(item: Any, depth: int) -> tuple[int, ...]:
        if depth == rank:
            if not isinstance(item, dict) or set(item) != {"b64"}:
                raise BadInput(f'{name}: binary values must be {{"b64": "..."}}')
            try:
                flat.append(base64.b64decode(item["b64"], validate=True))
            except (TypeError, ValueError, binascii.Error) as error:
                raise BadInput(f"{name}: is not base64") from error
            return ()
        if not isinstance(item, list):
            raise BadInput(f"{name}: must be lists of binary values")
        shapes = {walk(part, depth + 1) for part in item}
        if len(shapes) > 1:
            raise BadInput(f"{name}: lists must be of equal length")
        return (len(item), *(shapes.pop() if shapes else ()))

    shape = walk(value, 0)
    array = np.empty(len(flat), object)
    array[:] = flat
    return array.reshape(shape)


def _values_of(array: np.ndarray) -> list[Any]:
    if array.dtype != object:
        return array.tolist()
    flat = [{"b64": base64.b64encode(content).decode("ascii")} for content in array.ravel()]
    boxed = np.empty(len(flat), object)
    boxed[:] = flat
    return boxed.reshape(array.shape).tolist()


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _shown(value: Any) -> str:
    return repr(value)[:_SHOWN]
