"""`rgan generate`: makes images of scene graphs with an exported model."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from export.signatures import DEFAULT_NAME, MODES, SAMPLE
from rgan_tf.errors import BadInput

_DEFAULT_SAMPLES = 4
_WATCHED_SAMPLES = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "graph",
        help="JSON file with one scene graph, or a list of them; or the JSON that this command "
        "wrote next to a picture, to change that picture",
    )
    parser.add_argument("--model", required=True, help="model folder, or one version in it")
    parser.add_argument("--out", required=True, help="folder to make for the results")
    parser.add_argument(
        "--samples",
        type=int,
        help=f"number of images per graph ({_DEFAULT_SAMPLES}, with --watch "
        f"{_WATCHED_SAMPLES}); each retrieves its own patches",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the first sample; each further sample of a graph takes the next number (0)",
    )
    for option, text in (
        ("--keep", "keep the patches and boxes of these objects, and redraw all others"),
        ("--redraw", "redraw these objects with other patches, and keep all others"),
    ):
        parser.add_argument(
            option,
            nargs="+",
            action="extend",
            default=[],
            metavar="OBJECT",
            help=f"with the JSON of a picture: {text}. Name an object by its category (house), by "
            "its number among several of one category (tree:2 is the second tree), or by its "
            "position in the graph, from 0",
        )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="keep running and redraw whenever the file changes: OUT/0001, OUT/0002, ..., the "
        "newest also as OUT/latest.png; prints one JSON line per picture; Ctrl-C ends it",
    )
    parser.add_argument(
        "--mode",
        choices=MODES,
        default=MODES[SAMPLE],
        help="sample: draw a compatible group of patches; deterministic: take the best group "
        "without noise; nearest: take each object's nearest patch by itself; the last two "
        "make one image per graph (sample)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        help="temperature of the draw of patches; a higher one varies them more (1)",
    )
    parser.add_argument(
        "--allow-repeats",
        action="store_true",
        help="let objects of one image get the same patch while other candidates are free",
    )
    parser.add_argument(
        "--licence",
        action="append",
        metavar="CODES",
        help="retrieve only patches under these licences, such as BY,BY-SA,public-domain; may "
        "be given several times",
    )
    parser.add_argument(
        "--server",
        metavar="URL",
        help="make the images by this server, http://HOST:PORT or grpc://HOST:PORT; of "
        "--model, only assets.extra is needed then",
    )
    parser.add_argument("--name", help="name of the model at the server (retrievegan)")
    parser.add_argument(
        "--timeout-s", type=float, help="seconds to wait for an answer of the server (30)"
    )


def main(args: argparse.Namespace) -> dict[str, Any] | Iterator[dict[str, Any]]:
    """Generates and returns where the pictures are; with --watch again and again."""
    from export.generate import describe_result, read_requests, write_samples
    from export.model_folder import open_contract, open_model
    from export.requests import read_draws
    from export.sample_graph import Edit
    from rgan_tf.bank.licences import LicenceFilter
    from rgan_tf.storage.files import atomic_folder

    started = time.monotonic()
    usual = _WATCHED_SAMPLES if args.watch else _DEFAULT_SAMPLES
    draws = read_draws(
        args.mode, args.samples, args.seed, args.temperature, usual, repeats=args.allow_repeats
    )
    licences = LicenceFilter.parse(args.licence)
    edit = Edit(tuple(args.keep), tuple(args.redraw))
    if args.redraw and args.mode != MODES[SAMPLE]:
        raise BadInput(
            f"--redraw: redraws patches, which --mode {args.mode} does not; use one of them"
        )
    for option in ("name", "timeout_s"):
        if args.server is None and getattr(args, option) is not None:
            raise BadInput(f"--{option.replace('_', '-')}: goes with --server; name one")
    opened = open_model(args.model) if args.server is None else open_contract(args.model)
    draws = [draw.for_model(opened) for draw in draws]

    def read():
        return read_requests(args.graph, opened, licences, edit)

    if args.watch:
        from export.watch import watched

        return watched(
            args.graph, args.out, lambda: _answering(args, opened), read, draws, licences
        )
    requests = read()
    with atomic_folder(args.out) as folder, _answering(args, opened) as answer:
        samples = write_samples(folder, requests, draws, answer)
    return describe_result(Path(args.out), requests, samples, licences, started)


@contextlib.contextmanager
def _answering(args: argparse.Namespace, model) -> Iterator[Any]:
    """Opens what answers a (`Request`, `Draw`): a server if one is named, else the model."""
    if args.server is None:
        from export.saved_model_loading import load_endpoints  # imports TensorFlow

        yield load_endpoints(model)
        return
    from export.client import DEFAULT_TIMEOUT_S, connect

    name = DEFAULT_NAME if args.name is None else args.name
    timeout_s = DEFAULT_TIMEOUT_S if args.timeout_s is None else args.timeout_s
    with connect(args.server, model.folder, name=name, timeout_s=timeout_s) as client:
        yield client.generate
