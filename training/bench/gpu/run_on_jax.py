"""Checks and times a training step of RetrieveGAN where only JAX and NumPy are.

`rgan bench gpu-export` writes this file into the folder with the programs. It needs Python 3.10,
JAX and NumPy, and nothing else of the project:

    python run_on_jax.py [FOLDER] [--peak-tflops X] [--seconds 570]

1. `gumbel_group_select` with its gradient: the same choices as TensorFlow's, the gradient within a
   tolerance.
2. The first joint step: its figures, and how far every variable moved, as TensorFlow told.
3. At every batch size: ms a step, kernels, memory, share of the peak. Batches lie on the device:
   what the host needs to make them is not in these times.

Every part runs in a process of its own and has its share of the seconds; what does not fit, in time
or memory, is skipped with a line. The table goes to stderr, one JSON object to stdout. Exit code 0
if every check passed, 1 if one failed or was skipped, 2 for wrong options.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import gzip
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np
from jax.extend import mlir

jax.config.update("jax_enable_x64", True)  # counters of a step are int64

_STABLEHLO = "1.0.0"  # a version that old JAX understands
_WARM_UP = 2  # steps after the first
_BLOCKS = 5  # of steps; the median is told
# Smaller ones are compared as if they were as large: a mean of logits of either sign can be far
# smaller than the logits, whose rounding it has. Of the changes it is a share of the largest.
_FLOORS = {"figures": 0.1, "changes": 1e-3}

# Largest relative errors. `changes` are looser, as Adam divides small gradients by themselves.
# Those of a GPU are chosen, not measured: with full products it adds in another order; its usual
# products are TF32, where factors have 10 bits and so are off by 5e-4.
TOLERANCES = {
    "cpu": {"gradient": 1e-5, "figures": 1e-6, "changes": 1e-3},
    "gpu_full": {"gradient": 1e-4, "figures": 1e-4, "changes": 2e-2},
    "gpu_usual": {"gradient": 1e-2, "figures": 5e-2, "changes": 0.5},
}

# What takes no kernel of its own; `-done` waits for what a `-start` began.
_FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "after-all",
    "add-dependency",
    "opt-barrier",
    "partition-id",
    "replica-id",
}


def as_function(hlo: bytes, parameters: list, results: list) -> Callable[..., list]:
    """A program as a JAX function of flat arrays that returns a list of arrays.

    Args:
      hlo: an HloModuleProto.
      parameters, results: [[type, shape], ...]
    """
    portable = mlir.serialize_portable_artifact(mlir.hlo_to_stablehlo(hlo), _STABLEHLO)
    ins, outs = (
        [jax.ShapeDtypeStruct(tuple(shape), jax.numpy.dtype(kind)) for kind, shape in signature]
        for signature in (parameters, results)
    )
    # An empty program of the same signature has what this JAX keeps beside one; only its module is
    # replaced.
    empty = jax.jit(lambda *_: [jax.numpy.zeros(out.shape, out.dtype) for out in outs])
    empty = jax.jit(empty, keep_unused=True)
    exported = jax.export.export(empty, platforms=[jax.export.default_export_platform()])(*ins)
    if len(exported.module_kept_var_idx) != len(ins):
        raise RuntimeError("this JAX drops parameters that are not used; try another version")
    return dataclasses.replace(exported, mlir_module_serialized=portable).call


def count_kernels(text: str) -> tuple[int, dict[str, int], int]:
    """Kernels that one run of a compiled program starts, from its HLO text.

    Each instruction that is left after fusion counts as one, those of a loop as often as it runs.

    Returns:
      The number; by kind of instruction; and how many loops of unknown length were counted once.
    """
    computations, entry = _computations(text)
    kinds: collections.Counter[str] = collections.Counter()
    unknown = 0

    def visit(name: str, times: int) -> None:
        nonlocal unknown
        for kind, line in computations[name]:
            if kind in _FREE or kind.endswith("-done"):
                continue
            if kind == "while":
                trips = re.search(r'known_trip_count[^}]*?"?n"?\s*:\s*"?(\d+)', line)
                unknown += trips is None
                for part in ("condition", "body"):
                    visit(_named(part, line)[0], times * (int(trips[1]) if trips else 1))
            elif kind in ("call", "async-start"):
                for called in _named("to_apply", line) + _named("calls", line):
                    visit(called, times)
            elif kind == "conditional":
                kinds[kind] += times  # one of its branches runs; they are not counted
            else:
                kinds[kind] += times

    visit(entry, 1)
    return sum(kinds.values()), dict(kinds.most_common()), unknown


def _computations(text: str) -> tuple[dict[str, list[tuple[str, str]]], str]:
    """name -> (kind, line) of its instructions; and the name of the entry."""
    computations: dict[str, list[tuple[str, str]]] = {}
    entry = inside = ""
    for line in text.splitlines():
        begins = re.match(r"(ENTRY )?%?([\w.\-]+) .*\{\s*$", line)
        if begins and not line.startswith(("HloModule", " ")):
            inside = begins[2]
            computations[inside] = []
            entry = inside if begins[1] else entry
        elif line.startswith("}"):
            inside = ""
        elif inside and " = " in line:
            computations[inside].append((_kind(line.split(" = ", 1)[1]), line))
    return computations, entry


def _kind(rest: str) -> str:
    """The instruction's kind in `TYPE kind(operands), ...`; a TYPE can be a tuple."""
    depth = 0
    for place, character in enumerate(rest):
        depth += (character in "([{") - (character in ")]}")
        if character == " " and depth == 0:
            found = re.match(r"[\w\-]+", rest[place + 1 :])
            return found[0] if found else ""
    return ""


