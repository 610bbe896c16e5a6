"""`rgan demo`: runs the whole pipeline on the built-in world, through the user's commands."""

from __future__ import annotations

import argparse
import logging
import shutil
import time
from pathlib import Path
from typing import Any

from rgan_tf import cli
from rgan_tf.errors import BadInput, RganError
from rgan_tf.storage.files import write_bytes_atomic

IMAGES = 300
SIZE = 128  # px, side of the scenes
WORLD_SEED = 11
SAMPLES = 2
SAMPLE_SEED = 7
OUT = "demo"  # usual folder
RELEASED_RUN = "released:procedural_64"
GRAPHS = Path(__file__).parents[1] / "demo_graphs.json"

_MARKER = ".rgan-demo"  # marks a folder that the demo made and may replace
_PARTS = ("world", "model", "pictures")
MODEL = Path(OUT) / _PARTS[1]  # the usual demo's model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "--out", default=OUT, help=f"folder to make; it replaces that of an earlier demo ({OUT})"
    )
    parser.add_argument("--run", default=RELEASED_RUN, help=f"run to export ({RELEASED_RUN})")


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Runs the commands one after another and returns where the pictures are."""
    started = time.monotonic()
    out = Path(args.out)
    claim_folder(out)
    world, model, pictures = (str(out / part) for part in _PARTS)
    drawing = ["--images", str(IMAGES), "--size", str(SIZE), "--seed", str(WORLD_SEED)]
    run_command("prepare", "procedural", *drawing, "--out", world)
    run_command("export", "--run", args.run, "--data", world, "--out", model)
    sampling = ["--samples", str(SAMPLES), "--seed", str(SAMPLE_SEED)]
    run_command("generate", str(GRAPHS), "--model", model, "--out", pictures, *sampling)
    overview = out / "pictures" / "overview.png"
    images = sorted(map(str, (out / "pictures").glob("sample-[0-9][0-9][0-9][0-9].png")))
    logging.getLogger(__name__).info(
        "The demo made %d pictures: look at %s first (layout, retrieved patches, image), then at "
        "%s.",
        len(images),
        overview,
        out / "pictures",
    )
    logging.getLogger(__name__).info(
        "To give the first another house and keep the rest: rgan generate %s --model %s --out %s "
        "--redraw house. rgan vocabulary %s lists what a scene graph of your own may name.",
        out / "pictures" / "sample-0001.json",
        model,
        out.with_name(f"{out.name}-edited"),
        model,
    )
    return {
        "overview": str(overview),
        "images": images,
        "model": model,
        "seconds": round(time.monotonic() - started, 1),
    }


def claim_folder(folder: Path) -> None:
    """Creates the demo's folder, empty except for its marker.

    Raises:
      BadInput: if the path holds anything not made by the demo.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BadInput(f"--out {folder}: is not a folder; name another")
    if folder.is_dir():
        names = {path.name for path in folder.iterdir()}
        # A killed part leaves a hidden sibling.
        foreign = sorted(name for name in names - {*_PARTS, _MARKER} if not _is_partial(name))
        if names and (_MARKER not in names or foreign):
            what = f"holds {foreign[0]}" if foreign else "was not made by rgan demo"
            raise BadInput(f"--out {folder}: {what}; name another folder")
        for name in names - {_MARKER}:
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    write_bytes_atomic(folder / _MARKER, b"made by rgan demo, which replaces this folder\n")


def run_command(*arguments: str) -> None:
    """Runs `rgan` with these arguments in this process; prints its result to standard error.

    Raises:
      RganError: with its exit code if it fails; the command has printed the reason.
    """
    logging.getLogger(__name__).info("$ rgan %s", " ".join(arguments))
    code = cli.main(list(arguments))
    if code:
        error = RganError(f"rgan {arguments[0]} failed; the line above says why")
        error.exit_code = code
        raise error


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith(".partial")
