"""`rgan eval`: evaluates a run; writes one JSON, one metrics.jsonl line and pictures."""

from __future__ import annotations

import argparse
from typing import Any

from rgan_tf.options import add_weights_dir
from rgan_tf.registered_names import RETRIEVERS
from training.evaluation.names import (
    JUDGES,
    SYSTEMS,
    TASKS,
    diversity_networks,
    own_retrievers,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--run", required=True, help="run folder or released:NAME")
    parser.add_argument("--data", help="prepared data; default: what the run was trained on")
    parser.add_argument(
        "--split",
        default="val",
        choices=("train", "val", "test", "all"),
        help="split to evaluate; all evaluates each in turn (val)",
    )
    parser.add_argument("--only", choices=TASKS, help="run one task only")
    parser.add_argument(
        "--system",
        action="append",
        choices=[*SYSTEMS, *own_retrievers()],  # a list: open to additions
        dest="systems",
        help="judge the images of this system only; may be given several times",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random retrieval and of the intervals (0)"
    )
    parser.add_argument(
        "--resamples",
        type=int,
        default=20,
        help="number of resamples for the intervals of distances, with 50 times as many for "
        "means; 0 gives no intervals (20)",
    )
    parser.add_argument(
        "--out",
        help="folder for metrics and pictures (the run folder; for a released run they are "
        "written only with --out)",
    )
    parser.add_argument(
        "--save-images", metavar="FOLDER", help="also write every judged image as PNG, by system"
    )
    parser.add_argument(
        "--metric-backbone",
        default="mobilenet_v2",
        choices=JUDGES,
        help="network of the distances and scores; inception_v3 makes them FID, KID and IS "
        "(mobilenet_v2)",
    )
    parser.add_argument(
        "--diversity-network",
        default="mobilenet_v2",
        choices=diversity_networks(),  # a list: open to additions
        help="network of the distance between two samples of a graph; those named lpips_* have "
        "learned heads (mobilenet_v2)",
    )
    parser.add_argument(
        "--without-repeats",
        action="store_true",
        help="retrieve as rgan generate does: no patch twice in a scene while others are free; "
        "results go only to --out",
    )
    parser.add_argument(
        "--choice",
        choices=RETRIEVERS,
        help="choose patches for the run's generator by this retriever; results go only to --out",
    )
    parser.add_argument(
        "--without-noise",
        action="store_true",
        help="choose the most probable patches; results go only to --out",
    )
    parser.add_argument(
        "--batch-size", type=int, default=16, help="number of scenes per batch (16)"
    )
    add_weights_dir(parser)


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluates one split, or every one of them with `--split all`."""
    from training.evaluation.evaluate import evaluate

    return evaluate(
        args.run,
        args.data,
        split=args.split,
        only=args.only,
        systems=args.systems,
        seed=args.seed,
        resamples=args.resamples,
        out=args.out,
        save_images=args.save_images,
        metric_backbone=args.metric_backbone,
        diversity_network=args.diversity_network,
        repeats=not args.without_repeats,
        retriever=args.choice,
        noise=not args.without_noise,
        batch_size=args.batch_size,
        weights_dir=args.weights_dir,
    )