def _named(attribute: str, line: str) -> list[str]:
    return re.findall(rf"\b{attribute}=%?([\w.\-]+)", line)


class Part:
    """One program of the folder, with its arrays.

    Args:
      folder: written by `rgan bench gpu-export`.
      facts: of the manifest.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]):
        self.facts = facts
        self._folder = folder
        self._arrays = np.load(folder / "arrays.npz")

    def array(self, key: str) -> np.ndarray:
        return self._arrays[key]

    def on_device(self, keys: list[str]) -> list[jax.Array]:
        return [jax.device_put(self.array(key)) for key in keys]

    def function(self) -> Callable[..., list]:
        hlo = gzip.decompress((self._folder / self.facts["program"]).read_bytes())
        return as_function(hlo, self.facts["parameters"], self.facts["results"])


def run_selection(part: Part) -> dict[str, Any]:
    """Compares `gumbel_group_select` and its gradient with TensorFlow's."""
    facts = part.facts
    _say("compiling")
    arguments = part.on_device([*facts["arguments"], *facts["captured"]])
    results = jax.jit(part.function())(*arguments)
    tolerance = _tolerances(facts["kind"])["gradient"]
    errors: dict[str, float] = {}
    passed = True
    for (name, key), ours in zip(facts["expected"].items(), results, strict=True):
        ours, theirs = np.asarray(ours), part.array(key)
        if name in facts["exact"]:
            errors[name] = int((ours != theirs).sum())
            passed &= errors[name] == 0
        else:
            largest = max(float(np.abs(theirs).max()), 1e-30)
            errors[name] = float(np.abs(ours - theirs).max()) / largest
            passed &= errors[name] <= tolerance
    return {"passed": bool(passed), "errors": errors, "tolerance": tolerance}


def run_step(part: Part, *, steps: int, ends: float) -> dict[str, Any]:
    """Compiles the joint step, compares its first figures if they are known, and times it.

    Args:
      part: of kind "check" or "step".
      steps: at most this many are timed; 0 times none.
      ends: when its time is over, on the clock of `time.monotonic`.
    """
    facts = part.facts
    number, told = len(facts["state"]), len(facts["figures"])
    program = part.function()

    def step(state, batch, captured):
        results = program(*state, *batch, *captured)
        return results[told : told + number], jax.numpy.stack(results[:told])

    state, captured = part.on_device(facts["state"]), part.on_device(facts["captured"])
    batches = [part.on_device(keys) for keys in facts["batches"]]
    _say("compiling")
    began = time.monotonic()
    lowered = jax.jit(step, donate_argnums=0).lower(state, batches[0], captured)
    compiled = lowered.compile()
    result: dict[str, Any] = {
        "batch_size": facts["batch_size"],
        "compile_s": round(time.monotonic() - began, 1),
        **_costs(lowered, compiled),
    }
    _say("the first step")
    state, figures = compiled(state, batches[0], captured)
    if "expected" in facts:
        result |= _compare(part, figures, state)
    if steps:
        _say("timing")
        result |= _time(compiled, state, batches, captured, facts["figures"], steps, ends)
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        result["peak_memory_mb"] = round(stats["peak_bytes_in_use"] / 1e6)
    return result


def _costs(lowered, compiled) -> dict[str, Any]:
    """Kernels, memory and operations of a program."""
    kernels, kinds, unknown = count_kernels(compiled.as_text())
    memory = compiled.memory_analysis()
    used = (
        memory.temp_size_in_bytes
        + memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
    )
    # Before compilation: afterwards products are calls to libraries, which nobody counts.
    costs = lowered.cost_analysis() or {}
    costs = costs[0] if isinstance(costs, list) else costs
    return {
        "kernels": kernels,
        "kernels_by_kind": kinds,
        "loops_counted_once": unknown,
        "program_memory_mb": round(used / 1e6),
        "temporary_memory_mb": round(memory.temp_size_in_bytes / 1e6),
        "gflop": round(float(costs.get("flops", 0)) / 1e9, 2),
    }


