"""`rgan bench selection`: trains φ by the selection loss alone, in each of its forms."""

from __future__ import annotations

import argparse
import math
from typing import Any

from rgan_tf.arguments import check_least
from rgan_tf.errors import BadInput
from rgan_tf.options import add_weights_dir
from training.bench.selection_variants import VARIANTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--run", required=True, help="run whose first two stages are used")
    parser.add_argument("--data", help="folder made by `rgan prepare` (that of the run)")
    parser.add_argument(
        "--also", nargs="+", default=[], metavar="DATA", help="also judge on these prepared folders"
    )
    parser.add_argument(
        "--split",
        default="val",
        choices=("val", "test"),
        help="split that the figures are measured on (val)",
    )
    parser.add_argument(
        "--variants",
        nargs="+",
        default=list(VARIANTS),
        metavar="NAME",
        help=f"forms of the selection loss to train with (all): {', '.join(VARIANTS)}",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=1000,
        help="number of steps that φ is trained for, per variant (1000)",
    )
    parser.add_argument("--scenes", type=int, default=32, help="number of scenes per step (32)")
    parser.add_argument(
        "--learning-rate", type=float, default=5e-4, help="learning rate of φ (0.0005)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the training (0)")
    add_weights_dir(parser)


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Trains φ by the selection loss alone, once per variant, and measures its retrieval.

    No image is generated, so a variant takes minutes; the joint stage trains φ by eight more
    losses. The candidates come from the run's encoder. Settings that a variant does not name are
    the run's.

    Returns:
      `variants`: name -> `loss` (mean of the last tenth of the steps), `scale` (α at the end),
      the metrics of `rgan eval --only retrieval` for the trained φ (its moving average) and, in
      `also`, those on each further folder; `others` holds those of the simpler selections.

    Raises:
      BadInput: for an unknown variant or a number that is not positive.
    """
    from rgan_tf.runs import open_run
    from training.bench.selection_training import compare_variants
    from training.evaluation.inputs import check_seed, open_data_of

    check_least(args, 1, "steps", "scenes")
    if not 0 < args.learning_rate < math.inf:
        raise BadInput(f"--learning-rate {args.learning_rate:g}: must be above 0 and finite")
    check_seed(args.seed)
    unknown = sorted(set(args.variants) - set(VARIANTS))
    if unknown:
        raise BadInput(f"--variants {unknown[0]}: unknown; known are {', '.join(VARIANTS)}")
    run = open_run(args.run)
    data = open_data_of(run, args.run, args.data)
    also = {name: open_data_of(run, args.run, name) for name in args.also}
    return compare_variants(args, run, data, also)
