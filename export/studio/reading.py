"""Reads the bodies of the studio's requests; refuses what the model would, naming the field.

No string of a request ever names a file: pictures come as bytes.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.model_folder import ModelFolder
from export.requests import Draw, Request, build_request, own_fields, read_draws, with_own_patches
from export.signatures import MAX_BATCH, MODES
from export.studio.refused import GRAPH, Refused, as_refused
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.scene_graph import MAX_FILE_BYTES, SceneGraph, encode_scene_graph, parse_scene_graph
from rgan_tf.storage.files import parse_json
from rgan_tf.storage.image import decode_image, encode_png, resize_image, size_of

MAX_SIDE = 1024  # px, of a picture inside a document
_HUGE = 10**18
_POSITION = re.compile(r"0|[1-9][0-9]?")
_DRAW_KEYS = ("mode", "seed", "temperature", "repeats")


@dataclasses.dataclass(frozen=True)
class Scene:
    """A scene as the page sends it.

    Attributes:
      graph: with ids or None as patches.
      own: position -> uint8 [S, S, 3], the user's own patches.
      licences: filter for retrieval.
      request: the same as a row, where each own patch has the file name `own_name`.
    """

    graph: SceneGraph
    own: dict[int, np.ndarray]
    licences: LicenceFilter
    request: Request


def own_name(position: int) -> str:
    """File name of an own patch beside an exported graph."""
    return f"own-{position}.png"


def read_object(body: bytes, needed: Collection[str], optional: Collection[str]) -> dict[str, Any]:
    """The body of a request as a JSON object with exactly these keys.

    Raises:
      Refused: if it is anything else.
    """
    with as_refused():
        value = parse_json(body, "request", unique_keys=True)
    if not isinstance(value, dict):
        raise Refused("request: must be a JSON object")
    for key in value:
        if key not in needed and key not in optional:
            raise Refused(f"{_shown(key)}: no such key; there are {_listed(needed, optional)}")
    for key in needed:
        if key not in value:
            raise Refused(f"{key}: is missing", key)
    return value


def read_version(body: Mapping[str, Any]) -> int | None:
    """The version that a request is meant for; None for the newest."""
    number = body.get("version")
    if number is not None and (not _is_whole(number) or number < 0):
        raise Refused(f"version: must be a number or null, got {_shown(number)}", "version")
    return number


def read_graph(value: Any, model: ModelFolder) -> SceneGraph:
    """A scene graph that fits the model, with ids or None as patches.

    Raises:
      Refused: if it is anything else.
    """
    check_graph_size(value)
    patches = value.get("patches") if isinstance(value, dict) else None
    for position, patch in enumerate(patches if isinstance(patches, list) else ()):
        if isinstance(patch, str):
            field = f"{GRAPH}.patches[{position}]"
            raise Refused(
                f"{GRAPH}: patches[{position}]: must be the number of a patch or null; files are "
                'not read here, send a picture in "own"',
                field,
            )
    with as_refused():
        graph = parse_scene_graph(value, GRAPH)
    if len(graph.objects) != len(value["objects"]):  # positions elsewhere would be ambiguous
        raise Refused(
            f"{GRAPH}: objects: the model adds the node of the image itself; leave it out",
            f"{GRAPH}.objects",
        )
    check_fits(graph, model)
    return graph


def check_graph_size(value: Any) -> None:
    """Refuses a graph that is larger than its file may be."""
    try:
        size = len(json.dumps(value, separators=(",", ":")))
    except RecursionError:
        raise Refused(f"{GRAPH}: nested too deeply", GRAPH) from None
    if size > MAX_FILE_BYTES:
        raise Refused(f"{GRAPH}: has {size} bytes; at most {MAX_FILE_BYTES} are read", GRAPH)


def check_fits(graph: SceneGraph, model: ModelFolder) -> None:
    """Refuses names that the model does not know, and more than it takes."""
    sizes = model.sizes
    with as_refused():
        encode_scene_graph(graph, model.vocabulary, sizes.objects, sizes.triples, GRAPH, None)


def read_scene(body: Mapping[str, Any], model: ModelFolder) -> Scene:
    """The scene of a request with "graph", and perhaps "own" and "licences".

    Raises:
      Refused: if a part is wrong, or they do not go together.
    """
    graph = read_graph(body["graph"], model)
    own = read_own(body.get("own"), len(graph.objects), model.sizes.own_patch)
    for position in own:
        if graph.patches[position] is not None:
            raise Refused(
                f"own.{position}: object {position} has a patch of the bank too; send one of them",
                f"own.{position}",
            )
    licences = read_licences(body.get("licences"), model)
    with as_refused():
        request = build_request(graph, model, Path(), 0, GRAPH, licences, "licences")
    named = tuple(
        own_name(position) if position in own else patch
        for position, patch in enumerate(graph.patches)
    )
    request = dataclasses.replace(request, graph=dataclasses.replace(graph, patches=named))
    return Scene(graph, own, licences, with_own_patches(request, own, model))


def candidate_fields(scene: Scene, position: int, model: ModelFolder) -> dict[str, np.ndarray]:
    """The row of a request for the candidates of one object.

    What that object has now is left out: it is compared with the others only.
    """
    names = ("objects", "triples", "boxes", "boxes_given", "patch_ids", "licences_refused")
    fields = {name: scene.request.fields[name] for name in names}
    others = {place: image for place, image in scene.own.items() if place != position}
    return {**fields, **own_fields(others, model)}


def read_position(value: Any, body: Mapping[str, Any]) -> int:
    """The position of an object of the body's graph.

    Raises:
      Refused: if there is no such object.
    """
    graph = body["graph"]
    objects = graph.get("objects") if isinstance(graph, dict) else None
    count = len(objects) if isinstance(objects, list) else 0
    if not _is_whole(value) or not 0 <= value < count:
        raise Refused(f"position: must be in [0, {count}), got {_shown(value)}", "position")
    return value


def read_own(value: Any, count: int, side: int) -> dict[int, np.ndarray]:
    """The user's own patches as /api/own answered them.

    Args:
      value: {"POSITION": base64 of a PNG} or None.
      count: of objects.
      side: S, of such a patch in px.

    Returns:
      position -> uint8 [S, S, 3].

    Raises:
      Refused: if it is anything else.
    """
    own = {}
    for position, where, data in _own_files(value, count):
        with as_refused(where):
            width, height = size_of(data, where)
            if (width, height) != (side, side):  # before pixels
                raise Refused(
                    f"{where}: is {width}x{height} px, and must be {side}x{side} as /api/own "
                    "answers it",
                    where,
                )
            own[position] = decode_image(data, where)
    return own


def read_foreign_own(value: Any, count: int, side: int) -> dict[int, bytes]:
    """Own patches of a document, perhaps made for another model, as PNG of S x S px.

    Raises:
      Refused: as `read_own`, but a picture may have up to `MAX_SIDE` px a side.
    """
    own = {}
    for position, where, data in _own_files(value, count):
        with as_refused(where):
            width, height = size_of(data, where)
            if max(width, height) > MAX_SIDE:
                raise Refused(
                    f"{where}: is {width}x{height} px; at most {MAX_SIDE} px a side are read", where
                )
            own[position] = own_png(data, where, side)
    return own


def own_png(data: bytes, source: str, side: int) -> bytes:
    """A picture as the model will see it, and as `rgan generate` would read it: a PNG of S x S px.

    Raises:
      BadInput, CorruptData: if it is not a picture within bounds.
    """
    return encode_png(resize_image(decode_image(data, source), side))


def _own_files(value: Any, count: int) -> list[tuple[int, str, bytes]]:
    """Position, name in messages and bytes of each."""
    if value is None:
        return []
    if not isinstance(value, dict):
        raise Refused("own: must be an object from positions to pictures", "own")
    files = []
    for key, text in value.items():
        if not _POSITION.fullmatch(key) or int(key) >= count:
            raise Refused(f"own: {_shown(key)} must be a position in [0, {count})", "own")
        where = f"own.{key}"
        try:
            if not isinstance(text, str):
                raise ValueError
            files.append((int(key), where, base64.b64decode(text, validate=True)))
        except ValueError:
            raise Refused(f"{where}: must be base64 of a PNG", where) from None
    return files


def read_all_draws(value: Any, model: ModelFolder) -> list[Draw]:
    """1 to `MAX_BATCH` draws.

    Raises:
      Refused: if it is anything else.
    """
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_BATCH:
        raise Refused(f"draws: must be a list of 1 to {MAX_BATCH}", "draws")
    return [read_draw(item, f"draws[{i}]", model) for i, item in enumerate(value)]


def read_draw(value: Any, where: str, model: ModelFolder) -> Draw:
    """How patches are drawn: {"mode", "seed", "temperature", "repeats"}, none needed.

    Args:
      value: the JSON value.
      where: its name in messages.
      model: the model to ask.

    Raises:
      Refused: if it is anything else.
    """
    if not isinstance(value, dict):
        raise Refused(f"{where}: must be an object with {', '.join(_DRAW_KEYS)}", where)
    for key in value:
        if key not in _DRAW_KEYS:
            shown = _shown(key)
            raise Refused(
                f"{where}: {shown} is not a key; there are {', '.join(_DRAW_KEYS)}", where
            )
    given = {key: item for key, item in value.items() if item is not None}
    mode = given.get("mode", MODES[0])
    seed, temperature = given.get("seed", 0), given.get("temperature", 1.0)
    repeats = given.get("repeats", False)
    for key, item, is_right, kind in (
        ("mode", mode, isinstance(mode, str), "a name"),
        ("seed", seed, _is_whole(seed), "a whole number"),
        ("temperature", temperature, _is_number(temperature), "a number"),
        ("repeats", repeats, isinstance(repeats, bool), "true or false"),
    ):
        if not is_right:
            field = f"{where}.{key}"
            raise Refused(f"{field}: must be {kind}, got {_shown(item)}", field)
    with as_refused():
        (draw,) = read_draws(
            mode[:80], None, seed, temperature, 1, repeats=repeats, prefix=f"{where}."
        )
    return draw.for_model(model)


def read_licences(value: Any, model: ModelFolder) -> LicenceFilter:
    """A filter from a list of codes; None allows all.

    Raises:
      Refused: if it is anything else, or no patch of the model passes it.
    """
    field = "licences"
    if value is None:
        return LicenceFilter()
    if not isinstance(value, list) or not all(isinstance(code, str) for code in value):
        raise Refused(f"{field}: must be a list of codes, or null for all", field)
    if not value:
        raise Refused(f"{field}: name at least one, or null for all", field)
    with as_refused(field):
        licences = LicenceFilter.parse([code[:80] for code in value[:80]], field)
    if all(licences.refused(model.licences)):
        raise Refused(
            f"{field} {licences}: no patch is under it; the patches are under "
            f"{', '.join(model.licences)}",
            field,
        )
    return licences


def read_positions(value: Any, field: str, count: int) -> list[int]:
    """Positions of objects, sorted; None for none.

    Raises:
      Refused: if it is anything else.
    """
    if value is None:
        return []
    is_sound = isinstance(value, list) and all(
        _is_whole(item) and 0 <= item < count for item in value
    )
    if not is_sound:
        raise Refused(f"{field}: must be a list of positions in [0, {count})", field)
    return sorted(set(value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value)


def _is_number(value: Any) -> bool:
    """False for huge ones too, which no message could show."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) < _HUGE


def _shown(value: Any) -> str:
    """Short, and quick for huge and deep values too."""
    if isinstance(value, str):
        return repr(value[:40])
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if abs(value) < _HUGE else "a huge number"
    return "a list" if isinstance(value, list) else "an object"


def _listed(needed: Collection[str], optional: Collection[str]) -> str:
    return ", ".join((*needed, *optional))
