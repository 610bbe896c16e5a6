"""`rgan bench nodes`: counts what one joint training step starts, with and without XLA."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from rgan_tf.options import add_config, add_weights_dir

if TYPE_CHECKING:
    import tensorflow as tf

# Nodes that compute nothing: they start no kernel on any device.
_IDLE = {
    "Arg",
    "Const",
    "Identity",
    "IdentityN",
    "NoOp",
    "PartitionedCall",  # counted by what it calls
    "Placeholder",
    "PreventGradient",
    "ReadVariableOp",
    "StatefulPartitionedCall",
    "StopGradient",
    "VarHandleOp",
}
# Instructions of an XLA program that start no kernel of their own.
_FREE = {"bitcast", "constant", "get-tuple-element", "parameter", "tuple", "while", "conditional"}
_INSTRUCTION = re.compile(r"^  (?:ROOT )?%\S+ = (?:\(.*?\)|\S+) ([a-z][\w-]*)\(")
_CALLED = re.compile(r"(?:body|to_apply|calls|true_computation|false_computation)=%([\w.\-]+)")
_COMPUTATION = re.compile(r"^(ENTRY )?%([\w.\-]+) ")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_config(parser)
    parser.add_argument("--data", required=True, help="folder made by `rgan prepare`")
    parser.add_argument(
        "--kernels", action="store_true", help="also compile the step with XLA, which takes minutes"
    )
    add_weights_dir(parser)


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Traces the joint step on one batch of random candidates; nothing is timed.

    Returns:
      `nodes` (see `node_counts`), `assignments` (those of them that write a variable), `most` (the
      ten most frequent kinds); with `--kernels` also `xla_kernels` (see `kernel_counts`),
      `xla_custom_calls` and `kernels_to_nodes`.

    Raises:
      BadInput: if the data does not fit, or `--kernels` meets a step that XLA cannot compile.
    """
    import tensorflow as tf

    from rgan_tf.config import changed
    from rgan_tf.data.prepared import PreparedData
    from training.api import check_data_fits
    from training.bench.joint_step import build_joint_step, random_table
    from training.configuration import named_config

    config = named_config(args.config, args.overrides)
    if args.kernels:  # refuses what XLA cannot compile
        named_config(args.config, [*args.overrides, "training.jit_compile=true"])
    data = PreparedData.open(args.data)
    check_data_fits(config, data)

    def step(compiles: bool) -> tuple[tf.types.experimental.GenericFunction, dict]:
        ours = changed(config, training={"jit_compile": compiles})
        model, batches, _ = build_joint_step(
            ours, data, random_table(ours, data), weights_dir=args.weights_dir
        )
        batch = next(batches)
        return tf.function(model.train_step, jit_compile=compiles, autograph=False), batch

    traced, batch = step(compiles=False)
    kinds = node_counts(traced.get_concrete_function(batch).graph.as_graph_def())
    nodes = sum(kinds.values())
    result = {
        "config": config.name,
        "batch_size": config.training.batch_size,
        "nodes": nodes,
        "assignments": sum(count for kind, count in kinds.items() if kind.startswith("Assign")),
        "most": dict(kinds.most_common(10)),
    }
    if args.kernels:
        compiled, batch = step(compiles=True)
        program = compiled.experimental_get_compiler_ir(batch)(stage="optimized_hlo")
        instructions = kernel_counts(program)
        kernels = sum(instructions.values())
        result |= {
            "xla_kernels": kernels,
            "xla_custom_calls": instructions["custom-call"],
            "kernels_to_nodes": round(kernels / nodes, 3),
            "most_instructions": dict(instructions.most_common(10)),
        }
    return result


def node_counts(graph: tf.compat.v1.GraphDef) -> Counter[str]:
    """Kind -> number of nodes that compute or write something, in a graph and all that it calls.

    The body of a loop counts once. Constants, reads of variables and what only passes a tensor on
    are left out. TensorFlow's optimiser of graphs, which runs later, may merge or drop some more.
    """
    functions = {each.signature.name: each.node_def for each in graph.library.function}

    def within(nodes) -> Counter[str]:
        found: Counter[str] = Counter()
        for node in nodes:
            if node.op not in _IDLE:
                found[node.op] += 1
            for value in node.attr.values():
                for called in filter(None, [value.func.name, *(f.name for f in value.list.func)]):
                    found += within(functions[called])
        return found

    return within(graph.node)


def kernel_counts(program: str) -> Counter[str]:
    """Kind -> number of instructions that a device starts one by one, in an optimised XLA program.

    Those of the entry and of all loops, branches and calls within it, each once; what lies in a
    fusion, or in the function of a reduction, runs within one kernel.

    Args:
      program: text of the optimised HLO.
    """
    lines: dict[str, list[str]] = {}
    entry = ""
    for line in program.splitlines():
        begin = _COMPUTATION.match(line)
        if begin:
            name = begin[2]
            lines[name] = []
            entry = name if begin[1] else entry
        elif line.startswith("  "):
            lines[name].append(line)

    def within(computation: str) -> Counter[str]:
        found: Counter[str] = Counter()
        for line in lines[computation]:
            match = _INSTRUCTION.match(line)
            if match is None:
                raise ValueError(f"no instruction of XLA: {line.strip():.80}")
            kind = match[1]
            if kind in ("while", "conditional", "call"):
                for called in _CALLED.findall(line):
                    found += within(called)
            if kind != "call" and kind not in _FREE:
                found[kind] += 1
        return found

    return within(entry)
