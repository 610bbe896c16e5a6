"""`rgan generate`: scene graphs to images, with an exported model and nothing else."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from export.signatures import DEFAULT_NAME, MODES, SAMPLE

_DEFAULT_SAMPLES = 4
_MAX_SAMPLES = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("graph", help="JSON file with one scene graph, or a list of them")
    parser.add_argument("--model", required=True, help="model folder, or one version in it")
    parser.add_argument("--out", required=True, help="folder to make for the results")
    parser.add_argument(
        "--samples", type=int, help=f"images per graph ({_DEFAULT_SAMPLES}); each retrieves anew"
    )
    parser.add_argument("--seed", type=int, default=0, help="of sample 1; sample i has seed+i-1")
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


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Generates and returns where the pictures are."""
    from export.model_folder import open_contract, open_model
    from export.notices import PatchNotices
    from export.result_folder import write_overview, write_sample
    from rgan_tf.data.licences import LicenceFilter
    from rgan_tf.errors import BadInput
    from rgan_tf.files import atomic_folder

    started = time.monotonic()
    draws = read_draws(
        args.mode, args.samples, args.seed, args.temperature, repeats=args.allow_repeats
    )
    licences = LicenceFilter.parse(args.licence)
    for option in ("name", "timeout_s"):
        if args.server is None and getattr(args, option) is not None:
            raise BadInput(f"--{option.replace('_', '-')}: goes with --server; name one")
    opened = open_model(args.model) if args.server is None else open_contract(args.model)
    requests = read_requests(args.graph, opened, licences)
    model = requests.model
    draws = [draw.for_model(model) for draw in draws]
    notices = PatchNotices(model, licences)
    samples = []
    with atomic_folder(args.out) as folder, _answering(args, model) as answer:
        for request in requests.rows:
            for draw in draws:
                reply = answer(request, draw)
                samples.append(write_sample(folder, len(samples) + 1, request, reply, draw, model))
                notices.add(samples[-1].description)
        write_overview(folder, samples)
    notices.tell()
    out = Path(args.out)
    return {
        "out": str(out),
        "overview": str(out / "overview.png"),
        "images": [str(out / sample.image_name) for sample in samples],
        "graphs": len(requests.rows),
        **notices.result(),
        "model": str(model.folder),
        "seconds": round(time.monotonic() - started, 1),
    }


def read_draws(
    mode: str, samples: int | None, first: int, temperature: float, *, repeats: bool = False
):
    """The `Draw` of every sample of a graph.

    Args:
      mode: name of a mode.
      samples: how many, None for the usual number.
      first: seed of the first sample.
      temperature: of all.
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
    samples = _DEFAULT_SAMPLES if samples is None else samples
    if not 1 <= samples <= _MAX_SAMPLES:
        raise BadInput(f"--samples {samples}: must be in [1, {_MAX_SAMPLES}]")
    if not 0 <= first <= MAX_SEED - samples + 1:
        raise BadInput(f"--seed {first}: must be in [0, {MAX_SEED - samples + 1}]")
    return [Draw(SAMPLE, seed, temperature, repeats) for seed in range(first, first + samples)]


def read_requests(graph_path: str | Path, model, licences):
    """Reads scene graphs and the user's own patches; refuses all that the model would.

    Args:
      graph_path: JSON file; image paths in it are relative to its folder.
      model: an opened `ModelFolder`.
      licences: the `LicenceFilter` of what may be retrieved.

    Returns:
      `Requests`.

    Raises:
      BadInput: if a graph does not fit the model or names a patch whose licence is refused, an
        image is missing or unusable, or no patch may be retrieved at all.
      CorruptData: if an image is damaged.
    """
    from export.requests import Requests, build_request
    from rgan_tf.scene_graph import load_scene_graphs

    graphs = load_scene_graphs(graph_path)
    rows = []
    for index, graph in enumerate(graphs):
        source = str(graph_path) if len(graphs) == 1 else f"{graph_path}: graph {index}"
        rows.append(build_request(graph, model, Path(graph_path).parent, index, source, licences))
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
