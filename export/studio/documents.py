"""Reads what a person opens: a scene graph, a sample of `rgan generate`, or a studio project.

    {"kind": "rgan_studio", "version": 1, "model": {"version", "weights", "bank"}, "graph": {...},
     "studio": {"locks": [...], "kept": {...}, "draw": {...}, "licences": [...], "own": {...}}}

A document is foreign: it may come from a link, another model or another program. Its paths are
never followed, and ids of another bank are dropped.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.edits import is_same_patch
from export.model_folder import ModelFolder
from export.requests import Draw
from export.sample_graph import Edit, is_sample, parse_drawn_graph
from export.signatures import MODES
from export.studio.reading import (
    check_fits,
    check_graph_size,
    read_draw,
    read_foreign_own,
    read_licences,
    read_positions,
)
from export.studio.refused import GRAPH, Refused, as_refused
from rgan_tf.errors import one_line
from rgan_tf.scene_graph import SceneGraph, parse_scene_graph

KIND = "rgan_studio"
VERSION = 1
_EDITS = ("keep", "redraw")
_SHOWN = 80  # characters of a foreign text in a message


@dataclasses.dataclass
class Opened:
    """A document in terms of this model.

    Attributes:
      graph: without patches.
      kept: position -> id of the patch shown there.
      locks: positions whose patch was fixed.
      own: position -> PNG of S x S px.
      draw: how its patches were drawn; None if unknown.
      licences: codes to draw from; None for all, or if unknown.
      messages: what of the document is not there any more, for people.
    """

    graph: SceneGraph
    kept: dict[int, int]
    locks: list[int]
    own: dict[int, bytes] = dataclasses.field(default_factory=dict)
    draw: Draw | None = None
    licences: list[str] | None = None
    messages: list[str] = dataclasses.field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The scene as JSON for the page."""
        patches = [self.kept.get(i) for i in range(len(self.graph.objects))]
        return {
            "graph": {**graph_json(self.graph), "patches": patches},
            "own": own_json(self.own),
            "locks": self.locks,
            "kept": {str(position): number for position, number in sorted(self.kept.items())},
            "draw": None if self.draw is None else draw_json(self.draw),
            "licences": self.licences,
            "messages": self.messages,
        }


def open_document(value: Any, model: ModelFolder) -> dict[str, Any]:
    """Reads any document.

    Args:
      value: its parsed JSON.
      model: that will draw it.

    Returns:
      See `Opened.to_json`.

    Raises:
      Refused: if it is not such a document, or does not fit the model.
    """
    messages = []
    if isinstance(value, list) and value:
        if len(value) > 1:
            messages.append(f"the file has {len(value)} scene graphs; the first is opened")
        value = value[0]
    if isinstance(value, dict) and value.get("kind") == KIND:
        opened = _open_project(value, model)
    else:
        check_graph_size(value)
        opened = _open_sample(value, model) if is_sample(value) else _open_graph(value)
    check_fits(opened.graph, model)
    _drop_ids_out_of_range(opened, model)
    opened.messages = messages + opened.messages
    return opened.to_json()


def project_json(
    model: ModelFolder,
    graph: SceneGraph,
    *,
    locks: list[int],
    kept: Mapping[int, int],
    draw: Draw,
    licences: list[str] | None,
    own: Mapping[int, bytes],
) -> dict[str, Any]:
    """A studio project as JSON."""
    return {
        "kind": KIND,
        "version": VERSION,
        "model": {
            "version": model.number,
            "weights": model.manifest.get("weights"),
            "bank": model.manifest.get("bank"),
        },
        "graph": graph_json(graph),
        "studio": {
            "locks": locks,
            "kept": {str(position): number for position, number in sorted(kept.items())},
            "draw": draw_json(draw),
            "licences": licences,
            "own": own_json(own),
        },
    }


def graph_json(graph: SceneGraph) -> dict[str, Any]:
    """A scene graph as JSON, without its patches."""
    return {
        "objects": list(graph.objects),
        "relationships": [list(relationship) for relationship in graph.relationships],
        "boxes": [None if box is None else list(box) for box in graph.boxes],
    }


def draw_json(draw: Draw) -> dict[str, Any]:
    """A draw as the page sends it."""
    return {
        "mode": MODES[draw.mode],
        "seed": draw.seed,
        "temperature": draw.temperature,
        "repeats": bool(draw.repeats),
    }


def own_json(own: Mapping[int, bytes]) -> dict[str, str]:
    """Own patches as the page sends them."""
    return {str(i): base64.b64encode(data).decode("ascii") for i, data in sorted(own.items())}


def _open_graph(value: Any) -> Opened:
    with as_refused("document"):
        graph = parse_scene_graph(value, GRAPH)
    kept = {i: patch for i, patch in enumerate(graph.patches) if isinstance(patch, int)}
    return Opened(graph, kept, sorted(kept), messages=_lost_files(graph))


