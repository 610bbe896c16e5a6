"""`rgan bench input`: the pipeline of the joint stage alone, from memory and from the disk."""

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

    "Memory" is a pipeline that has been read once. "Disk" is a new one whose files have been
    dropped from the system's memory: its images are in memory, as `SceneStore` holds up to a
    gigabyte of them, and its patches are not.

    Returns:
      `workers`, `batch_size`, `batch_mb`; for `memory` and `disk`: `scenes_per_second`,
      `processor_ms` per scene of all workers together, and `read_mb` from the disk per scene.

    Raises:
      BadInput: for a number below 1, or data that does not fit the config.
    """
    import gc
    import statistics
    import time

    from rgan_tf.arguments import check_least
    from rgan_tf.data.pipeline import worker_count
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.progress import note
    from training.api import check_data_fits
    from training.bench.disk import bytes_read, drop_from_memory
    from training.bench.joint_step import random_table, training_batches
    from training.configuration import named_config

    check_least(args, 1, "batches", "repetitions")
    config = named_config(args.config, args.overrides)
    size = config.training.batch_size
    bytes_read()  # before anything long: not every system counts them

    def pipeline():
        data = PreparedData.open(args.data)
        check_data_fits(config, data)
        batches = iter(training_batches(config, data, random_table(config, data)))
        return data, batches

    def measured(batches) -> dict[str, float]:
        before, start, processor = bytes_read(), time.perf_counter(), time.process_time()
        for _ in range(args.batches):
            next(batches)
        seconds = time.perf_counter() - start
        scenes = args.batches * size
        return {
            "scenes_per_second": scenes / seconds,
            "processor_ms": 1e3 * (time.process_time() - processor) / scenes,
            "read_mb": (bytes_read() - before) / 2**20 / scenes,
        }

    found: dict[str, list[dict[str, float]]] = {"memory": [], "disk": []}
    for repetition in range(args.repetitions):
        data, batches = pipeline()
        drop_from_memory(data.folder)
        found["disk"].append(measured(batches))
        for _ in range(args.batches):
            batch = next(batches)
        found["memory"].append(measured(batches))
        megabytes = sum(value.numpy().nbytes for value in batch.values()) / 2**20
        del data, batches, batch
        gc.collect()
        rates = (f"{found[kind][-1]['scenes_per_second']:.0f} from {kind}" for kind in found)
        note(f"repetition {repetition + 1}: scenes per second {', '.join(rates)}")
    return {
        "config": config.name,
        "workers": worker_count(),
        "batch_size": size,
        "batch_mb": round(megabytes, 1),
        **{
            kind: {
                key: round(statistics.median(each[key] for each in values), 2) for key in values[0]
            }
            for kind, values in found.items()
        },
    }
