"""`rgan bench retrieval`: cost of many candidates, and effect of truncation."""

from __future__ import annotations

import argparse
from typing import Any

from rgan_tf.arguments import check_least
from rgan_tf.errors import BadInput
from rgan_tf.options import add_weights_dir

CANDIDATES = (10, 100, 1000, 4096)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "--data", help="folder made by `rgan prepare`; without it no training step is measured"
    )
    parser.add_argument(
        "--config", default="procedural_64", help="config of the training step (procedural_64)"
    )
    parser.add_argument(
        "--repetitions",
        type=int,
        default=3,
        help="number of repetitions, whose median is reported (3)",
    )
    parser.add_argument(
        "--steps", type=int, default=16, help="number of timed pairs of training steps (16)"
    )
    parser.add_argument(
        "--gradients",
        action="store_true",
        help="measure no times, but the gradients that a selection can have; for a run with "
        "checkpoints also compare truncated with full gradients, and cached with fresh "
        "embeddings",
    )
    parser.add_argument("--run", help="with --gradients: the trained run")
    parser.add_argument(
        "--draws", type=int, default=16, help="with --gradients: number of draws of the noise (16)"
    )
    parser.add_argument(
        "--untrained",
        action="store_true",
        help="with --gradients: take φ as it was before training",
    )
    parser.add_argument(
        "--candidates",
        type=int,
        default=128,
        help="with --gradients: number of candidates of the full gradient, K (128)",
    )
    parser.add_argument(
        "--batches", type=int, default=8, help="with --gradients: number of batches (8)"
    )
    add_weights_dir(parser)


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Times both layers for every K, or compares gradients.

    Every case runs in its own process, so that its peak of memory is its own; the two training
    steps whose times are compared alternate within one process.

    Returns:
      `layers`: one entry per K and layer; seconds are medians, memory is the peak growth in MB.
      `speedup_vs_naive_k1000` and `memory_ratio_vs_naive_k1000`: naive over ours, forward and
      backward. `step_time_ratio_k1024_k10`, `step_memory_ratio_k1024_k10`: of the joint training
      step. What could not be measured is null, with a reason in `skipped`.
    """
    check_least(args, 1, "repetitions", "steps", "batches", "candidates")
    check_least(args, 2, "draws")
    if args.gradients:
        from training.bench.gradients import compare_both

        if not args.run:
            raise BadInput("rgan bench retrieval --gradients: name a trained run with --run")
        return compare_both(
            args.run,
            args.data,
            draws=args.draws,
            untrained=args.untrained,
            candidates=args.candidates,
            batches=args.batches,
            weights_dir=args.weights_dir,
        )

    from training.bench.memory import available
    from training.bench.retrieval_process import naive_megabytes, run_case

    layers, skipped = [], []
    for candidates in CANDIDATES:
        for layer in ("naive", "ours"):
            name = f"{layer}_k{candidates}"
            needed, free = naive_megabytes(candidates), available()
            if layer == "naive" and needed >= free:
                skipped.append(f"{name}: needs about {needed} MB of memory, {free} are available")
                continue
            options = {"layer": layer, "candidates": candidates}
            figures = {}
            try:
                for work in ("forward", "forward_backward"):
                    timed = {**options, "work": work, "repetitions": args.repetitions}
                    figures |= run_case("layer", timed)
            except MemoryError as error:
                skipped.append(f"{name}: {error}")
                continue
            layers.append({**options, **figures})
    result: dict[str, Any] = {
        "batch_size": 16,
        "objects": 9,
        "layers": layers,
        "speedup_vs_naive_k1000": _naive_over_ours(layers, 1000, "forward_backward_seconds"),
        "memory_ratio_vs_naive_k1000": _naive_over_ours(layers, 1000, "forward_backward_peak_mb"),
        "step_time_ratio_k1024_k10": None,
        "step_memory_ratio_k1024_k10": None,
    }
    if args.data:
        result |= _steps(args, run_case)
    else:
        skipped.append("training step: no --data")
    return {**result, "skipped": skipped}


def _steps(args: argparse.Namespace, run_case) -> dict[str, Any]:
    """Time and memory of the joint step with 10 and with 1024 candidates."""
    common = {"data": args.data, "config": args.config, "weights_dir": args.weights_dir}
    times = run_case("step_times", {**common, "candidates": [10, 1024], "steps": args.steps})
    peaks = [
        run_case("step_memory", {**common, "candidates": candidates})["peak_mb"]
        for candidates in (10, 1024)
    ]
    return {
        "step_time_ratio_k1024_k10": times["ratio"],
        "step_memory_ratio_k1024_k10": round(peaks[1] / peaks[0], 3),
        "step_seconds": {"k10": times["seconds"][0], "k1024": times["seconds"][1]},
        "step_peak_mb": {"k10": peaks[0], "k1024": peaks[1]},
    }


def _naive_over_ours(layers: list[dict], candidates: int, figure: str) -> float | None:
    values = {
        entry["layer"]: entry[figure] for entry in layers if entry["candidates"] == candidates
    }
    return round(values["naive"] / values["ours"], 2) if len(values) == 2 else None
