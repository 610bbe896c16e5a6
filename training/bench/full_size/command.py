"""`rgan bench full-size`: every command once on data as large as COCO or Visual Genome."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from typing import Any

from rgan_tf import registered_names
from rgan_tf.errors import BadInput
from rgan_tf.options import add_overrides

_KINDS = ("coco", "vg")
_LARGEST_SIDE = 1024  # px, of `rgan prepare`
_STEPS = (
    "make",
    "prepare",
    "train",
    "search",
    "epoch",
    "bank-build",
    "bank-add",
    "bank-remove",
    "bank-verify",
    "export",
    "serve",
    "eval",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "--out",
        required=True,
        help="folder for all that is made; an earlier bench in it is resumed",
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of the real size of the data sets (1)"
    )
    parser.add_argument(
        "--data-sets",
        nargs="+",
        choices=_KINDS,
        default=list(_KINDS),
        help="data sets to imitate (coco vg)",
    )
    parser.add_argument(
        "--steps", nargs="+", choices=_STEPS, default=list(_STEPS), help="steps to do (all)"
    )
    parser.add_argument("--config", default="street_64", help="config to train by (street_64)")
    add_overrides(parser)
    parser.add_argument(
        "--backbone",
        default="mobilenet_v2",
        choices=registered_names.FEATURE_BACKBONES,
        help="network of the patch features, the config's (mobilenet_v2)",
    )
    parser.add_argument("--size", type=int, default=128, help="side of stored images in px (128)")
    parser.add_argument(
        "--train-steps",
        type=int,
        default=2,
        help="number of steps to train each stage for; 2 are enough for a model (2)",
    )
    parser.add_argument(
        "--eval-words",
        default="--split test",
        metavar="WORDS",
        help="options of rgan eval (--split test, which is 2,048 and 5,088 scenes)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the data (0)")


def main(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Does the steps that have no result yet, each in a process of its own.

    The data are synthetic: annotations of the real shape and number, and a dozen small pictures
    under all names. Every result is kept in --out, with a log: stopped and started again, it
    resumes at that step. `results.json` and `results.md` have them all.

    Yields:
      Of each step what it took (`training.bench.full_size.process.Usage`) and what it answered.

    Raises:
      BadInput: if a command fails, an option is out of range, or --out was begun with others.
    """
    from pathlib import Path

    from rgan_tf.arguments import check_least
    from rgan_tf.progress import note
    from rgan_tf.storage.files import write_bytes_atomic, write_json_atomic
    from training.bench.full_size.steps import STEPS, Place, Settings, found_in
    from training.bench.full_size.table import markdown
    from training.configuration import named_config

    if not 0 < args.scale <= 1:
        raise BadInput(f"--scale {args.scale:g}: must be in (0, 1]")
    check_least(args, 1, "train_steps")
    check_least(args, 0, "seed")
    try:
        eval_words = tuple(shlex.split(args.eval_words))
    except ValueError as error:
        raise BadInput(f"--eval-words {args.eval_words}: {error}") from error
    # Else training would refuse them, after hours, and the folder is bound to them.
    config = named_config(args.config, args.overrides)
    if not config.data.image_size <= args.size <= _LARGEST_SIDE:
        raise BadInput(
            f"--size {args.size}: must be in [{config.data.image_size}, {_LARGEST_SIDE}], from "
            f"data.image_size of {args.config} on"
        )
    if config.retrieval.backbone != args.backbone:
        raise BadInput(f"--backbone {args.backbone}: {args.config} has {config.retrieval.backbone}")
    settings = Settings(
        scale=args.scale,
        config=args.config,
        overrides=tuple(args.overrides),
        backbone=args.backbone,
        size=args.size,
        train_steps=args.train_steps,
        eval_words=eval_words,
        seed=args.seed,
    )
    out = Path(args.out)
    places = {kind: Place(out, kind, settings) for kind in _KINDS if kind in args.data_sets}
    for place in places.values():
        for step in STEPS:
            if step in args.steps:
                note(f"{place.kind}: {step}")
                yield place.run(step)
    # Of both data sets, whichever this call was asked for.
    found = {kind: found_in(out / kind) for kind in _KINDS if (out / kind).is_dir()}
    results = [result for _, own in found.values() for result in own]
    settings_of = {kind: own for kind, (own, _) in found.items()}
    write_json_atomic(out / "results.json", {"settings": settings_of, "results": results})
    write_bytes_atomic(out / "results.md", markdown(results).encode())
    note(markdown(results))
