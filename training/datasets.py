"""The data sets of `rgan prepare`, by the command's options."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rgan_tf.annotations.coco import CocoFilter, read_coco_dataset
from rgan_tf.annotations.visual_genome import GenomeFilter, read_visual_genome_dataset
from rgan_tf.world import draw_world
from training.engine import engine_of

Reader = Callable[[Path], Any]
"""Takes a working folder, returns the `AnnotatedDataset` for `prepare_dataset`."""


def _coco(args: argparse.Namespace) -> Reader:
    keep = CocoFilter(
        require_stuff=not args.allow_missing_stuff,
        min_box_share=args.min_box_share,
        min_objects=args.min_objects,
        max_objects=args.max_objects,
    )
    return lambda folder: read_coco_dataset(
        args.root, keep=keep, seed=args.seed, limit=args.limit, max_bad=args.max_bad
    )


def _procedural(args: argparse.Namespace) -> Reader:
    def draw(folder):
        draw_world(
            folder / "coco",
            images=args.images,
            size=args.size,
            seed=args.seed,
            engine=engine_of(args),
            progress=True,
        )
        return read_coco_dataset(folder / "coco", seed=args.seed, kind="procedural")

    return draw


def _genome(args: argparse.Namespace) -> Reader:
    names = [field.name for field in dataclasses.fields(GenomeFilter)]
    keep = GenomeFilter(**{name: getattr(args, name) for name in names})
    return lambda folder: read_visual_genome_dataset(
        args.root, keep=keep, limit=args.limit, max_bad=args.max_bad
    )


READERS: dict[str, Callable[[argparse.Namespace], Reader]] = {
    "coco": _coco,
    "procedural": _procedural,
    "vg": _genome,
}