def _compare(part: Part, figures: jax.Array, state: list[jax.Array]) -> dict[str, Any]:
    """The first step against TensorFlow's."""
    facts = part.facts
    tolerances = _tolerances(facts["kind"])
    expected = facts["expected"]
    names = {"figures": facts["figures"], "changes": expected["variables"]}
    ours = {
        "figures": np.asarray(figures, np.float64),
        "changes": np.array(
            [
                np.linalg.norm(np.asarray(after).astype(np.float64) - part.array(key))
                for after, key in zip(state, facts["state"], strict=True)
            ]
        ),
    }
    result: dict[str, Any] = {"passed": True, "errors": {}, "worst": {}}
    for name, values in ours.items():
        theirs = np.asarray(expected[name], np.float64)
        floor = _FLOORS[name] * (float(theirs.max()) if name == "changes" else 1.0)
        errors = np.abs(values - theirs) / np.maximum(np.abs(theirs), floor)
        worst = int(np.argmax(np.where(np.isfinite(errors), errors, np.inf)))
        result["errors"][name] = float(errors[worst])
        result["worst"][name] = names[name][worst]
        result["passed"] &= bool(errors[worst] <= tolerances[name])  # false for NaN
        if name == "figures":
            result["error_of_each_figure"] = dict(zip(names[name], errors.tolist(), strict=True))
    return {**result, "tolerances": tolerances}


