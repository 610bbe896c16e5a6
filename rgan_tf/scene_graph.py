"""Scene graphs as users write them: parsing, checking, padding to fixed sizes.

The JSON is sg2im's, with two optional keys: `{"objects": ["sky", ...], "relationships":
[[0, "above", 1], ...], "boxes": [[x0, y0, x1, y1] | null, ...], "patches": [bank id | image path
| null, ...]}`. Boxes are fractions of the image, x to the right and y downwards.

Many programs write such files. Unknown keys are ignored, null means nothing, 1.0 and "1" mean 1,
and sg2im's node of the whole image is dropped with its relations, because the model adds it to
every graph itself. A graph made in Python may hold numbers of NumPy and `Path`s.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import numbers
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.errors import BadInput
from rgan_tf.storage.files import Unreadable, read_json
from rgan_tf.vocabulary import (
    IMAGE,
    IN_IMAGE,
    MAX_NAME_CHARACTERS,
    RESERVED_OBJECTS,
    RESERVED_PREDICATES,
    Vocabulary,
    composed,
)

MAX_OBJECTS = 16  # in one graph, for any model
MAX_RELATIONSHIPS = 32
MAX_FILE_BYTES = 64 * 2**10
MAX_PATH_CHARACTERS = 4096
MAX_PATCH_ID = 2**31 - 1
MAX_GRAPHS = 1024  # in one file

Box = tuple[float, float, float, float]

_KEYS = ("objects", "relationships", "boxes", "patches")
# Names for the node of the whole image and its relations in sg2im and programs based on it.
_IMAGE_NODES = (RESERVED_OBJECTS[IMAGE], "__IMAGE__")
_IN_IMAGE = (RESERVED_PREDICATES[IN_IMAGE], "in image", "in_image")
_MAX_ROWS = 256  # that are read, including those of the image node
_DIGITS = re.compile(r"[0-9]{1,12}")
_SHOWN = 40  # characters of a text in a message


@dataclasses.dataclass(frozen=True)
class SceneGraph:
    """One scene graph; made by `parse_scene_graph` it has valid structure, with names unchecked.

    Attributes:
      objects: category names, 1 to 16.
      relationships: (subject, predicate, object) with positions in `objects`; each once, in the
        order of first mention, and never from an object to itself.
      boxes: per object (x0, y0, x1, y1) with 0 <= x0 < x1 <= 1 and the same for y, or None; empty:
        None for all.
      patches: per object the user's choice: a bank id, the path of an image, or None; empty: None
        for all.

    Example:
      ```python
      import rgan_tf

      graph = rgan_tf.SceneGraph(("sky", "tree"), ((0, "above", 1),))
      assert graph.to_json()["relationships"] == [[0, "above", 1]]
      ```
    """

    objects: tuple[str, ...]
    relationships: tuple[tuple[int, str, int], ...] = ()
    boxes: tuple[Box | None, ...] = ()
    patches: tuple[int | str | None, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The graph as JSON values, which `parse_scene_graph` reads.

        What has no place in a graph stays as it is: the parser says so.
        """
        return {
            "objects": _json_value(self.objects),
            "relationships": _json_value(self.relationships),
            "boxes": _json_value(self.boxes) or None,
            "patches": _json_value(self.patches) or None,
        }


def _json_value(value: Any) -> Any:
    """Lists, numbers and texts, of tuples, arrays, numbers of NumPy and paths."""
    if isinstance(value, (bool, str, bytes, dict)):
        return value
    for kind, plain in ((Path, str), (numbers.Integral, int), (numbers.Real, float)):
        if isinstance(value, kind):
            return plain(value)
    try:
        items = iter(value)
    except TypeError:  # an array or tensor of no axes has `__iter__` too
        return value
    return [_json_value(item) for item in items]


def parse_scene_graph(value: Any, source: str = "scene graph") -> SceneGraph:
    """Checks the structure of a parsed JSON value; does not change the value.

    Args:
      value: the parsed JSON.
      source: its name in messages.

    Raises:
      BadInput: for anything but a valid scene graph, naming the place. A relation of an object to
        itself is refused; a repeated relation counts once.
    """
    if not isinstance(value, dict):
        raise BadInput(f'{source}: expected an object with "objects", got {_kind(value)}')
    _warn_of_slips(value, source)
    rows = _list(value.get("objects"), f"{source}: objects", _MAX_ROWS)
    names = [_name(item, f"{source}: objects[{i}]") for i, item in enumerate(rows)]
    kept = [i for i, name in enumerate(names) if name not in _IMAGE_NODES]
    if not kept:
        raise BadInput(f"{source}: objects is empty; name at least one object")
    _check_count(len(kept), f"{source}: objects", MAX_OBJECTS)
    return SceneGraph(
        objects=tuple(names[i] for i in kept),
        relationships=_relationships(value, len(names), kept, source),
        boxes=_per_object(value, "boxes", _box, len(names), kept, source),
        patches=_per_object(value, "patches", _patch, len(names), kept, source),
    )


