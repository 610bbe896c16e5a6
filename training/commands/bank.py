"""`rgan bank`: builds, changes and inspects banks of patches."""

from __future__ import annotations

import argparse
import errno
import importlib
import time
from typing import Any

from rgan_tf import registered_names
from rgan_tf.errors import BadInput
from rgan_tf.options import add_weights_dir
from training.engine import add_engine_arguments, engine_of

_MODULES = {
    "build": "build",
    "add": "build",
    "remove": "change",
    "merge": "change",
    "verify": "inspection",
    "info": "inspection",
    "tune": "tune",
}
"""Task -> module of `training.bank` that has a function of the same name, with the options as
arguments."""
_OTHERS = ("command", "task", "version", "runner", "runner_option")  # of the parsed options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares one sub-command per task."""
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")

    def task(name: str, text: str) -> argparse.ArgumentParser:
        return tasks.add_parser(name, help=text, description=text, allow_abbrev=False)

    build = task("build", "make a bank from prepared data, a COCO file or folders of images")
    build.add_argument("--out", required=True, help="bank folder to make")
    _add_sources(build)
    build.add_argument(
        "--like",
        metavar="PLACE",
        help="bank, data folder or run whose names the bank uses, and whose graphs it borrows "
        "for patches without one",
    )
    build.add_argument(
        "--backbone",
        choices=registered_names.FEATURE_BACKBONES,
        help="network of the patch features (mobilenet_v2, or that of --like)",
    )

    add = task("add", "add the patches of a COCO file or folders of images to a bank")
    add.add_argument("bank", help="bank folder")
    _add_sources(add)
    _add_duplicates(add)

    remove = task("remove", "take patches out of a bank")
    remove.add_argument("bank", help="bank folder")
    remove.add_argument("--ids", help="remove these rows, such as 3,17,100-199; later rows move up")
    remove.add_argument(
        "--category",
        action="append",
        default=[],
        dest="categories",
        help="remove all patches of this category; may be given several times",
    )
    remove.add_argument(
        "--source",
        action="append",
        default=[],
        dest="sources",
        help="remove all patches of this source image; may be given several times",
    )
    _add_licences(remove, "remove all patches under these licences, by code, such as BY,BY-SA")

    merge = task("merge", "put banks of one vocabulary and backbone into one")
    merge.add_argument("banks", nargs="+", help="bank folders")
    merge.add_argument("--out", required=True, help="bank folder to make")
    _add_licences(merge)
    _add_duplicates(merge)

    verify = task("verify", "read every byte of a bank and compare")
    verify.add_argument("bank", help="bank folder")

    info = task("info", "count the patches of a bank or an exported model, and show them")
    info.add_argument(
        "bank", metavar="BANK|MODEL", help="bank folder, exported model, or one version of it"
    )
    info.add_argument(
        "--picture",
        metavar="PNG",
        help="also draw some patches of every category, or with --category all patches of that "
        "one, with the ids by which a scene graph names them",
    )
    info.add_argument(
        "--category",
        action="append",
        default=[],
        dest="categories",
        metavar="NAME",
        help="list the ids of all patches of this category; may be given several times",
    )

    tune = task("tune", "find the settings of the ScaNN index of a bank, and keep the index there")
    tune.add_argument("bank", help="bank folder")
    tune.add_argument("--run", required=True, help="run whose graph features the index compares")
    tune.add_argument(
        "--recall",
        type=float,
        default=0.99,
        help="share of the nearest patches that the index must find (0.99)",
    )
    tune.add_argument(
        "--candidates", type=int, help="number of patches per query, K (that of the run's config)"
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Runs the task and returns its result."""
    started = time.monotonic()
    module = importlib.import_module(f"training.bank.{_MODULES[args.task]}")
    try:
        options = {name: value for name, value in vars(args).items() if name not in _OTHERS}
        if args.task == "add" and options.pop("data"):
            raise BadInput("--data: prepared data has a bank; build it and use rgan bank merge")
        if hasattr(args, "runner"):
            options["engine"] = engine_of(args)
        result = getattr(module, args.task)(**options)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            # The error of a full disk does not name the disk, nor does that of a write name a file.
            error.filename = _written_by(args)
        raise
    return {**result, "seconds": round(time.monotonic() - started, 2)}


def _written_by(args: argparse.Namespace) -> str:
    """What the task was writing."""
    names = (getattr(args, name, None) for name in ("picture", "out", "bank"))
    return next(str(name) for name in names if name)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", help="folder made by rgan prepare; its bank is copied")
    parser.add_argument("--coco", metavar="JSON", help="annotations in COCO's format")
    parser.add_argument("--images", metavar="FOLDER", help="folder of the images that --coco names")
    parser.add_argument(
        "--folders",
        metavar="FOLDER",
        help="folder with one folder per category; each image in it becomes a patch",
    )
    _add_licences(parser)
    parser.add_argument(
        "--source-licence",
        default="",
        metavar="NAME",
        help="licence of all images for which the source names none",
    )
    parser.add_argument(
        "--source-url", default="", metavar="URL", help="where the images of --folders come from"
    )
    parser.add_argument(
        "--min-box-share",
        type=float,
        default=0.0,
        help="with --coco, leave out objects whose box covers no more than this share of the "
        "image (0)",
    )
    parser.add_argument(
        "--max-bad",
        type=float,
        default=0.0,
        help="share of images that may be missing, damaged or not as annotated (0)",
    )
    add_weights_dir(parser)
    add_engine_arguments(parser)


def _add_licences(
    parser: argparse.ArgumentParser,
    text: str = "take only patches under these licences, by code, such as BY,BY-SA",
) -> None:
    parser.add_argument("--licence", action="append", dest="licences", metavar="LICENCE", help=text)


def _add_duplicates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--skip-duplicates", action="store_true", help="leave out patches that are already there"
    )