def _time(compiled, state, batches, captured, names, steps: int, ends: float) -> dict[str, Any]:
    """Median over some blocks of steps; within a block the host does not wait for the device."""

    def run(count: int) -> float:
        nonlocal state, figures
        began = time.monotonic()
        for number in range(count):
            state, figures = compiled(state, batches[number % len(batches)], captured)
        jax.block_until_ready((state, figures))
        return (time.monotonic() - began) / count

    figures = None
    one = run(_WARM_UP)
    fit = int(0.8 * (ends - time.monotonic()) / _BLOCKS / max(one, 1e-6))
    count = max(1, min(steps // _BLOCKS, fit))
    times = [run(count) for _ in range(_BLOCKS)]
    last = dict(zip(names, np.asarray(figures).tolist(), strict=True))
    return {
        "ms_per_step": round(1e3 * statistics.median(times), 3),
        "ms_per_step_best": round(1e3 * min(times), 3),
        "timed_steps": count * _BLOCKS,
        "finite": bool(np.isfinite(list(last.values())).all()),
        "skipped_steps": last.get("guard/skipped"),
    }


def _tolerances(kind: str) -> dict[str, float]:
    """The tolerances of a kind of part; only a "step" has a GPU's usual products."""
    if jax.devices()[0].platform == "cpu":
        return TOLERANCES["cpu"]
    return TOLERANCES["gpu_usual" if kind == "step" else "gpu_full"]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _run_part(folder: Path, manifest: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Runs one part, in a process of its own; its result, or why it was left out."""
    (facts,) = (part for part in manifest["parts"] if part["name"] == args.part)
    device = jax.devices()[0]
    result = {"device": device.device_kind, "platform": device.platform, "jax": jax.__version__}
    ends = time.monotonic() + args.seconds
    part = Part(folder, facts)
    try:
        if facts["kind"] == "selection":
            return result | run_selection(part)
        steps = args.steps if facts["kind"] == "step" else 0
        return result | run_step(part, steps=steps, ends=ends)
    except (RuntimeError, MemoryError) as error:
        return result | {"skipped": " ".join(str(error).split())[:200] or type(error).__name__}


def _in_process(folder: Path, name: str, seconds: float, args: argparse.Namespace) -> dict:
    """The result of one part, or why there is none."""
    with tempfile.TemporaryDirectory() as scratch:
        answer, log = Path(scratch, "answer.json"), Path(scratch, "log")
        words = [__file__, str(folder), "--part", name, "--answer", str(answer)]
        words += ["--seconds", str(seconds), "--steps", str(args.steps)]
        with log.open("w") as stream:
            try:
                code = subprocess.run(
                    [sys.executable, *words], stdout=stream, stderr=stream, timeout=seconds
                ).returncode
            except subprocess.TimeoutExpired:
                code = None
        if answer.exists():
            return json.loads(answer.read_text())
        lines = log.read_text(errors="replace").split("\n")
        last = next((line.strip()[:200] for line in reversed(lines) if line.strip()), "no output")
        if code is None:
            return {"skipped": f"not done in {seconds:.0f} s; it was at: {last}"}
        return {"skipped": f"its process ended with {code}: {last}"}


def _table(report: dict[str, Any]) -> str:
    rows = [["part", "check", "ms a step", "images/s", "kernels", "MB", "GFLOP", "of the peak"]]
    notes = []
    for name, part in report["parts"].items():
        if "skipped" in part:
            rows.append([name, "skipped", *[""] * 6])
            notes.append(f"{name}: skipped: {part['skipped']}")
            continue
        check = {True: "passed", False: "FAILED", None: ""}[part.get("passed")]
        time_ms = part.get("ms_per_step")
        share = part.get("share_of_peak")
        rows.append(
            [
                name,
                check,
                f"{time_ms:.2f}" if time_ms else "",
                f"{1e3 * part['batch_size'] / time_ms:.0f}" if time_ms else "",
                str(part.get("kernels", "")),
                str(part.get("peak_memory_mb", part.get("program_memory_mb", ""))),
                str(part.get("gflop", "")),
                f"{share:.1%}" if share else "",
            ]
        )
        errors = ", ".join(f"{key} {value:.1e}" for key, value in part.get("errors", {}).items())
        if errors:
            notes.append(f"{name}: largest errors: {errors}")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    title = f"{report['config']} on {report['device']}"
    return "\n".join([title, *lines, *notes, *report["notes"]])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = Path(__file__).resolve().parent
    parser.add_argument("folder", nargs="?", type=Path, default=here, help="this file's folder")
    parser.add_argument("--peak-tflops", type=float, help="of the device, for the share of it")
    parser.add_argument("--seconds", type=float, default=570.0, help="for all parts together")
    parser.add_argument("--steps", type=int, default=200, help="timed at each batch size, at most")
    parser.add_argument("--only", nargs="+", metavar="PART", help="names, as in manifest.json")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    try:
        manifest = json.loads((args.folder / "manifest.json").read_text())
        names = [part["name"] for part in manifest["parts"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"{args.folder}: not made by `rgan bench gpu-export`: {error}")
    if args.part:
        args.answer.write_text(json.dumps(_run_part(args.folder, manifest, args)))
        return 0
    if set(args.only or ()) - set(names):
        parser.error(f"--only: parts are {', '.join(names)}")
    for option in ("seconds", "steps", "peak_tflops"):
        value = getattr(args, option)
        if value is not None and not 0 < value < math.inf:
            parser.error(f"--{option.replace('_', '-')}: must be above 0")
    names = [name for name in names if name in (args.only or names)]
    ends = time.monotonic() + args.seconds
    parts: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(names):
        share = (ends - time.monotonic()) / (len(names) - place)
        _say(f"{name}: up to {share:.0f} s")
        parts[name] = _in_process(args.folder, name, share, args)
    report = _report(manifest, parts, args.peak_tflops)
    report["seconds"] = round(args.seconds - (ends - time.monotonic()), 1)
    _say(_table(report))
    sys.stdout.write(json.dumps(_as_json(report), allow_nan=False) + "\n")
    return 0 if report["checks_passed"] else 1


def _as_json(value: Any) -> Any:
    """The same with null for numbers that are not finite, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _as_json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _report(manifest: dict, parts: dict[str, dict], peak: float | None) -> dict[str, Any]:
    """Facts that all parts share once, the share of the peak, and what to know of the figures."""
    common = {"device": "no device", "platform": None, "jax": jax.__version__}
    for part in parts.values():
        common |= {key: part.pop(key) for key in ("device", "platform", "jax") if key in part}
        if peak and part.get("ms_per_step") and part.get("gflop"):
            part["share_of_peak"] = round(part["gflop"] / part["ms_per_step"] / peak, 5)
    notes = ["Batches lie on the device: what the host needs to make them is not in these times."]
    if common["platform"] == "cpu":
        notes.append("This is a CPU: the times say nothing of a GPU.")
    elif common["platform"]:
        notes.append(
            "Timed with the device's usual products (TF32 where it has them), which are compared "
            "with wider tolerances than the parts of full float32 products."
        )
    kinds = {part["name"]: part["kind"] for part in manifest["parts"]}
    checks = [
        part.get("passed", False)
        for name, part in parts.items()
        if "passed" in part or kinds[name] != "step"
    ]
    return {
        "config": manifest["config"],
        "precision": manifest["precision"],
        **common,
        "checks_passed": all(checks),
        "peak_tflops": peak,
        "parts": parts,
        "notes": notes,
    }


if __name__ == "__main__":
    sys.exit(main())
