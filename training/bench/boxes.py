"""`rgan bench boxes`: effect of instance codes and the overlap loss on the box predictor."""

from __future__ import annotations

import argparse
from typing import Any

from rgan_tf.arguments import check_least
from rgan_tf.errors import BadInput

VARIANTS = {
    name: {"graph": {"instance_codes": codes}, "losses": {"box_overlap": overlap}}
    for name, codes, overlap in (
        ("plain", False, 0.0),
        ("overlap", False, 1.0),
        ("codes", True, 0.0),
        ("codes_and_overlap", True, 1.0),
    )
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("config", help="a YAML file, or the name of a shipped config")
    parser.add_argument("--data", required=True, help="folder made by `rgan prepare`")
    parser.add_argument(
        "--keep",
        type=float,
        default=0.5,
        help="probability that an object keeps its relationships; the others stand alone (0.5)",
    )
    parser.add_argument(
        "--steps", type=int, default=1000, help="number of training steps per variant (1000)"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="number of scenes per step (32)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training (0)")


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Trains encoder and box predictor alone with every variant and evaluates them on val.

    Returns:
      For every variant the metrics of `rgan eval --only layout`, without their prefix.

    Raises:
      BadInput: if an option is out of range, or the data has no val split.
    """
    from rgan_tf.config import changed
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.progress import note
    from training.bench.box_training import measure
    from training.configuration import named_config
    from training.evaluation.inputs import check_seed

    check_least(args, 1, "steps", "batch_size")
    if not 0 < args.keep <= 1:
        raise BadInput(f"--keep {args.keep:g}: must be above 0 and at most 1")
    check_seed(args.seed)
    config = named_config(args.config)
    data = PreparedData.open(args.data)
    if not data.record_count("val"):
        raise BadInput(f"--data {args.data}: has no val scenes to evaluate on")
    result: dict[str, Any] = {"config": config.name, "keep": args.keep, "steps": args.steps}
    for name, variant in VARIANTS.items():
        result[name] = measure(
            changed(config, **variant),
            data,
            steps=args.steps,
            rows=args.batch_size,
            keep=args.keep,
            seed=args.seed,
        )
        iou = result[name]["box_iou"]
        note(f"{name}: mean overlap {iou:.3f}")
    return result
