"""Plans which pairs a study shows, in what order and on which sides."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_MIN_PATCHES = 2  # a single patch has nothing to be compatible with


class Chosen(NamedTuple):
    """A set of patches, or one picture.

    Attributes:
      ids: row of the bank of each patch, or the picture's number.
      figures: automatic metric -> value.
    """

    ids: tuple[int, ...]
    figures: dict[str, float]


class Scene(NamedTuple):
    """A scene graph with two sets of patches.

    Attributes:
      image_id: image of the graph.
      objects: names.
      relationships: (subject, predicate, object), the ends as positions in `objects`.
      shown: positions of the objects that have patches; None if the sets are one picture each.
      a, b: the sets, aligned with `shown`.
    """

    image_id: int
    objects: tuple[str, ...]
    relationships: tuple[tuple[int, str, int], ...]
    shown: tuple[int, ...] | None
    a: Chosen
    b: Chosen


@dataclasses.dataclass(frozen=True)
class Pair:
    """One question.

    Attributes:
      id: its name on the page, by its position there.
      scene: the scene to show.
      left: "a" or "b", the set on the left.
      repeats: id of the earlier pair that this one repeats with sides swapped, or None.
    """

    id: str
    scene: Scene
    left: str
    repeats: str | None = None

    @property
    def right(self) -> str:
        """The set on the right."""
        return "b" if self.left == "a" else "a"


@dataclasses.dataclass
class LeftOut:
    """How many scenes were left out, and why.

    Attributes:
      identical: both selections chose the same patches.
      too_small: fewer than two objects have patches.
    """

    identical: int = 0
    too_small: int = 0


def take_scenes(scenes: Iterable[Scene], count: int) -> tuple[list[Scene], LeftOut]:
    """The first usable scenes, and what was left out before the last of them."""
    taken: list[Scene] = []
    left_out = LeftOut()
    for scene in scenes:
        if scene.shown is not None and len(scene.shown) < _MIN_PATCHES:
            left_out.too_small += 1
        elif _appearance(scene, scene.a) == _appearance(scene, scene.b):
            left_out.identical += 1
        else:
            taken.append(scene)
        if len(taken) == count:
            break
    return taken, left_out


def plan_pairs(scenes: list[Scene], repeats: int, *, seed: int) -> list[Pair]:
    """Pairs in a random order, set a on the left in half of them.

    Repeated pairs come from the first half of the order and are shown again somewhere in the second
    half, so that they are not recognised at once.

    Args:
      scenes: the scenes to ask about.
      repeats: number of pairs shown twice, at most half of them, rounded up.
      seed: of order, sides and repeats.
    """
    generator = np.random.default_rng([seed, 1])
    count = len(scenes)
    order = generator.permutation(count)
    # Balanced, so that a preference for one side favours neither set.
    a_is_left = generator.permutation(np.arange(count) % 2 == generator.integers(2))
    half = most_repeats(count)
    shown = [(int(scene), bool(is_left)) for scene, is_left in zip(order, a_is_left, strict=True)]
    again = [
        (scene, not is_left)
        for scene, is_left in (
            shown[int(i)] for i in generator.choice(half, size=repeats, replace=False)
        )
    ]
    late = [*shown[half:], *again]
    shown = shown[:half] + [late[int(i)] for i in generator.permutation(len(late))]

    width = len(str(len(shown)))
    pairs: list[Pair] = []
    first_id: dict[int, str] = {}
    for place, (scene, is_left) in enumerate(shown, 1):
        name = f"p{place:0{width}d}"
        pairs.append(Pair(name, scenes[scene], "a" if is_left else "b", first_id.get(scene)))
        first_id.setdefault(scene, name)
    return pairs


def most_repeats(scenes: int) -> int:
    """How many of that many pairs can be repeated."""
    return (scenes + 1) // 2


def _appearance(scene: Scene, chosen: Chosen) -> list[tuple[str, int]]:
    """The visible content of a set: two trees that exchange patches change nothing."""
    if scene.shown is None:
        return [("", row) for row in chosen.ids]
    return sorted((scene.objects[i], row) for i, row in zip(scene.shown, chosen.ids, strict=True))
