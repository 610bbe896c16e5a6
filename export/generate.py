"""`rgan generate`: scene graphs to images, with an exported model and nothing else."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from export.signatures import DEFAULT_NAME, MODES, SAMPLE

_DEFAULT_SAMPLES = 4
_WATCHED_SAMPLES = 1
_MAX_SAMPLES = 1000


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
        help=f"images per graph ({_DEFAULT_SAMPLES}, with --watch {_WATCHED_SAMPLES}); each "
        "retrieves anew",
    )
    parser.add_argument("--seed", type=int, default=0, help="of sample 1; sample i has seed+i-1")
    for option, text in (
        ("--keep", "keep the patches and boxes of these objects, and draw all others anew"),
        ("--redraw", "draw these objects anew, with other patches, and keep all others"),
    ):
        parser.add_argument(
            option,
            nargs="+",
            action="extend",
            default=[],
            metavar="OBJECT",
            help=f"of the picture whose JSON is given: {text}. An object is named by its category "
            "(house); where several have it, by its number among them (tree:2 is the second "
            "tree); or by its position in the graph, from 0 (3)",
        )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="stay, and draw again whenever the file changes: OUT/0001, OUT/0002, ..., the newest "
        "also as OUT/latest.png; prints one JSON line per picture; Ctrl-C ends it",
    )
    parser.add_argument(
        "--mode",
        choices=MODES,
        default=MODES[SAMPLE],
        help="draw a compatible group of patches; the best group without noise; or each object's "
        "nearest patch by itself; the last two make one image per graph (sample)",
    )
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="of the draw; higher varies more (1)"
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
        help="retrieve only patches under these, such as BY,BY-SA,public-domain; may be repeated",
    )
    parser.add_argument(
        "--server",
        metavar="URL",
        help="http://HOST:PORT or grpc://HOST:PORT that makes the images; of --model, only "
        "assets.extra is needed then",
    )
    parser.add_argument("--name", help="of the model at the server (retrievegan)")
    parser.add_argument("--timeout-s", type=float, help="for a request to the server (30)")


def main(args: argparse.Namespace) -> dict[str, Any] | Iterator[dict[str, Any]]:
    """Generates and returns where the pictures are; with --watch again and again."""
    from export.model_folder import open_contract, open_model
    from export.sample_graph import Edit
    from rgan_tf.bank.licences import LicenceFilter
    from rgan_tf.errors import BadInput
    from rgan_tf.storage.files import atomic_folder

    started = time.monotonic()
    usual = _WATCHED_SAMPLES if args.watch else _DEFAULT_SAMPLES
    draws = read_draws(
        args.mode, args.samples, args.seed, args.temperature, usual, repeats=args.allow_repeats
    )
    licences = LicenceFilter.parse(args.licence)
    edit = Edit(tuple(args.keep), tuple(args.redraw))
    if args.redraw and args.mode != MODES[SAMPLE]:
        raise BadInput(f"--redraw: draws patches, which --mode {args.mode} does not; leave one")
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


def write_samples(folder: Path, requests, draws, answer) -> list[Any]:
    """Draws every request and writes its files and an overview.

    Args:
      folder: that exists.
      requests: `Requests`.
      draws: `Draw` of every sample of a graph.
      answer: of (`Request`, `Draw`).

    Returns:
      A `Sample` for each.

    Raises:
      BadInput: if an object that is drawn anew got its old patch again and again.
    """
    from export.edits import answer_edit
    from export.result_folder import write_overview, write_sample

    samples = []
    model = requests.model
    for request in requests.rows:
        for draw in draws:
            reply = answer_edit(answer, request, draw, len(draws))
            samples.append(write_sample(folder, len(samples) + 1, request, reply, draw, model))
    write_overview(folder, samples)
    return samples


def describe_result(out: Path, requests, samples, licences, started: float) -> dict[str, Any]:
    """What the command says of its pictures.

    Args:
      out: where they are.
      requests: `Requests`.
      samples: as `write_samples` returns them.
      licences: the `LicenceFilter`.
      started: `time.monotonic()` at the beginning.
    """
    from export.notices import PatchNotices

    model = requests.model
    notices = PatchNotices(model, licences)
    for sample in samples:
        notices.add(sample.description)
    notices.tell()
    return {
        "out": str(out),
        "overview": str(out / "overview.png"),
        "images": [str(out / sample.image_name) for sample in samples],
        "graphs": len(requests.rows),
        **notices.result(),
        "contradictions": [
            {"graph": request.index, **one.to_json()}
            for request in requests.rows
            for one in contradictions_of(request)
        ],
        "model": str(model.folder),
        "seconds": round(time.monotonic() - started, 1),
    }


def contradictions_of(request) -> list[Any]:
    """The `Contradiction`s of a request's graph as the user wrote it."""
    from rgan_tf.contradictions import contradictions

    return contradictions(request.graph)


