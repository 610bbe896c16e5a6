"""`rgan bench cost`: what one joint step computes, holds and reads, from a config alone."""

from __future__ import annotations

import argparse
from typing import Any

from rgan_tf.options import add_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_config(parser)
    parser.add_argument(
        "--categories",
        type=int,
        default=171,
        help="number of categories of the vocabulary (171, as COCO-Stuff)",
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Counts without data and without the weights of pretrained networks; nothing is timed.

    Returns:
      `gflop_per_scene` (of a step up to the gradients, all places of a scene taken, as with
      `training.jit_compile`), `sg2im_gflop_per_scene` (the same of stage 1),
      `input_megabytes_per_scene` (what goes to the device), `million_weights` (of both sides),
      `trained_variables`, `state_megabytes` (with the moving average and the moments of both
      optimisers).

    Raises:
      BadInput: if the config trains a rival or reads its candidates during the step, or a number is
        below 1.
    """
    from rgan_tf.arguments import check_least
    from rgan_tf.errors import BadInput
    from rgan_tf.progress import note
    from training.bench.joint_cost import joint_cost
    from training.bench.joint_step import check_system
    from training.configuration import named_config

    check_least(args, 1, "categories")
    config = named_config(args.config, args.overrides)
    check_system(config)
    if config.retrieval.candidates > config.retrieval.exact_candidates:
        raise BadInput(
            f"config {config.name}: reads candidates during the step, which is not counted; set "
            "retrieval.exact_candidates to retrieval.candidates"
        )
    note("tracing")
    return {"config": config.name, **joint_cost(config, args.categories)}
