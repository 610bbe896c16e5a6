"""Scene graphs as the user writes them: parsing, checking, padding to fixed sizes.

The JSON is sg2im's, with two optional keys: `{"objects": ["sky", ...], "relationships":
[[0, "above", 1], ...], "boxes": [[x0, y0, x1, y1] | null, ...], "patches": [bank id | image path
| null, ...]}`. Boxes are fractions of the image, x to the right and y downwards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.errors import BadInput
from rgan_tf.files import read_json
from rgan_tf.vocabulary import IMAGE, Vocabulary

MAX_OBJECTS = 16  # in one graph, whatever a model was built for
MAX_RELATIONSHIPS = 32
MAX_FILE_BYTES = 64 * 2**10
MAX_NAME_CHARACTERS = 64
MAX_PATH_CHARACTERS = 4096
MAX_PATCH_ID = 2**31 - 1
MAX_GRAPHS = 1024  # in one file

Box = tuple[float, float, float, float]

_KEYS = ("objects", "relationships", "boxes", "patches")


@dataclasses.dataclass(frozen=True)
class SceneGraph:
    """One scene graph whose structure is sound; names are not looked up yet.

    Attributes:
      objects: category names, 1 to `MAX_OBJECTS`.
      relationships: (subject, predicate, object) with positions in `objects`; each once, in the
        order of first mention, and never from an object to itself.
      boxes: per object (x0, y0, x1, y1) with 0 <= x0 < x1 <= 1 and the same for y, or None.
      patches: per object the user's choice: a bank id, the path of an image, or None.
    """

    objects: tuple[str, ...]
    relationships: tuple[tuple[int, str, int], ...] = ()
    boxes: tuple[Box | None, ...] = ()
    patches: tuple[int | str | None, ...] = ()


def parse_scene_graph(value: Any, source: str = "scene graph") -> SceneGraph:
    """Checks the structure of a parsed JSON value; the value itself is left as it is.

    Args:
      value: what the JSON held.
      source: how to call it in messages.

    Raises:
      BadInput: for anything that is not a sound scene graph, naming the place. A relation of an
        object to itself is refused; a repeated relation counts once.
    """
    if not isinstance(value, dict):
        raise BadInput(f'{source}: expected an object with "objects", got {_kind(value)}')
    unknown = [key for key in value if key not in _KEYS]
    if unknown:
        raise BadInput(f"{source}: unknown key {_shown(unknown[0])}; known: {', '.join(_KEYS)}")
    names = _list(value.get("objects"), f"{source}: objects", MAX_OBJECTS)
    if not names:
        raise BadInput(f"{source}: objects is empty; name at least one object")
    objects = tuple(_name(item, f"{source}: objects[{i}]") for i, item in enumerate(names))
    rows = _list(value.get("relationships", []), f"{source}: relationships", MAX_RELATIONSHIPS)
    relationships = (
        _relationship(row, len(objects), f"{source}: relationships[{i}]")
        for i, row in enumerate(rows)
    )
    return SceneGraph(
        objects=objects,
        relationships=tuple(dict.fromkeys(relationships)),
        boxes=_per_object(value, "boxes", _box, len(objects), source),
        patches=_per_object(value, "patches", _patch, len(objects), source),
    )


def load_scene_graphs(
    path: str | Path, parse: Callable[[Any, str], Any] = parse_scene_graph
) -> list[Any]:
    """Reads a file with one scene graph, or a list of them.

    Args:
      path: the file.
      parse: of (value, how to call it in messages), what makes a graph of each.

    Returns:
      What `parse` gave, `SceneGraph` if it is left out.

    Raises:
      BadInput: if the file is missing, larger than `MAX_FILE_BYTES` per graph, not JSON, or
        holds something else.
    """
    value = read_json(path, max_bytes=MAX_FILE_BYTES * MAX_GRAPHS, unique_keys=True)
    if not isinstance(value, list):
        size = Path(path).stat().st_size
        if size > MAX_FILE_BYTES:
            raise BadInput(f"{path}: {size} bytes, and a scene graph may have {MAX_FILE_BYTES}")
        return [parse(value, str(path))]
    if not 1 <= len(value) <= MAX_GRAPHS:
        raise BadInput(f"{path}: expected 1 to {MAX_GRAPHS} scene graphs, got {len(value)}")
    return [parse(item, f"{path}: graph {i}") for i, item in enumerate(value)]


def load_scene_graph(path: str | Path) -> SceneGraph:
    """Reads a file with exactly one scene graph; raises as `load_scene_graphs`."""
    graphs = load_scene_graphs(path)
    if len(graphs) != 1:
        raise BadInput(f"{path}: holds {len(graphs)} scene graphs, expected one")
    return graphs[0]


def encode_scene_graph(
    graph: SceneGraph,
    vocabulary: Vocabulary,
    max_objects: int,
    max_triples: int,
    source: str = "scene graph",
    place: str | Path = "PLACE",
) -> dict[str, Any]:
    """Looks the names up and pads everything to fixed sizes.

    Args:
      graph: what to encode.
      vocabulary: of the model that will read it.
      max_objects: O, objects without the image node.
      max_triples: T, triples without those to the image node.
      source: how to call it in messages.
      place: what `rgan vocabulary` lists the vocabulary of, for messages.

    Returns:
      objects [O] int32, 0 where padded; triples [T, 3] int32 (subject position, predicate id,
      object position), -1 where padded; boxes [O, 4] float32 as [y0, x0, y1, x1], 0 where not
      given; boxes_given [O] bool; patch_ids [O] int32, -1 where not given; patch_paths, a list
      of O paths or None.

    Raises:
      BadInput: for a name that the vocabulary does not have (with names that are near), or more
        objects or relationships than fit.
    """
    for kind, count, limit in (
        ("objects", len(graph.objects), max_objects),
        ("relationships", len(graph.relationships), max_triples),
    ):
        if count > limit:
            raise BadInput(f"{source}: {count} {kind}, and this model takes at most {limit}")
    objects = np.zeros([max_objects], np.int32)
    triples = np.full([max_triples, 3], -1, np.int32)
    boxes = np.zeros([max_objects, 4], np.float32)
    boxes_given = np.zeros([max_objects], bool)
    patch_ids = np.full([max_objects], -1, np.int32)
    patch_paths: list[str | None] = [None] * max_objects
    for i, name in enumerate(graph.objects):
        objects[i] = _looked_up(vocabulary.object_id, name, f"{source}: objects[{i}]", place)
    for i, (subject, predicate, target) in enumerate(graph.relationships):
        where = f"{source}: relationship {subject}-{target}"
        triples[i] = subject, _looked_up(vocabulary.predicate_id, predicate, where, place), target
    for i, box in enumerate(graph.boxes):
        if box is not None:
            x0, y0, x1, y1 = box
            boxes[i] = y0, x0, y1, x1
            boxes_given[i] = True
    for i, patch in enumerate(graph.patches):
        if isinstance(patch, str):
            patch_paths[i] = patch
        elif patch is not None:
            patch_ids[i] = patch
    return {
        "objects": objects,
        "triples": triples,
        "boxes": boxes,
        "boxes_given": boxes_given,
        "patch_ids": patch_ids,
        "patch_paths": patch_paths,
    }


def decode_scene_graph(
    objects: np.ndarray, triples: np.ndarray, boxes: np.ndarray | None, vocabulary: Vocabulary
) -> dict[str, Any]:
    """The JSON of a padded graph; inverse of `encode_scene_graph` without patches.

    Args:
      objects: [O] integer ids, padding last.
      triples: [T, 3] integers, rows of -1 are left out, and so is the image node.
      boxes: [O, 4] as [y0, x0, y1, x1], or None to write no boxes.
      vocabulary: of those ids.
    """
    count = int(np.count_nonzero(objects > IMAGE))
    graph: dict[str, Any] = {
        "objects": [vocabulary.object_name(int(i)) for i in objects[:count]],
        "relationships": [
            [int(subject), vocabulary.predicate_name(int(predicate)), int(target)]
            for subject, predicate, target in triples
            if subject >= 0 and target < count
        ],
    }
    if boxes is not None:
        graph["boxes"] = [
            [round(float(value), 6) for value in (x0, y0, x1, y1)]
            for y0, x0, y1, x1 in boxes[:count]
        ]
    return graph


def _per_object(
    value: dict[str, Any], key: str, check: Callable[[Any, str], Any], count: int, source: str
) -> tuple:
    if value.get(key) is None:
        return (None,) * count
    rows = _list(value[key], f"{source}: {key}", MAX_OBJECTS)
    if len(rows) != count:
        raise BadInput(f"{source}: {key} has {len(rows)} entries for {count} objects; use null")
    return tuple(
        None if row is None else check(row, f"{source}: {key}[{i}]") for i, row in enumerate(rows)
    )


def _relationship(row: Any, count: int, where: str) -> tuple[int, str, int]:
    if not isinstance(row, list) or len(row) != 3:
        raise BadInput(f'{where}: expected [subject, "name", object], got {_shown(row)}')
    for position in (row[0], row[2]):
        if not isinstance(position, int) or isinstance(position, bool):
            raise BadInput(f"{where}: {_shown(position)} must be an integer position in objects")
        if not 0 <= position < count:
            raise BadInput(f"{where}: position {_shown(position)} must be in [0, {count})")
    if row[0] == row[2]:
        raise BadInput(f"{where}: relates object {row[0]} to itself")
    return row[0], _name(row[1], where), row[2]


def _box(row: Any, where: str) -> Box:
    numbers = isinstance(row, list) and len(row) == 4
    if not numbers or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in row):
        raise BadInput(f"{where}: expected [x0, y0, x1, y1] or null, got {_shown(row)}")
    if not all(0 <= v <= 1 for v in row):  # false for NaN, and exact for huge integers
        raise BadInput(f"{where}: {_shown(row)} must lie in [0, 1], fractions of the image")
    x0, y0, x1, y1 = (float(np.float32(v)) for v in row)
    # Compared as float32, as the model will see it: no box may collapse on the way.
    if x0 >= x1 or y0 >= y1:
        raise BadInput(f"{where}: {_shown(row)} needs x0 < x1 and y0 < y1")
    return tuple(float(v) for v in row)


def _patch(row: Any, where: str) -> int | str:
    if isinstance(row, str) and 0 < len(row) <= MAX_PATH_CHARACTERS and "\0" not in row:
        return row
    if isinstance(row, int) and not isinstance(row, bool) and 0 <= row <= MAX_PATCH_ID:
        return row
    raise BadInput(f"{where}: expected a bank id, an image path or null, got {_shown(row)}")


def _name(item: Any, where: str) -> str:
    if not isinstance(item, str) or not 0 < len(item) <= MAX_NAME_CHARACTERS:
        expected = f"a name of 1 to {MAX_NAME_CHARACTERS} characters"
        raise BadInput(f"{where}: expected {expected}, got {_shown(item)}")
    return item


def _list(value: Any, where: str, limit: int) -> list:
    if not isinstance(value, list):
        raise BadInput(f"{where}: expected a list, got {_kind(value)}")
    if len(value) > limit:
        raise BadInput(f"{where}: {len(value)} entries, at most {limit} are allowed")
    return value


def _looked_up(lookup: Callable[[str], int], name: str, where: str, place: str | Path) -> int:
    try:
        return lookup(name)
    except BadInput as error:
        raise BadInput(f"{where}: {error}; rgan vocabulary {place} lists all names") from error


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def _shown(value: Any) -> str:
    """A short form for messages, of constant cost even for a huge or deep value."""
    if isinstance(value, (list, dict)):
        plain = len(value) <= 4 and all(
            item is None or isinstance(item, (bool, float)) or _small(item) for item in value
        )
        return repr(value) if plain and isinstance(value, list) else f"a {_kind(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return "a huge integer"
    return repr(value if not isinstance(value, str) else value[:40])


def _small(item: Any) -> bool:
    if isinstance(item, str):
        return len(item) <= 40
    return isinstance(item, int) and abs(item) < 10**18
