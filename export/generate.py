"""Makes images of scene graphs with an exported model or a server; imports no TensorFlow."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from export.edits import answer_edit, build_edited_request
from export.notices import PatchNotices
from export.requests import Requests
from export.result_folder import write_overview, write_sample
from export.sample_graph import Edit, parse_drawn_graph
from rgan_tf.contradictions import contradictions
from rgan_tf.scene_graph import load_scene_graphs


def write_samples(folder: Path, requests, draws, answer) -> list[Any]:
    """Draws every request and writes its files and an overview.

    Args:
      folder: an existing folder.
      requests: `Requests`.
      draws: `Draw` of every sample of a graph.
      answer: takes (`Request`, `Draw`).

    Returns:
      A `Sample` for each.

    Raises:
      BadInput: if a redrawn object got its old patch every time.
    """
    samples = []
    model = requests.model
    for request in requests.rows:
        for draw in draws:
            reply = answer_edit(answer, request, draw, len(draws))
            samples.append(write_sample(folder, len(samples) + 1, request, reply, draw, model))
    write_overview(folder, samples)
    return samples


def describe_result(out: Path, requests, samples, licences, started: float) -> dict[str, Any]:
    """The command's result.

    Args:
      out: folder of the pictures.
      requests: `Requests`.
      samples: from `write_samples`.
      licences: the `LicenceFilter`.
      started: `time.monotonic()` at the beginning.
    """
    model = requests.model
    notices = PatchNotices(model, licences)
    for sample in samples:
        notices.add(sample.description)
    notices.log()
    return {
        "out": str(out),
        "overview": str(out / "overview.png"),
        "images": [str(out / sample.image_name) for sample in samples],
        "graphs": len(requests.rows),
        **notices.result(),
        "contradictions": [
            {"graph": request.index, **one.to_json()}
            for request in requests.rows
            for one in contradictions(request.graph)
        ],
        "model": str(model.folder),
        "seconds": round(time.monotonic() - started, 1),
    }


def read_requests(graph_path: str | Path, model, licences, edit=None):
    """Reads scene graphs and the user's own patches; refuses whatever the model would.

    Contradictions in a graph are logged but are not errors.

    Args:
      graph_path: JSON file; image paths in it are relative to its folder.
      model: an opened `ModelFolder`.
      licences: the `LicenceFilter` for retrieval.
      edit: `Edit` of a sample's JSON; None for the edit in the file.

    Returns:
      `Requests`.

    Raises:
      BadInput: if a graph does not fit the model or names a patch with a refused licence, an image
        is missing or unusable, no patch may be retrieved at all, or the edit is impossible.
      CorruptData: if an image is damaged.
    """
    edit = edit or Edit()
    folder = Path(graph_path).parent
    graphs = load_scene_graphs(
        graph_path, lambda value, source: parse_drawn_graph(value, source, edit, folder)
    )
    rows = []
    for index, drawn in enumerate(graphs):
        source = str(graph_path) if len(graphs) == 1 else f"{graph_path}: graph {index}"
        request = build_edited_request(drawn, model, folder, index, source, licences)
        rows.append(request)
        for one in contradictions(request.graph):
            logging.getLogger(__name__).warning(
                "%s: contradiction: %s", source, one.text(drawn.graph.objects)
            )
    return Requests(model, rows)
