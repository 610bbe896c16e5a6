"""Relationships of a scene graph that contradict each other."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from rgan_tf.scene_graph import Box, SceneGraph

Relationship = tuple[int, str, int]


class _Order(NamedTuple):
    """Predicates that order two objects; no object comes before itself.

    Attributes:
      before: predicates whose subject comes first.
      after: predicates whose object comes first.
      disagree: whether two boxes contradict the order; None if boxes do not show it.
    """

    before: tuple[str, ...]
    after: tuple[str, ...] = ()
    disagree: Callable[[Box, Box], bool] | None = None


# The six geometric relationships, and Visual Genome's words for the same.
_ORDERS = (
    _Order(
        ("left of", "to the left of", "on left of", "on the left of"),
        ("right of", "to the right of", "on right of", "on the right of"),
        lambda first, second: _middle(first, 0) > _middle(second, 0),
    ),
    _Order(
        ("above", "over"),
        ("below", "under", "beneath", "underneath"),
        lambda first, second: _middle(first, 1) > _middle(second, 1),
    ),
    _Order(
        ("inside", "in", "inside of", "within"),
        ("surrounding", "containing", "contains"),
        lambda first, second: _area(first) > _area(second) or not _overlap(first, second),
    ),
    _Order(("in front of",), ("behind",)),
    _Order(("on", "on top of")),
)


@dataclasses.dataclass(frozen=True)
class Contradiction:
    """Relationships that cannot all be true.

    Attributes:
      relationships: (subject, predicate, object), in the order of their cycle.
      is_of_boxes: whether they contradict the boxes of the graph instead of each other.
    """

    relationships: tuple[Relationship, ...]
    is_of_boxes: bool = False

    def text(self, objects: tuple[str, ...]) -> str:
        """The contradiction in words; `objects` are the categories of the graph."""
        listed = ", ".join(
            f"{objects[subject]} ({subject}) {predicate} {objects[target]} ({target})"
            for subject, predicate, target in self.relationships
        )
        verdict = "the boxes say otherwise" if self.is_of_boxes else "not all can be true"
        return f"{listed}: {verdict}"

    def to_json(self) -> dict[str, Any]:
        """The relationships as in a graph, and whether they contradict its boxes."""
        return {
            "relationships": [list(relationship) for relationship in self.relationships],
            "boxes": self.is_of_boxes,
        }


def contradictions(graph: SceneGraph) -> list[Contradiction]:
    """All contradictions, each cycle of relationships once.

    For example two objects that are each left of the other, or inside each other, or a chain of
    objects whose last is above the first. Being left of an object and above it does not contradict.

    Args:
      graph: with valid structure.
    """
    found: dict[frozenset[Relationship], Contradiction] = {}
    of_boxes = []
    for order in _ORDERS:
        edges = _edges(graph, order)
        for (first, second), relationships in edges.items():
            back = _shortest_path(edges, second, first)
            for relationship in relationships if back is not None else ():
                cycle = (relationship, *back)
                found.setdefault(frozenset(cycle), Contradiction(cycle))
            boxes = graph.boxes[first], graph.boxes[second]
            if order.disagree is not None and None not in boxes and order.disagree(*boxes):
                of_boxes += [Contradiction((item,), is_of_boxes=True) for item in relationships]
    return [*found.values(), *of_boxes]


def _edges(graph: SceneGraph, order: _Order) -> dict[tuple[int, int], list[Relationship]]:
    """(first, second) -> the relationships that imply this order."""
    edges: dict[tuple[int, int], list[Relationship]] = collections.defaultdict(list)
    for subject, predicate, target in graph.relationships:
        if predicate in order.before:
            edges[subject, target].append((subject, predicate, target))
        elif predicate in order.after:
            edges[target, subject].append((subject, predicate, target))
    return dict(edges)


def _shortest_path(
    edges: dict[tuple[int, int], list[Relationship]], start: int, end: int
) -> tuple[Relationship, ...] | None:
    """One relationship per step from an object to another; None if there is no path."""
    paths: dict[int, tuple[Relationship, ...]] = {start: ()}
    queue = collections.deque([start])
    while queue:
        here = queue.popleft()
        if here == end:
            return paths[here]
        for (first, second), relationships in edges.items():
            if first == here and second not in paths:
                paths[second] = (*paths[here], relationships[0])
                queue.append(second)
    return None


def _middle(box: Box, axis: int) -> float:
    return (box[axis] + box[axis + 2]) / 2


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(one: Box, other: Box) -> bool:
    return all(max(one[k], other[k]) < min(one[k + 2], other[k + 2]) for k in (0, 1))