def _open_sample(value: dict[str, Any], model: ModelFolder) -> Opened:
    """What `rgan generate` wrote beside a picture, as that picture."""
    messages = []
    if any(value.get(key) for key in _EDITS):
        messages.append("keep and redraw are not carried out here; the picture opens as it was")
    plain = {key: item for key, item in value.items() if key not in _EDITS}
    plain["objects"] = [_without_file(item) for item in value["objects"]]
    with as_refused("document"):
        drawn = parse_drawn_graph(plain, GRAPH, Edit(), Path())
    described = {
        i: patch
        for i, patch in enumerate(drawn.patches)
        if patch is not None and not isinstance(patch["id"], bool)
    }
    kept = {i: patch["id"] for i, patch in described.items() if is_same_patch(patch, model)}
    messages += _dropped(len(described) - len(kept))
    locks = [i for i in kept if drawn.graph.patches[i] is not None]
    draw = None
    if "mode" in value:
        draw = {key: value.get(key) for key in ("mode", "seed", "temperature")}
        draw["repeats"] = value.get("repeats_allowed")
        draw = read_draw(draw, "draw", model)
    messages += _lost_files(drawn.graph)
    return Opened(drawn.graph, kept, locks, draw=draw, messages=messages)


def _without_file(item: Any) -> Any:
    """An object of a sample whose own image has but a name, which nothing looks for."""
    patch = item.get("patch") if isinstance(item, dict) else None
    if not isinstance(patch, dict) or "file" not in patch:
        return item
    named = patch.get("path") or patch["file"]
    kept = {key: value for key, value in patch.items() if key != "file"}
    return {**item, "patch": {**kept, "path": named}}


def _open_project(value: dict[str, Any], model: ModelFolder) -> Opened:
    if value.get("version") != VERSION:
        raise Refused(
            f"document: is a studio project of another version; this program reads {VERSION}",
            "document.version",
        )
    check_graph_size(value.get("graph"))
    with as_refused("document.graph"):
        graph = parse_scene_graph(value.get("graph"), GRAPH)
        places = _places(value["graph"])
    studio, made_by = value.get("studio"), value.get("model")
    studio = studio if isinstance(studio, dict) else {}
    made_by = made_by if isinstance(made_by, dict) else {}
    count = len(places)
    messages = _lost_files(graph)

    own = read_foreign_own(studio.get("own"), max(places) + 1, model.sizes.own_patch)
    own = {places.index(i): data for i, data in own.items() if i in places}
    kept = {i: patch for i, patch in enumerate(graph.patches) if isinstance(patch, int)}
    kept |= _read_kept(studio.get("kept"), places)
    kept = {i: number for i, number in kept.items() if i not in own}
    bank = model.manifest.get("bank")
    if kept and (bank is None or made_by.get("bank") != bank):
        messages += _dropped(len(kept))
        kept = {}
    locks = read_positions(studio.get("locks"), "locks", max(places) + 1)
    locks = [places.index(i) for i in locks if i in places]
    draw = studio.get("draw")
    licences = studio.get("licences")
    if licences is not None:
        try:
            read_licences(licences, model)
        except Refused as error:
            messages.append(f"all licences are allowed again: {error}")
            licences = None
    return Opened(
        graph=graph,
        kept=kept,
        locks=[i for i in locks if i < count and (i in kept or i in own)],
        own=own,
        draw=None if draw is None else read_draw(draw, "draw", model),
        licences=licences,
        messages=messages,
    )


def _places(graph: dict[str, Any]) -> list[int]:
    """For each object of the parsed graph its position in the file, which may name the image."""
    numbers = list(range(len(graph["objects"])))
    plain = {"objects": graph["objects"], "patches": numbers}
    return list(parse_scene_graph(plain, GRAPH).patches)


def _read_kept(value: Any, places: list[int]) -> dict[int, int]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused("kept: must be an object from positions to patches", "document.studio.kept")
    kept = {}
    for key, number in value.items():
        is_sound = key.isascii() and key.isdigit() and len(key) < 4 and isinstance(number, int)
        if not is_sound or isinstance(number, bool):
            raise Refused(
                "kept: must be an object from positions to patches", "document.studio.kept"
            )
        if int(key) in places:
            kept[places.index(int(key))] = number
    return kept


def _drop_ids_out_of_range(opened: Opened, model: ModelFolder) -> None:
    sound = {i: number for i, number in opened.kept.items() if 0 <= number < model.sizes.patches}
    opened.messages += _dropped(len(opened.kept) - len(sound))
    opened.kept = sound
    opened.locks = [i for i in opened.locks if i in sound or i in opened.own]


def _dropped(count: int) -> list[str]:
    if not count:
        return []
    patches = "1 patch was" if count == 1 else f"{count} patches were"
    return [f"{patches} chosen from another bank and {'is' if count == 1 else 'are'} drawn anew"]


def _lost_files(graph: SceneGraph) -> list[str]:
    return [
        f"{one_line(category, _SHOWN)} (objects[{i}]): the image file {one_line(patch, _SHOWN)} is "
        "not read from disk; add it again, or open the project.json of the same ZIP, which has it"
        for i, (category, patch) in enumerate(zip(graph.objects, graph.patches, strict=True))
        if isinstance(patch, str)
    ]
