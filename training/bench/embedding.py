"""`rgan bench embedding`: builds a bank, and compares with the backbone alone."""

from __future__ import annotations

import argparse
from typing import Any

from rgan_tf.options import add_weights_dir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "--coco",
        metavar="JSON",
        required=True,
        help="annotations in COCO's format, by which the patches are cut out",
    )
    parser.add_argument(
        "--images", metavar="FOLDER", required=True, help="folder of the images that --coco names"
    )
    parser.add_argument("--limit", type=int, help="use at most this many images (all)")
    parser.add_argument(
        "--repetitions",
        type=int,
        default=3,
        help="number of repetitions, whose median is reported (3)",
    )
    parser.add_argument(
        "--backbone", default="mobilenet_v2", help="network of the patch features (mobilenet_v2)"
    )
    add_weights_dir(parser)


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Alternately builds a bank and embeds its crops again.

    Returns:
      `patches`, `images`, `build_patches_per_second` (reading, cutting, embedding, writing),
      `backbone_patches_per_second` (embedding alone), `share_of_backbone_speed`.
    """
    import dataclasses
    import statistics
    import tempfile
    import time
    from pathlib import Path

    from rgan_tf.arguments import check_least
    from rgan_tf.backbones import load_backbone
    from rgan_tf.bank.build import build_rows
    from rgan_tf.bank.licences import LicenceFilter
    from rgan_tf.bank.patch_bank import PatchBank
    from rgan_tf.bank.patch_queue import EMBEDDING_BATCH, embed_patches
    from rgan_tf.bank.sources import coco_source
    from rgan_tf.progress import note
    from rgan_tf.vocabulary import Vocabulary

    check_least(args, 1, "repetitions", "limit")
    source = coco_source(args.coco, args.images)
    source = dataclasses.replace(source, images=source.images[: args.limit])
    backbone = load_backbone(args.backbone, args.weights_dir)
    vocabulary = Vocabulary.from_categories(source.categories)
    building, alone, patches = [], [], 0
    for repetition in range(-1, args.repetitions):  # the first one traces and does not count
        with tempfile.TemporaryDirectory(prefix="rgan-bench-") as folder:
            start = time.perf_counter()
            build_rows(
                source,
                Path(folder),
                backbone=backbone,
                vocabulary=vocabulary,
                licences=LicenceFilter(),
                progress=False,
            )
            built = time.perf_counter() - start
            crops = PatchBank.open(Path(folder) / "bank").crops[:]
        start = time.perf_counter()
        for first in range(0, len(crops), EMBEDDING_BATCH):
            embed_patches(backbone, crops[first : first + EMBEDDING_BATCH])
        embedded = time.perf_counter() - start
        patches = len(crops)
        if repetition >= 0:
            building.append(built)
            alone.append(embedded)
            times = f"built in {built:.1f} s, embedded in {embedded:.1f} s"
            note(f"repetition {repetition + 1}: {times}")
    ratios = [one / other for one, other in zip(alone, building, strict=True)]
    return {
        "patches": patches,
        "images": len(source.images),
        "backbone": backbone.name,
        "build_patches_per_second": round(patches / statistics.median(building), 1),
        "backbone_patches_per_second": round(patches / statistics.median(alone), 1),
        "share_of_backbone_speed": round(statistics.median(ratios), 3),
    }
