"""`rgan bench input`: the input pipeline of the joint stage alone."""

from __future__ import annotations

import argparse
from typing import Any

from rgan_tf.options import add_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_config(parser)
    parser.add_argument("--data", required=True, help="folder made by `rgan prepare`")
    parser.add_argument(
        "--batches", type=int, default=50, help="number of batches in a measurement (50)"
    )
    parser.add_argument(
        "--repetitions", type=int, default=3, help="number of measurements, whose median counts (3)"
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Times batches that nobody computes with; their candidates are random, and known already.

    What it reads is in memory after the first repetition, if it fits; `rgan bench crops` tells what
    a disk adds.

    Returns:
      `workers`, `batch_size`, `batch_mb`, `scenes_per_second` and `processor_ms` per scene, of all
      workers together; medians.

    Raises:
      BadInput: for a number below 1, or data that does not fit the config.
    """
    import statistics
    import time

    from rgan_tf.arguments import check_least
    from rgan_tf.data.pipeline import worker_count
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.progress import note
    from training.api import check_data_fits
    from training.bench.joint_step import random_table, skip_made_ahead, training_batches
    from training.configuration import named_config

    check_least(args, 1, "batches", "repetitions")
    config = named_config(args.config, args.overrides)
    size = config.training.batch_size
    data = PreparedData.open(args.data)
    check_data_fits(config, data)
    batches = iter(training_batches(config, data, random_table(config, data)))
    megabytes = sum(value.numpy().nbytes for value in next(batches).values()) / 2**20
    rates, processor = [], []
    for repetition in range(args.repetitions):
        skip_made_ahead(batches)
        start, processor_start = time.perf_counter(), time.process_time()
        for _ in range(args.batches):
            next(batches)
        scenes = args.batches * size
        rates.append(scenes / (time.perf_counter() - start))
        processor.append(1e3 * (time.process_time() - processor_start) / scenes)
        note(f"repetition {repetition + 1}: {rates[-1]:.0f} scenes per second")
    return {
        "config": config.name,
        "workers": worker_count(),
        "batch_size": size,
        "batch_mb": round(megabytes, 1),
        "scenes_per_second": round(statistics.median(rates), 1),
        "processor_ms": round(statistics.median(processor), 2),
    }