def load_scene_graphs(
    path: str | Path, parse: Callable[[Any, str], Any] = parse_scene_graph
) -> list[Any]:
    """Reads a file with one scene graph, or a list of them.

    Args:
      path: the file.
      parse: makes a graph of each, from (value, its name in messages).

    Returns:
      The results of `parse`; by default `SceneGraph`s.

    Raises:
      BadInput: if the file is missing, larger than `MAX_FILE_BYTES` per graph, not JSON, or
        contains something else.
    """
    value = read_json(path, max_bytes=MAX_FILE_BYTES * MAX_GRAPHS, lenient=True)
    if not isinstance(value, list):
        size = Path(path).stat().st_size
        if size > MAX_FILE_BYTES:
            raise BadInput(
                f"{path}: has {size} bytes; a scene graph may have at most {MAX_FILE_BYTES}"
            )
        return [parse(value, str(path))]
    if not 1 <= len(value) <= MAX_GRAPHS:
        raise BadInput(f"{path}: expected 1 to {MAX_GRAPHS} scene graphs, got {len(value)}")
    return [parse(item, f"{path}: graph {i}") for i, item in enumerate(value)]


def encode_scene_graph(
    graph: SceneGraph,
    vocabulary: Vocabulary,
    max_objects: int,
    max_triples: int,
    source: str = "scene graph",
    place: str | Path | None = "PLACE",
) -> dict[str, Any]:
    """Looks up the names and pads everything to fixed sizes.

    Args:
      graph: what to encode.
      vocabulary: of the model that reads it.
      max_objects: O, objects without the image node.
      max_triples: T, triples without those to the image node.
      source: its name in messages.
      place: argument for `rgan vocabulary` in messages; None for no such advice.

    Returns:
      objects [O] int32, 0 where padded; triples [T, 3] int32 (subject position, predicate id,
      object position), -1 where padded; boxes [O, 4] float32 as [y0, x0, y1, x1], 0 where not
      given; boxes_given [O] bool; patch_ids [O] int32, -1 where not given; patch_paths, a list
      of O paths or None.

    Raises:
      BadInput: for a name that is not in the vocabulary (suggests near names), or more objects or
        relationships than fit.
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
      triples: [T, 3] integers; rows of -1 and those of the image node are left out.
      boxes: [O, 4] as [y0, x0, y1, x1], or None for no boxes.
      vocabulary: of these ids.
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


def _warn_of_slips(value: dict[str, Any], source: str) -> None:
    """Warns of unread keys that resemble a known one; other keys belong to other programs."""
    for key in value:
        if key in _KEYS or not isinstance(key, str):  # a dict of Python's may have any keys
            continue
        near = difflib.get_close_matches(key[:_SHOWN], _KEYS, n=1)
        if near:
            logging.getLogger(__name__).warning(
                "%s: key %s is not read; did you mean %s?", source, _shown(key), near[0]
            )


def _per_object(
    value: dict[str, Any],
    key: str,
    check: Callable[[Any, str], Any],
    count: int,
    kept: list[int],
    source: str,
) -> tuple:
    """Entries of the objects at the positions `kept` of `count`."""
    if value.get(key) is None:
        return (None,) * len(kept)
    rows = _list(value[key], f"{source}: {key}", _MAX_ROWS)
    if len(rows) != count:
        raise BadInput(f"{source}: {key} has {len(rows)} entries for {count} objects; use null")
    return tuple(None if rows[i] is None else check(rows[i], f"{source}: {key}[{i}]") for i in kept)


def _relationships(
    value: dict[str, Any], count: int, kept: list[int], source: str
) -> tuple[tuple[int, str, int], ...]:
    """Relationships between the objects at the positions `kept` of `count`, renumbered to these."""
    if value.get("relationships") is None:
        return ()
    place = f"{source}: relationships"
    positions = {old: new for new, old in enumerate(kept)}
    found: dict[tuple[int, str, int], None] = {}
    between = 0
    for i, row in enumerate(_list(value["relationships"], place, _MAX_ROWS)):
        subject, predicate, target = _relationship(row, count, f"{place}[{i}]")
        if predicate in _IN_IMAGE or subject not in positions or target not in positions:
            continue
        if subject == target:
            raise BadInput(f"{place}[{i}]: relates object {subject} to itself")
        between += 1
        found[positions[subject], predicate, positions[target]] = None
    _check_count(between, place, MAX_RELATIONSHIPS)
    return tuple(found)


def _relationship(row: Any, count: int, where: str) -> tuple[int, str, int]:
    if not isinstance(row, list) or len(row) != 3:
        raise BadInput(f'{where}: expected [subject, "name", object], got {_shown(row)}')
    positions = [_whole(row[0]), _whole(row[2])]
    for position, written in zip(positions, (row[0], row[2]), strict=True):
        if position is None:
            raise BadInput(f"{where}: {_shown(written)} must be an integer position in objects")
        if not 0 <= position < count:
            raise BadInput(f"{where}: position {_shown(position)} must be in [0, {count})")
    return positions[0], _name(row[1], where), positions[1]


def _whole(value: Any) -> int | None:
    """An integer, also if written as 1.0 or "1" or one of NumPy; None for anything else."""
    if isinstance(value, str):
        return int(value) if _DIGITS.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    return int(value) if float(value).is_integer() else None


def _box(row: Any, where: str) -> Box:
    is_four = isinstance(row, list) and len(row) == 4
    if not is_four or any(isinstance(v, bool) or not isinstance(v, numbers.Real) for v in row):
        raise BadInput(f"{where}: expected [x0, y0, x1, y1] or null, got {_shown(row)}")
    if not all(0 <= v <= 1 for v in row):  # false for NaN, and exact for huge integers
        raise BadInput(f"{where}: {_shown(row)} must lie in [0, 1], fractions of the image")
    x0, y0, x1, y1 = (float(np.float32(v)) for v in row)
    # Compared as float32, the model's type: no box may collapse by rounding.
    if x0 >= x1 or y0 >= y1:
        raise BadInput(f"{where}: {_shown(row)} needs x0 < x1 and y0 < y1")
    return tuple(float(v) for v in row)


def _patch(row: Any, where: str) -> int | str:
    number = _whole(row)
    if number is not None and 0 <= number <= MAX_PATCH_ID:
        return number
    if isinstance(row, Path):
        row = str(row)
    is_path = isinstance(row, str) and 0 < len(row) <= MAX_PATH_CHARACTERS and "\0" not in row
    if is_path and number is None:
        return row
    raise BadInput(f"{where}: expected a bank id, an image path or null, got {_shown(row)}")


def _name(item: Any, where: str) -> str:
    if not isinstance(item, str) or not 0 < len(item) <= MAX_NAME_CHARACTERS:
        expected = f"a name of 1 to {MAX_NAME_CHARACTERS} characters"
        raise BadInput(f"{where}: expected {expected}, got {_shown(item)}")
    return composed(item)


def _list(value: Any, where: str, limit: int) -> list:
    if not isinstance(value, list):
        raise BadInput(f"{where}: expected a list, got {_kind(value)}")
    _check_count(len(value), where, limit)
    return value


def _check_count(count: int, where: str, limit: int) -> None:
    if count > limit:
        raise BadInput(f"{where}: {count} entries, at most {limit} are allowed")


def _looked_up(
    lookup: Callable[[str], int], name: str, where: str, place: str | Path | None
) -> int:
    try:
        return lookup(name)
    except BadInput as error:
        advice = "" if place is None else f"; rgan vocabulary {place} lists all names"
        raise BadInput(f"{where}: {error}{advice}") from error


def _kind(value: Any) -> str:
    if isinstance(value, Unreadable):
        return repr(value)
    return "nothing" if value is None else type(value).__name__


def _shown(value: Any) -> str:
    """A short form for messages; takes constant time even for a huge or deep value."""
    if isinstance(value, (list, dict)):
        plain = len(value) <= 4 and all(
            item is None or isinstance(item, (bool, float)) or _small(item) for item in value
        )
        return repr(value) if plain and isinstance(value, list) else f"a {_kind(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return "a huge integer"
    return repr(value if not isinstance(value, str) else value[:_SHOWN])


def _small(item: Any) -> bool:
    if isinstance(item, str):
        return len(item) <= _SHOWN
    return isinstance(item, int) and abs(item) < 10**18
