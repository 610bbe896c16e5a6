"""A scene as one ZIP file: picture, graph, provenance, project, credits; equal scenes, equal bytes.

image.png      the picture
graph.json     the scene graph with all boxes and patches: `rgan generate` draws the picture again
own-N.png      the user's own patch of object N, as the model saw it
sample.json    what `rgan generate` writes beside a picture
project.json   the studio's own file (`export.studio.documents`)
CREDITS.txt    where each patch is from, and under which licence
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from typing import Any

from export.model_folder import ModelFolder
from export.requests import Draw
from export.result_folder import describe_sample
from export.sample_graph import object_labels
from export.studio.documents import graph_json, project_json
from export.studio.reading import Scene, own_name
from rgan_tf.bank.licences import CODES, OTHER, UNKNOWN, licence_code
from rgan_tf.errors import one_line
from rgan_tf.storage.image import encode_png

_WHEN = (1980, 1, 1, 0, 0, 0)  # the first that a ZIP file can tell; clocks would change the bytes
_MODE = 0o644 << 16  # of the files
_UNIX = 3  # where the bits of the mode mean something
_NOTES = {
    "NC": "NC: not for commercial purposes",
    "SA": "SA: what is made from it must be shared under the same licence",
    "ND": "ND: some licences allow no changes; a composition is one",
    "BY": "BY: name the author; where none is recorded, the link leads to the picture's page",
    OTHER: f"{OTHER}: read the licence's own text, which is not one of the known ones",
    UNKNOWN: f"{UNKNOWN}: no licence is recorded; ask before you publish",
}


def build_archive(
    scene: Scene, reply: dict[str, Any], draw: Draw, locks: list[int], name: str, model: ModelFolder
) -> bytes:
    """The bytes of the ZIP file.

    Args:
      scene: as drawn.
      reply: one row, values by field name, with the image.
      draw: how free patches were drawn.
      locks: positions of objects whose patch the user has fixed.
      name: of the model.
      model: the model that answered.
    """
    fixed = tuple(
        patch if isinstance(patch, str) or position in locks else None
        for position, patch in enumerate(scene.request.graph.patches)
    )
    graph = dataclasses.replace(scene.request.graph, patches=fixed)
    request = dataclasses.replace(scene.request, graph=graph)
    sample = describe_sample(request, reply, draw, model)
    own = {position: encode_png(image) for position, image in sorted(scene.own.items())}
    for position in own:
        sample["objects"][position]["patch"]["file"] = own_name(position)
    kept = {
        position: item["patch"]["id"]
        for position, item in enumerate(sample["objects"])
        if item["patch"]["id"] is not None
    }
    codes = scene.licences.codes
    project = project_json(
        model,
        scene.graph,
        locks=locks,
        kept=kept,
        draw=draw,
        licences=None if codes is None else [code for code in CODES if code in codes],
        own=own,
    )
    drawn = {
        **graph_json(graph),
        "boxes": [item["box"] for item in sample["objects"]],
        "patches": [own_name(i) if i in own else kept.get(i) for i in range(len(graph.objects))],
    }
    return _zipped(
        {
            "image.png": reply["image_bytes"],
            "graph.json": _dump(drawn),
            **{own_name(position): data for position, data in own.items()},
            "sample.json": _dump({"image": "image.png", **sample}),
            "project.json": _dump(project),
            "CREDITS.txt": _credits(sample, name, model).encode("utf-8"),
        }
    )


def _credits(sample: dict[str, Any], name: str, model: ModelFolder) -> str:
    objects = sample["objects"]
    labels = object_labels([item["category"] for item in objects])
    used = {
        licence_code(item["patch"]["licence"] or "")
        for item in objects
        if item["patch"]["id"] is not None
    }
    lines = [
        f"Made with the model {one_line(name)}, version {model.version}, from these patches:",
        "",
    ]
    for label, item in zip(labels, objects, strict=True):
        lines += [f"{one_line(label)}", *(f"  {line}" for line in _credit(item["patch"])), ""]
    if used:
        codes = [code for code in reversed(CODES) if code in used]  # the strictest first
        lines.append(f"Licences of the whole, the strictest first: {', '.join(codes)}")
        parts = {part for code in codes for part in (code, *code.split("-"))}
        lines += [f"  {note}" for part, note in _NOTES.items() if part in parts]
        lines.append("This is a hint, not advice.")
    return "\n".join(lines) + "\n"


def _credit(patch: dict[str, Any]) -> list[str]:
    if patch["id"] is None:
        if patch["path"] is None:
            return ["no patch"]
        return [f"your own picture, {patch['path']}", "licence: as you know it"]
    licence = one_line(patch["licence"] or "")
    x0, y0, x1, y1 = patch["box"]
    return [
        f"patch {patch['id']}: {one_line(str(patch['category']))}",
        f"licence: {licence_code(licence)}" + (f" ({licence})" if licence else ""),
        "author: not recorded",
        f"link: {one_line(str(patch['url'] or 'not recorded'))}",
        f"image: {one_line(str(patch['image_id']))} of {one_line(str(patch['source']))}, region "
        f"{x0:g}, {y0:g} to {x1:g}, {y1:g}",
    ]


def _dump(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8")


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.create_system = _UNIX
            entry.external_attr = _MODE
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()
