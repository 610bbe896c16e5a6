"""Writes the pictures and JSON of generated samples; equal replies give equal bytes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.model_folder import ModelFolder
from export.requests import MODEL, USER, Draw, Request
from export.sample_graph import object_labels
from export.signatures import NO_SCORE
from rgan_tf.pictures import comparison_grid, draw_layout, patch_sheet
from rgan_tf.scene_graph import SceneGraph
from rgan_tf.storage.files import write_json_atomic
from rgan_tf.storage.image import decode_image, encode_png, grid

_LAYOUT_SIDE = 384  # px
_OVERVIEW_CELL = 192  # px
_OVERVIEW_ROWS = 64  # a taller picture would be too tall for most programs
_DIGITS = 6  # of distances in JSON


@dataclasses.dataclass(frozen=True)
class Sample:
    """A sample for the overview and the command's result.

    Attributes:
      image_name: file name of the image.
      layout, patches: uint8 [h, w, 3]; None for a system without.
      image: uint8 [h, w, 3].
      description: from `describe_sample`.
    """

    image_name: str
    layout: np.ndarray | None
    patches: np.ndarray | None
    image: np.ndarray
    description: dict[str, Any]


def write_sample(
    folder: Path,
    number: int,
    request: Request,
    reply: dict[str, Any],
    draw: Draw,
    model: ModelFolder,
) -> Sample:
    """Writes image, layout, patches and JSON of one sample; of a rival what its system has.

    Args:
      folder: an existing folder.
      number: of the sample; names the files.
      request: the request.
      reply: one row, values by field name.
      draw: how its patches were retrieved.
      model: the model that answered.
    """
    name = f"sample-{number:04d}"
    graph = request.graph
    count = len(graph.objects)
    labels = object_labels(graph.objects)  # as used by --keep and --redraw
    layout = patches = None
    description = describe_sample(request, reply, draw, model)
    for position, file_name in _write_own_patches(folder, name, request).items():
        description["objects"][position]["patch"]["file"] = file_name
    (folder / f"{name}.png").write_bytes(reply["image_bytes"])
    if "boxes" in reply:
        boxes = reply["boxes"][:count]
        layout = draw_layout(graph.objects, boxes, _LAYOUT_SIDE, graph.relationships, labels)
        (folder / f"{name}-layout.png").write_bytes(encode_png(layout))
    if "patch_crops_bytes" in reply:
        crops = read_crops(reply["patch_crops_bytes"][:count], model.sizes.crop)
        captions = [_caption(item) for item in description["objects"]]
        sheet = patch_sheet(crops, labels, captions, categories=graph.objects)
        (folder / f"{name}-patches.png").write_bytes(encode_png(sheet))
        patches = _square_grid(crops)
    write_json_atomic(folder / f"{name}.json", {"image": f"{name}.png", **description})
    image = decode_image(reply["image_bytes"], f"{name}.png")
    return Sample(f"{name}.png", layout, patches, image, description)


def describe_sample(
    request: Request, reply: dict[str, Any], draw: Draw, model: ModelFolder
) -> dict[str, Any]:
    """Describes a sample: graph, draw, and per object its box and its patch.

    `category_found` says whether the patch has the object's category; the user's own patches count
    as such. `same_patch_as` has the positions of other objects with the same patch. A rival without
    layout or patches has objects without `box` or `patch`.
    """
    graph = request.graph
    objects: list[dict[str, Any]] = [{"category": category} for category in graph.objects]
    if "boxes" in reply:
        _describe_boxes(objects, graph, reply)
    if "patch_ids" in reply:
        _describe_patches(objects, graph, reply, model)
    return {
        "graph": request.index,
        **({} if model.rival is None else {"system": model.system}),
        **draw.describe(),
        "model_version": model.version,
        "model_weights": model.manifest.get("weights"),
        "objects": objects,
        "relationships": [list(relationship) for relationship in graph.relationships],
        **_describe_edit(request),
    }


def _describe_boxes(
    objects: list[dict[str, Any]], graph: SceneGraph, reply: dict[str, Any]
) -> None:
    for position, item in enumerate(objects):
        # The shortest numbers that round to these float32s: kept boxes give the same picture.
        y0, x0, y1, x1 = (float(str(np.float32(edge))) for edge in reply["boxes"][position])
        item["box"] = [x0, y0, x1, y1]
        item["box_given"] = graph.boxes[position] is not None


def _describe_patches(
    objects: list[dict[str, Any]], graph: SceneGraph, reply: dict[str, Any], model: ModelFolder
) -> None:
    patch_ids = [int(patch) for patch in reply["patch_ids"][: len(graph.objects)]]
    order = [int(position) for position in reply.get("order", ()) if position >= 0]
    for position, item in enumerate(objects):
        category = item["category"]
        patch_id = patch_ids[position]
        score = float(reply["patch_scores"][position])
        if patch_id >= 0:
            patch = {"id": patch_id, **model.provenance[patch_id]}
            category_found = patch["category"] == category
        else:  # the user's own patch, or none
            patch = {"id": None, "path": graph.patches[position]}
            category_found = patch["path"] is not None
        patch["chosen_by"] = MODEL if graph.patches[position] is None else USER
        patch["step"] = order.index(position) if position in order else None
        patch["distance"] = None if score == NO_SCORE else round(score, _DIGITS)
        item["category_found"] = category_found
        item["same_patch_as"] = [
            other
            for other, taken in enumerate(patch_ids)
            if taken == patch_id >= 0 and other != position
        ]
        item["patch"] = patch


def write_overview(folder: Path, samples: list[Sample]) -> None:
    """Writes one picture of all samples: layout, patches, image."""
    shown = samples[:_OVERVIEW_ROWS]
    columns = [
        (title, [getattr(sample, title) for sample in shown])
        for title in ("layout", "patches", "image")
        if getattr(shown[0], title) is not None
    ]
    picture = comparison_grid(columns, cell=_OVERVIEW_CELL)
    (folder / "overview.png").write_bytes(encode_png(picture))


def read_crops(files: Sequence[bytes], side: int) -> list[np.ndarray]:
    """The patches of a reply, [side, side, 3] uint8 each; black for an object without a patch."""
    blank = np.zeros([side, side, 3], np.uint8)
    return [decode_image(content, "patch_crops_bytes") if content else blank for content in files]


def _describe_edit(request: Request) -> dict[str, Any]:
    if not request.kept and not request.replaced:
        return {}
    return {"edit": {"kept": list(request.kept), "redrawn": sorted(request.replaced)}}


def _write_own_patches(folder: Path, name: str, request: Request) -> dict[int, str]:
    """Writes the user's own images as read by the model; position -> file name.

    This makes the sample complete: it can be edited wherever it is.
    """
    names = {}
    for position in np.flatnonzero(request.fields.get("own_given", ())).tolist():
        names[position] = f"{name}-own-{position}.png"
        image = request.fields["own_patches"][position]
        (folder / names[position]).write_bytes(encode_png(image))
    return names


def _caption(item: dict[str, Any]) -> str:
    patch = item["patch"]
    if patch["id"] is None:
        return "no patch" if patch["path"] is None else Path(patch["path"]).name
    if not item["category_found"]:
        return f"{patch['id']}: {patch['category']}"
    return f"{patch['id']}: image {patch['image_id']}"


def _square_grid(crops: list[np.ndarray]) -> np.ndarray:
    """The patches as one square picture, which a square cell shows undistorted."""
    columns = math.isqrt(len(crops) - 1) + 1
    blank = np.full_like(crops[0], 255)
    return grid([*crops, *[blank] * (columns * columns - len(crops))], columns)