def read_draws(
    mode: str,
    samples: int | None,
    first: int,
    temperature: float,
    usual: int = _DEFAULT_SAMPLES,
    *,
    repeats: bool = False,
):
    """The `Draw` of every sample of a graph.

    Args:
      mode: name of a mode.
      samples: how many, None for `usual`.
      first: seed of the first sample.
      temperature: of all.
      usual: how many where nothing is asked for.
      repeats: whether objects may get the same patch while others are free.

    Raises:
      BadInput: if a number is out of range, or does not go with the mode.
    """
    from export.requests import Draw
    from export.signatures import MAX_SEED, MAX_TEMPERATURE
    from rgan_tf.errors import BadInput

    number = MODES.index(mode)
    if not 0.0 < temperature <= MAX_TEMPERATURE:  # NaN is not
        raise BadInput(f"--temperature {temperature:g}: must be in (0, {MAX_TEMPERATURE:g}]")
    if number != SAMPLE:
        if samples not in (None, 1):
            raise BadInput(f"--samples {samples}: with --mode {mode} all are the same; leave it")
        return [Draw(mode=number, repeats=repeats)]
    samples = usual if samples is None else samples
    if not 1 <= samples <= _MAX_SAMPLES:
        raise BadInput(f"--samples {samples}: must be in [1, {_MAX_SAMPLES}]")
    if not 0 <= first <= MAX_SEED - samples + 1:
        raise BadInput(f"--seed {first}: must be in [0, {MAX_SEED - samples + 1}]")
    return [Draw(SAMPLE, seed, temperature, repeats) for seed in range(first, first + samples)]


def read_requests(graph_path: str | Path, model, licences, edit=None):
    """Reads scene graphs and the user's own patches; refuses all that the model would.

    What contradicts itself in a graph is said, and no error.

    Args:
      graph_path: JSON file; image paths in it are relative to its folder.
      model: an opened `ModelFolder`.
      licences: the `LicenceFilter` of what may be retrieved.
      edit: `Edit` of a sample's JSON; None for what the file itself says.

    Returns:
      `Requests`.

    Raises:
      BadInput: if a graph does not fit the model or names a patch whose licence is refused, an
        image is missing or unusable, no patch may be retrieved at all, or the edit cannot be made.
      CorruptData: if an image is damaged.
    """
    from export.edits import check_can_change, check_same_patches
    from export.requests import Requests, build_request
    from export.sample_graph import Edit, parse_drawn_graph
    from rgan_tf.scene_graph import load_scene_graphs

    edit = edit or Edit()
    folder = Path(graph_path).parent
    graphs = load_scene_graphs(
        graph_path, lambda value, source: parse_drawn_graph(value, source, edit, folder)
    )
    rows = []
    for index, drawn in enumerate(graphs):
        source = str(graph_path) if len(graphs) == 1 else f"{graph_path}: graph {index}"
        check_same_patches(drawn, model, source)
        request = build_request(drawn.fixed, model, folder, index, source, licences)
        request = dataclasses.replace(
            request, graph=drawn.graph, kept=drawn.kept, replaced=drawn.replaced
        )
        check_can_change(request, model, licences, source)
        rows.append(request)
        for one in contradictions_of(request):
            logging.getLogger(__name__).warning(
                "%s: contradiction: %s", source, one.text(drawn.graph.objects)
            )
    return Requests(model, rows)


def load_endpoints(model):
    """Loads the SavedModel.

    Returns:
      A function of (`Request`, `Draw`) that answers with one row of NumPy values by field name.
      Rows go one by one: what a sample looks like then depends on nothing but itself.

    Raises:
      BadInput: if the model needs ScaNN, which is not to be had.
      CorruptData: if TensorFlow cannot read the model.
    """
    import numpy as np
    import tensorflow as tf

    from export.saved_model_loading import load_saved_model

    loaded = load_saved_model(model)

    def answer(request, draw) -> dict[str, Any]:
        fields = {**request.fields, **draw.fields}
        tensors = {name: tf.constant(value[np.newaxis]) for name, value in fields.items()}
        reply = loaded.signatures[request.endpoint](**tensors)
        return {name: value.numpy()[0] for name, value in reply.items()}

    return answer


@contextlib.contextmanager
def _answering(args: argparse.Namespace, model) -> Iterator[Any]:
    """What answers a (`Request`, `Draw`): a server where one is named, else the model itself."""
    if args.server is None:
        yield load_endpoints(model)
        return
    from export.client import DEFAULT_TIMEOUT_S, connect

    name = DEFAULT_NAME if args.name is None else args.name
    timeout_s = DEFAULT_TIMEOUT_S if args.timeout_s is None else args.timeout_s
    with connect(args.server, model.folder, name=name, timeout_s=timeout_s) as client:
        yield client.generate
