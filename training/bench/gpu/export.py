"""`rgan bench gpu-export`: writes the joint step for a machine with JAX and no TensorFlow."""

from __future__ import annotations

import argparse
from typing import Any

from rgan_tf.options import add_config, add_weights_dir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_config(parser)
    parser.add_argument("--data", required=True, help="folder made by `rgan prepare`")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder to make")
    parser.add_argument(
        "--batch-sizes",
        type=int,
        nargs="+",
        default=[8, 32, 64],
        metavar="B",
        help="batch sizes to export the step for, in scenes (8 32 64)",
    )
    parser.add_argument(
        "--batches", type=int, default=2, help="number of different batches of each size (2)"
    )
    parser.add_argument(
        "--candidates",
        type=int,
        nargs="+",
        default=[32, 1024],
        metavar="K",
        help="numbers of candidates to check gumbel_group_select with (32 1024)",
    )
    add_weights_dir(parser)


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Writes programs, state, batches, expected figures and the script that runs them.

    The programs are what XLA makes of the joint step for one device, before its compilation, so
    that a GPU compiles them for itself. Weights are untrained and candidates random, since the cost
    of a step depends on neither. `python FOLDER/run_on_jax.py --help` tells the rest.

    Returns:
      `out`, `megabytes`, `parts` (names), `script`.

    Raises:
      BadInput: if a number is below 1, the folder exists, the data does not fit, or the step needs
        what only TensorFlow has.
    """
    from pathlib import Path

    import tensorflow as tf

    from rgan_tf.arguments import check_least
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.storage.files import atomic_folder
    from training.api import check_data_fits
    from training.bench.gpu.joint import add_joint_steps
    from training.bench.gpu.package import SCRIPT, Package
    from training.bench.gpu.selection import add_selection
    from training.configuration import named_config

    check_least(args, 1, "batches", "batch_sizes", "candidates")
    config = named_config(args.config, args.overrides)
    data = PreparedData.open(args.data)
    check_data_fits(config, data)
    out = Path(args.out)
    with atomic_folder(out) as folder, tf.device("CPU:0"):
        package = Package(folder)
        for candidates in sorted(set(args.candidates)):
            add_selection(package, config, candidates)
        add_joint_steps(
            package,
            config,
            data,
            sorted(set(args.batch_sizes)),
            batches=args.batches,
            weights_dir=args.weights_dir,
        )
        manifest = package.close(
            config=config.name,
            image_size=config.data.image_size,
            precision=config.training.precision,
            tensorflow=tf.__version__,
        )
    size = sum(file["bytes"] for file in manifest["files"].values())
    return {
        "out": str(out),
        "megabytes": round(size / 1e6, 1),
        "parts": [part["name"] for part in manifest["parts"]],
        "script": str(out / SCRIPT),
    }
