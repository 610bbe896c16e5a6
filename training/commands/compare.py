"""`rgan compare`: systems under one budget and one judge, as a table and a picture."""

from __future__ import annotations

import argparse
from typing import Any

from rgan_tf.errors import BadInput
from rgan_tf.options import add_overrides, add_weights_dir
from rgan_tf.progress import note
from training.compare.entries import ABLATION, BUDGETS, PARTS, SYSTEMS, changes_nothing
from training.configuration import named_config
from training.evaluation.names import JUDGES, own_retrievers

_ABLATIONS = {"losses": ABLATION, "parts": PARTS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="YAML files or shipped names")
    parser.add_argument("--data", required=True, help="folder made by `rgan prepare`")
    parser.add_argument(
        "--out",
        required=True,
        help="folder of runs, table and picture; an earlier comparison in it is resumed",
    )
    parser.add_argument(
        "--systems",
        nargs="+",
        choices=[*SYSTEMS, *ABLATION, *PARTS, *own_retrievers()],  # a list: open to additions
        metavar="SYSTEM",
        help=f"rows per config: {', '.join(SYSTEMS)} (these), {', '.join((*ABLATION, *PARTS))}, "
        "and the retrievers that RGAN_PLUGINS registers",
    )
    parser.add_argument(
        "--ablation",
        nargs="?",
        choices=tuple(_ABLATIONS),
        const="losses",
        help="compare only retrievegan and the same without its retrieval losses (losses: the "
        "paper's table 2), or without each part that is added to the paper (parts)",
    )
    add_overrides(parser, of="every config")
    parser.add_argument(
        "--split",
        default="val",
        choices=("train", "val", "test"),
        help="split to evaluate the systems on (val)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the evaluation (0)")
    parser.add_argument(
        "--resamples",
        type=int,
        default=20,
        help="number of resamples for the intervals, as for `rgan eval` (20)",
    )
    parser.add_argument(
        "--metric-backbone",
        default="mobilenet_v2",
        choices=JUDGES,
        help="network of the distances and scores, as for `rgan eval` (mobilenet_v2)",
    )
    parser.add_argument(
        "--budget",
        default="steps",
        choices=BUDGETS,
        help="steps: all systems train for the same number of joint steps (default); flops: "
        "the rivals train for as many steps as cost the operations of RetrieveGAN's",
    )
    parser.add_argument(
        "--search-rates",
        nargs="+",
        type=float,
        default=[],
        metavar="FACTOR",
        help="every system tries its learning rates times each factor, such as 1 2.5 5, and keeps "
        "the best by the kernel distance on val, of those that draw more than one image; stages 1 "
        "and 2 keep the config's",
    )
    parser.add_argument(
        "--search-steps", type=int, help="number of joint steps of each of these tries (500)"
    )
    parser.add_argument(
        "--further-seeds",
        nargs="+",
        type=int,
        default=[],
        metavar="SEED",
        help="train every system once more with each of these training.seed, on the same first "
        "two stages; the table then has each figure of every seed, and the mean",
    )
    add_weights_dir(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only show what would be trained, with which settings, and how long it may take "
        "(if runs of --out show how fast it goes); writes nothing, except "
        "OUT/step_gflop.json with the operations that --budget flops counted",
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Trains and evaluates what is missing; writes table.md, comparison.json, comparison.png."""
    from training.compare.run import compare

    if args.ablation and args.systems:
        raise BadInput("--ablation: names its rows itself; leave out --systems, or --ablation")
    if args.search_steps is not None and not args.search_rates:
        raise BadInput("--search-steps: only applies to --search-rates; name factors there")
    systems = _rows_of_ablation(args) if args.ablation else args.systems or list(SYSTEMS)
    return compare(
        args.configs,
        args.data,
        args.out,
        systems=systems,
        overrides=args.overrides,
        split=args.split,
        seed=args.seed,
        resamples=args.resamples,
        metric_backbone=args.metric_backbone,
        budget=args.budget,
        search_rates=args.search_rates,
        search_steps=500 if args.search_steps is None else args.search_steps,
        further_seeds=args.further_seeds,
        weights_dir=args.weights_dir,
        dry_run=args.dry_run,
    )


def _rows_of_ablation(args: argparse.Namespace) -> list[str]:
    """The rows of `--ablation`: without each part that one of the configs has at least."""
    configs = [named_config(name, args.overrides) for name in args.configs]
    rows = [
        row
        for row in _ABLATIONS[args.ablation]
        if not all(changes_nothing(config, row) for config in configs)
    ]
    missing = [row for row in _ABLATIONS[args.ablation] if row not in rows]
    if not rows:
        raise BadInput(f"--ablation {args.ablation}: {', '.join(args.configs)} has none of them")
    if missing:
        note(f"no rows {', '.join(missing)}: no config has what they leave out")
    return ["retrievegan", *rows]
