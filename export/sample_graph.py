"""Reads the JSON that `rgan generate` writes next to a picture as an editable graph."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rgan_tf.errors import BadInput
from rgan_tf.near_names import near_names
from rgan_tf.scene_graph import SceneGraph, parse_scene_graph
from rgan_tf.vocabulary import composed


@dataclasses.dataclass(frozen=True)
class Edit:
    """Which objects of a sample are kept or redrawn; names are as the user wrote them.

    Attributes:
      keep: objects that stay while all others are redrawn.
      redraw: objects that are redrawn while all others stay.
    """

    keep: tuple[str, ...] = ()
    redraw: tuple[str, ...] = ()

    def __post_init__(self):
        if self.keep and self.redraw:
            raise BadInput(
                "--keep redraws all others and --redraw keeps all others: use only one of them"
            )

    def __bool__(self) -> bool:
        return bool(self.keep or self.redraw)


@dataclasses.dataclass(frozen=True)
class DrawnGraph:
    """A graph as in its file, and what stays of an earlier picture of it.

    Attributes:
      graph: what the user fixed.
      fixed: the same, with the boxes and patches that stay; images have the names of the files
        beside the JSON.
      kept: positions of the objects that stay; empty for a graph that is not a sample.
      replaced: position -> id of the patch to avoid, None for the user's own image; for redrawn
        objects.
      patches: per object the file's description of its patch of the bank, or None.
    """

    graph: SceneGraph
    fixed: SceneGraph
    kept: tuple[int, ...] = ()
    replaced: dict[int, int | None] = dataclasses.field(default_factory=dict)
    patches: tuple[dict[str, Any] | None, ...] = ()


def parse_drawn_graph(value: Any, source: str, edit: Edit, folder: Path) -> DrawnGraph:
    """Reads a graph, or a sample as a graph.

    A sample without an edit is the graph from which it was made. In a sample, "keep" and "redraw"
    may list objects like the options of these names.

    Args:
      value: the parsed JSON.
      source: its name in messages.
      edit: which objects to keep or redraw.
      folder: of the file, with a sample's own images. If the JSON was copied without them, they are
        searched where the first graph had them.

    Raises:
      BadInput: if it is not a valid graph or sample, the edit names unknown objects, or there is
        nothing to edit.
    """
    if not is_sample(value):
        if edit:
            raise BadInput(
                f"{source}: --keep and --redraw change an existing picture; name the JSON that "
                "rgan generate wrote next to it, such as OUT/sample-0001.json"
            )
        graph = parse_scene_graph(value, source)
        return DrawnGraph(graph, graph)
    if not edit:
        listed = [_listed(value, key, source) for key in ("keep", "redraw")]
        try:
            edit = Edit(*listed)
        except BadInput as error:
            raise BadInput(f"{source}: {error}") from error
    items = [_object_of(item, f"{source}: objects[{i}]") for i, item in enumerate(value["objects"])]
    patches = [item["patch"] for item in items]
    boxes = [item.get("box") for item in items]
    named = [_shown_patch(patch, folder) for patch in patches]
    shown = _graph(value, items, boxes, named, source)
    patches = [  # with their ids as numbers, however they are written
        {**described, "id": patch if isinstance(patch, int) else None}
        for described, patch in zip(patches, shown.patches, strict=True)
    ]
    given = dataclasses.replace(
        shown,
        boxes=tuple(
            box if item.get("box_given") is True else None
            for box, item in zip(shown.boxes, items, strict=True)
        ),
        patches=tuple(
            patch if described.get("chosen_by") == "user" else None
            for patch, described in zip(shown.patches, patches, strict=True)
        ),
    )
    kept = _kept(shown.objects, edit, source)
    replaced = {}
    if edit.redraw:
        replaced = {i: patches[i].get("id") for i in range(len(items)) if i not in kept}
        freed = tuple(None if i in replaced else patch for i, patch in enumerate(given.patches))
        given = dataclasses.replace(given, patches=freed)
    return DrawnGraph(
        graph=dataclasses.replace(given, patches=tuple(map(_called, given.patches, patches))),
        fixed=dataclasses.replace(
            given,
            boxes=_merged(given.boxes, shown.boxes, kept),
            patches=_merged(given.patches, shown.patches, kept),
        ),
        kept=kept,
        replaced=replaced,
        patches=tuple(patch if isinstance(patch.get("id"), int) else None for patch in patches),
    )


def positions_of(names: Sequence[str], objects: Sequence[str], where: str) -> list[int]:
    """Resolves names of objects: a category, a number within a category, or a position.

    Args:
      names: such as "house", "tree:2" (the second tree) or "3" (a position, from 0).
      objects: categories of the graph.
      where: beginning of messages.

    Raises:
      BadInput: for a name that no object has, or several.
    """
    labels = object_labels(objects)
    positions = []
    for name in names:
        name = composed(name.strip())
        if labels.count(name) == 1:
            positions.append(labels.index(name))
        elif name.isascii() and name.isdigit() and len(name) < 9 and int(name) < len(objects):
            positions.append(int(name))
        elif name.endswith(":1") and name[:-2] in labels:
            positions.append(labels.index(name[:-2]))
        elif name in objects:
            same = [label for label, other in zip(labels, objects, strict=True) if other == name]
            raise BadInput(
                f"{where} {name}: {len(same)} objects are {name}; name one or more of "
                f"{', '.join(same)}"
            )
        else:
            advice = near_names(name, labels)
            advice = advice if advice.startswith("did") else f"they are {', '.join(labels)}"
            raise BadInput(
                f"{where} {name[:40]}: no such object; {advice}; or name one by its position, 0 to "
                f"{len(objects) - 1}"
            )
    return positions


def object_labels(objects: Sequence[str]) -> list[str]:
    """One name per object: its category, numbered from 1 if several have the same."""
    seen: dict[str, int] = {}
    labels = []
    for category in objects:
        seen[category] = seen.get(category, 0) + 1
        is_alone = sum(other == category for other in objects) == 1
        labels.append(category if is_alone else f"{category}:{seen[category]}")
    return labels


def is_sample(value: Any) -> bool:
    """Whether a JSON value looks like what `rgan generate` writes beside a picture."""
    objects = value.get("objects") if isinstance(value, dict) else None
    return isinstance(objects, list) and any(isinstance(item, dict) for item in objects)


def _listed(value: dict[str, Any], key: str, source: str) -> tuple[str, ...]:
    names = value.get(key) or []
    if not isinstance(names, list) or not all(isinstance(name, (str, int)) for name in names):
        raise BadInput(f'{source}: {key}: expected a list of objects, such as ["tree:2"]')
    return tuple(map(str, names))


def _object_of(item: Any, where: str) -> dict[str, Any]:
    """An object of a sample with its patch as a dict, which is empty without a patch."""
    if not isinstance(item, dict):
        raise BadInput(f"{where}: expected an object as rgan generate writes it, with a category")
    patch = item.get("patch")
    if patch is not None and not isinstance(patch, dict):
        raise BadInput(f"{where}: patch: expected an object as rgan generate writes it, or null")
    return {**item, "patch": patch or {}}


def _graph(value, items, boxes, patches, source: str) -> SceneGraph:
    plain = {
        "objects": [item.get("category") for item in items],
        "relationships": value.get("relationships", []),
        "boxes": boxes,
        "patches": patches,
    }
    return parse_scene_graph(plain, source)


def _shown_patch(patch: dict[str, Any], folder: Path) -> Any:
    """What names the patch in a graph: an image path or an id."""
    copy, path = patch.get("file"), patch.get("path")
    if isinstance(copy, str) and (path is None or os.path.isfile(folder / copy)):
        return copy
    return patch.get("id") if path is None else path


def _called(patch: Any, described: dict[str, Any]) -> Any:
    """The user's own image under its name in the first graph."""
    return described.get("path", patch) if isinstance(patch, str) else patch


def _kept(objects: Sequence[str], edit: Edit, source: str) -> tuple[int, ...]:
    if edit.keep:
        return tuple(sorted(set(positions_of(edit.keep, objects, f"{source}: --keep"))))
    if edit.redraw:
        redrawn = positions_of(edit.redraw, objects, f"{source}: --redraw")
        return tuple(i for i in range(len(objects)) if i not in redrawn)
    return ()


def _merged(given: Sequence, shown: Sequence, kept: Sequence[int]) -> tuple:
    return tuple(shown[i] if i in kept else value for i, value in enumerate(given))
