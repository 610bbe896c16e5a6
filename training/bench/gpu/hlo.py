"""Programs of XLA that run without TensorFlow.

`tf.function` can hand out the HLO that it would compile. It appends one result for every variable
that is written and one parameter for every variable that is read. A program here returns its own
results alone and takes the parameters that these need.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.compiler.xla.service import hlo_pb2

from rgan_tf.errors import BadInput

_HIGHEST = 2  # of PrecisionConfig: all bits of float32
_TYPES = {
    "PRED": "bool",
    "S8": "int8",
    "U8": "uint8",
    "S16": "int16",
    "U16": "uint16",
    "S32": "int32",
    "U32": "uint32",
    "S64": "int64",
    "U64": "uint64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}

Signature = list[tuple[str, list[int]]]


class Program(NamedTuple):
    """A function as HLO.

    Attributes:
      hlo: an HloModuleProto.
      parameters: NumPy's name of the type, and the shape, of each; first those of the function.
      results: the same of the results.
      captured: values of the parameters that follow those of the function.
    """

    hlo: bytes
    parameters: Signature
    results: Signature
    captured: list[tf.Tensor | tf.Variable]


def program_of(function: Callable[..., Sequence[tf.Tensor]], arguments: Sequence[Any]) -> Program:
    """The program of a function; nothing is compiled.

    Args:
      function: returns a flat list of at least two tensors. It may assign variables; what they hold
        afterwards is lost, unless it returns that too.
      arguments: tensors, arrays or `tf.TensorSpec` of known shapes.

    Raises:
      BadInput: if XLA lacks an operation, or the program calls code that only TensorFlow has.
      ValueError: if it has a single result.
    """
    specs = [_spec(argument) for argument in arguments]
    traced = tf.function(function, jit_compile=True, autograph=False)
    concrete = traced.get_concrete_function(*specs)
    try:
        data = traced.experimental_get_compiler_ir(*specs)(stage="hlo_serialized")
    except ValueError as error:
        missing = sorted(set(re.findall(r"(\w+) \(No registered", str(error))))
        if not missing:
            raise
        raise BadInput(
            f"this step cannot be carried over: XLA has no {', '.join(missing)}"
        ) from error
    module = hlo_pb2.HloModuleProto.FromString(data)
    _refuse_custom_calls(module)
    wanted = [(output.dtype.name, output.shape.as_list()) for output in concrete.outputs]
    numbers = _cut(module, len(wanted), len(specs))
    shape = module.host_program_shape
    parameters, results = _signature(shape.parameters), _signature(shape.result.tuple_shapes)
    if results != wanted:
        raise RuntimeError(f"XLA returns {results}, TensorFlow {wanted}")
    captured = [concrete.captured_inputs[number - len(specs)] for number in numbers]
    handles = {id(variable.handle): variable for variable in concrete.variables}
    return Program(
        module.SerializeToString(),
        parameters,
        results,
        [handles.get(id(value), value) for value in captured],
    )


def with_full_products(hlo: bytes) -> bytes:
    """The same program with matrix products and convolutions in all bits of float32, no TF32."""
    module = hlo_pb2.HloModuleProto.FromString(hlo)
    for computation in module.computations:
        for instruction in computation.instructions:
            if instruction.opcode in ("dot", "convolution"):
                del instruction.precision_config.operand_precision[:]
                instruction.precision_config.operand_precision.extend([_HIGHEST] * 2)
    return module.SerializeToString()


def _spec(value: Any) -> tf.TensorSpec:
    if isinstance(value, tf.TensorSpec):
        return value
    array = np.asarray(value)
    return tf.TensorSpec(array.shape, array.dtype)


def _refuse_custom_calls(module: hlo_pb2.HloModuleProto) -> None:
    targets = {
        instruction.custom_call_target
        for computation in module.computations
        for instruction in computation.instructions
        if instruction.opcode == "custom-call"
    }
    if targets:
        raise BadInput(
            f"this step cannot be carried over: it calls {', '.join(sorted(targets))}, which only "
            "TensorFlow has"
        )


def _cut(module: hlo_pb2.HloModuleProto, results: int, parameters: int) -> list[int]:
    """Leaves the first results and what they need, and all of the first parameters.

    Returns:
      The former numbers of the further parameters that are left.
    """
    for computation in module.computations:
        for instruction in computation.instructions:
            instruction.ClearField("metadata")
            # `copy` has no form in StableHLO; a reshape to the same shape is the same.
            if instruction.opcode == "copy":
                instruction.opcode = "reshape"
    (entry,) = (c for c in module.computations if c.id == module.entry_computation_id)
    by_id = {instruction.id: instruction for instruction in entry.instructions}
    root = by_id[entry.root_id]
    if root.opcode != "tuple":
        raise ValueError(f"a program of two results or more is needed, this one has {results}")
    del root.operand_ids[results:]
    del root.shape.tuple_shapes[results:]
    needed: set[int] = set()
    queue = [root.id]
    while queue:
        number = queue.pop()
        if number not in needed:
            needed.add(number)
            queue += [*by_id[number].operand_ids, *by_id[number].control_predecessor_ids]
    inputs = [one for one in entry.instructions if one.opcode == "parameter"]
    inputs = [one for one in inputs if one.parameter_number < parameters or one.id in needed]
    inputs.sort(key=lambda one: one.parameter_number)
    further = [one.parameter_number for one in inputs[parameters:]]
    for number, one in enumerate(inputs):
        one.parameter_number = number
    shapes = [type(one.shape).FromString(one.shape.SerializeToString()) for one in inputs]
    needed |= {one.id for one in inputs}
    kept = [hlo_pb2.HloInstructionProto() for _ in needed]
    rest = (one for one in entry.instructions if one.id in needed)
    for copy, one in zip(kept, rest, strict=True):
        copy.CopyFrom(one)
    del entry.instructions[:]
    entry.instructions.extend(kept)
    for program in (module.host_program_shape, entry.program_shape):
        del program.parameters[:]
        program.parameters.extend(shapes)
        del program.parameter_names[:]
        program.parameter_names.extend(f"p{number}" for number in range(len(shapes)))
        del program.result.tuple_shapes[results:]
    module.ClearField("input_output_alias")
    module.ClearField("buffer_donor")
    return further


def _signature(shapes) -> Signature:
    names = xla_data_pb2.PrimitiveType
    return [(_TYPES[names.Name(s.element_type)], list(s.dimensions)) for s in shapes]
