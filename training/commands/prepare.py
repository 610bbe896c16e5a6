"""`rgan prepare`: turns images and annotations into a data folder for `rgan train`."""

from __future__ import annotations

import argparse
import time
from typing import Any

from rgan_tf import registered_names
from rgan_tf.arguments import check_least
from rgan_tf.options import add_weights_dir
from training.engine import add_engine_arguments, engine_of

_SHOWN = 3  # bad images named in the result; the manifest has them all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the data sets, each with its options."""
    datasets = parser.add_subparsers(dest="dataset", metavar="DATASET", required=True)

    coco = _add_dataset(datasets, "coco", "COCO 2017 with stuff annotations")
    coco.add_argument("--root", required=True, help="folder of annotations/ and images/")
    coco.add_argument(
        "--allow-missing-stuff",
        action="store_true",
        help="also use images without stuff annotations",
    )
    coco.add_argument("--limit", type=int, help="use at most this many images per split (all)")
    coco.add_argument(
        "--min-box-share",
        type=float,
        default=0.02,
        help="leave out objects whose box covers no more than this share of the image (0.02)",
    )
    _add_object_counts(coco, 3, 8)

    procedural = _add_dataset(datasets, "procedural", "the built-in world, drawn here")
    procedural.add_argument(
        "--images", type=int, default=2000, help="number of images to draw (2000)"
    )
    procedural.add_argument(
        "--workers",
        type=int,
        default=1,
        help="number of processes on this machine (1); above 1 stands for --runner "
        "DirectRunner --runner-option direct_num_workers=WORKERS",
    )

    genome = _add_dataset(datasets, "vg", "Visual Genome 1.4")
    genome.add_argument("--root", required=True, help="folder of the JSON files and images/")
    genome.add_argument("--limit", type=int, help="use at most this many images per split (all)")
    genome.add_argument(
        "--min-image-size",
        type=int,
        default=200,
        help="leave out images whose shorter side has fewer px (200)",
    )
    genome.add_argument(
        "--min-category-count",
        type=int,
        default=2000,
        help="leave out categories with fewer training objects (2000)",
    )
    genome.add_argument(
        "--min-predicate-count",
        type=int,
        default=500,
        help="leave out predicates with fewer training relationships (500)",
    )
    genome.add_argument(
        "--min-object-size",
        type=int,
        default=32,
        help="leave out objects with a box side of fewer px (32)",
    )
    _add_object_counts(genome, 3, 30)
    genome.add_argument(
        "--min-relationships",
        type=int,
        default=1,
        help="leave out images with fewer kept relationships (1)",
    )
    genome.add_argument(
        "--max-relationships",
        type=int,
        default=30,
        help="leave out images with more kept relationships (30)",
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Prepares the chosen data set and returns a summary of the folder."""
    from rgan_tf.data.prepare import prepare_dataset
    from training.datasets import READERS

    check_least(args, 1, "limit", "images", "workers")
    check_least(args, 0, "seed")
    engine = engine_of(args)
    started = time.monotonic()
    manifest = prepare_dataset(
        READERS[args.dataset](args),
        args.out,
        image_size=args.size,
        backbone=args.backbone,
        weights_dir=args.weights_dir,
        seed=args.seed,
        max_bad=args.max_bad,
        engine=engine,
    )
    return {
        "data": str(args.out),
        "dataset": manifest["dataset"],
        "images": {split: counts["images"] for split, counts in manifest["splits"].items()},
        "patches": {split: counts["objects"] for split, counts in manifest["splits"].items()},
        "image_size": manifest["image_size"],
        "backbone": manifest["backbone"],
        "bad_images": len(manifest["bad_images"]),
        "first_bad_images": manifest["bad_images"][:_SHOWN],
        "renumbered_images": manifest["renumbered_images"],
        "skipped": manifest["skipped"],
        "skipped_first": manifest["skipped_first"],
        "seconds": round(time.monotonic() - started, 1),
    }


def _add_object_counts(parser: argparse.ArgumentParser, least: int, most: int) -> None:
    parser.add_argument(
        "--min-objects",
        type=int,
        default=least,
        help=f"leave out images with fewer kept objects ({least})",
    )
    parser.add_argument(
        "--max-objects",
        type=int,
        default=most,
        help=f"leave out images with more kept objects ({most})",
    )


def _add_dataset(datasets, name: str, text: str) -> argparse.ArgumentParser:
    parser = datasets.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.add_argument("--out", required=True, help="data folder to make")
    parser.add_argument("--size", type=int, default=128, help="side of stored images in px (128)")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the relationships and of the built-in world (0)",
    )
    parser.add_argument(
        "--backbone",
        default="mobilenet_v2",
        choices=registered_names.FEATURE_BACKBONES,
        help="network of the patch features: mobilenet_v2 (default), resnet50 or squeezenet",
    )
    add_weights_dir(parser)
    parser.add_argument(
        "--max-bad",
        type=float,
        default=0.0,
        help="share of images that may be missing, damaged or not as annotated (0)",
    )
    add_engine_arguments(parser)
    return parser
