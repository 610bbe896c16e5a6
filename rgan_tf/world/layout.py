"""Places things in the procedural world: settings, categories, sizes and positions.

A thing's category determines where it can be, so a layout can be learned from names alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from rgan_tf.world import plants, shapes
from rgan_tf.world.ambience import Ambience
from rgan_tf.world.layer import Layer, pick


@dataclasses.dataclass(frozen=True)
class Thing:
    """How a category of things looks and where it belongs.

    Attributes:
      painter: draws it.
      width, height: ranges, fractions of the image, in the middle distance.
      place: "sky", "water", "road", "land" (on the ground) or "front" (close to the viewer).
      supercategory: as written to the annotations.
    """

    painter: Callable[[Layer, np.random.Generator, Ambience], None]
    width: tuple[float, float]
    height: tuple[float, float]
    place: str
    supercategory: str


THINGS: dict[str, Thing] = {
    "balloon": Thing(shapes.balloon, (0.17, 0.25), (0.24, 0.34), "sky", "sky"),
    "bird": Thing(shapes.bird, (0.22, 0.30), (0.13, 0.18), "sky", "animal"),
    "boat": Thing(shapes.boat, (0.24, 0.34), (0.26, 0.38), "water", "vehicle"),
    "bush": Thing(plants.bush, (0.24, 0.34), (0.14, 0.20), "land", "plant"),
    "car": Thing(shapes.car, (0.36, 0.46), (0.17, 0.21), "road", "vehicle"),
    "cloud": Thing(shapes.cloud, (0.34, 0.56), (0.13, 0.20), "sky", "sky"),
    "fence": Thing(shapes.fence, (0.46, 0.74), (0.12, 0.16), "land", "building"),
    "flower": Thing(plants.flower, (0.17, 0.23), (0.27, 0.36), "front", "plant"),
    "horse": Thing(shapes.horse, (0.30, 0.38), (0.26, 0.32), "land", "animal"),
    "house": Thing(shapes.house, (0.36, 0.48), (0.32, 0.42), "land", "building"),
    "person": Thing(shapes.person, (0.13, 0.16), (0.32, 0.40), "land", "person"),
    "pine": Thing(plants.pine, (0.20, 0.27), (0.44, 0.58), "land", "plant"),
    "sun": Thing(shapes.sun, (0.18, 0.22), (0.18, 0.22), "sky", "sky"),
    "tree": Thing(plants.tree, (0.28, 0.38), (0.40, 0.54), "land", "plant"),
}
"""Every category of things; the ambience decides whether `sun` is the sun or the moon."""


STUFF: dict[str, str] = {
    "grass": "plant",
    "mountain": "ground",
    "road": "ground",
    "sand": "ground",
    "sky": "sky",
    "water": "water",
}
"""Every category of stuff with its supercategory."""


SETTINGS: dict[str, tuple[str, ...]] = {
    "meadow": (
        "tree",
        "tree",
        "pine",
        "house",
        "house",
        "horse",
        "person",
        "flower",
        "fence",
        "bush",
    ),
    "road": ("car", "car", "tree", "tree", "house", "pine", "person", "bush"),
    "beach": ("boat", "person", "person", "horse", "bush", "fence"),
    "lake": ("boat", "tree", "pine", "flower", "person", "bush", "horse", "house"),
}


_SKY_THINGS = ("sun", "cloud", "cloud", "balloon", "bird")


@dataclasses.dataclass(frozen=True)
class Placed:
    """A thing with its box (x0, y0, x1, y1, fractions) and distance (0 near, 1 far)."""

    name: str
    box: tuple[float, float, float, float]
    depth: float


def light_position(
    rng: np.random.Generator, ambience: Ambience, horizon: float
) -> tuple[float, float]:
    """Where in the sky the light is (x, y), on the side it comes from."""
    x = 0.5 + 0.38 * ambience.light[0] + rng.uniform(-0.07, 0.07)
    y = horizon * (0.86 + 0.62 * ambience.light[1]) + rng.uniform(-0.03, 0.03)
    return min(max(x, 0.14), 0.86), min(max(y, 0.12), horizon - 0.12)


def land_of(
    rng: np.random.Generator, setting: str, horizon: float
) -> tuple[float, float, tuple[float, float] | None]:
    """Top and bottom of the area for things, and the band of the road if there is one."""
    if setting == "road":
        top = rng.uniform(0.70, 0.76)
        return horizon + 0.04, top + 0.03, (top, rng.uniform(0.93, 0.99))
    if setting == "meadow":
        return horizon + 0.08, 0.98, None
    return rng.uniform(0.70, 0.78), 0.99, None


def box_area(box: tuple[float, float, float, float]) -> float:
    """Area of a box (x0, y0, x1, y1); 0 if it is inverted."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _collides(box: tuple[float, float, float, float], others: list[Placed]) -> bool:
    """Whether a box hides too much of another one, or is hidden too much itself."""
    for other in others:
        shared = (
            max(box[0], other.box[0]),
            max(box[1], other.box[1]),
            min(box[2], other.box[2]),
            min(box[3], other.box[3]),
        )
        if box_area(shared) > 0.20 * min(box_area(box), box_area(other.box)):
            return True
    return False


def place_things(
    rng: np.random.Generator,
    setting: str,
    count: int,
    light_at: tuple[float, float],
    horizon: float,
    land: tuple[float, float],
    road_band: tuple[float, float] | None,
) -> list[Placed]:
    """Chooses things for a setting and finds room for them; may place fewer than wanted."""
    choices = SETTINGS[setting]
    first = {"road": "car", "beach": "boat", "lake": "boat"}.get(setting)
    names = [first] if first and rng.random() < 0.8 else [pick(rng, choices)]
    names.append(pick(rng, _SKY_THINGS))
    while len(names) < count:
        names.append(pick(rng, _SKY_THINGS if rng.random() < 0.25 else choices))
    placed: list[Placed] = []
    for name in names:
        repeats = sum(other.name == name for other in placed)
        if repeats >= (1 if name in ("sun", "house", "fence", "balloon") else 2):
            continue
        for _ in range(24):
            candidate = _candidate(rng, name, light_at, horizon, land, road_band)
            if not _collides(candidate.box, placed):
                placed.append(candidate)
                break
    return placed


def _candidate(
    rng: np.random.Generator,
    name: str,
    light_at: tuple[float, float],
    horizon: float,
    land: tuple[float, float],
    road_band: tuple[float, float] | None,
) -> Placed:
    """A random place for a thing, not yet checked for room."""
    thing = THINGS[name]
    width, height = rng.uniform(*thing.width), rng.uniform(*thing.height)
    if name == "sun":
        x, y = light_at
        return Placed(name, (x - width / 2, y - width / 2, x + width / 2, y + width / 2), 1.0)
    if thing.place == "sky":
        x = rng.uniform(width * 0.40, 1 - width * 0.40)
        low = max(height + 0.01, horizon - (0.06 if name == "cloud" else 0.0))
        base = rng.uniform(height * 0.96, low)
        return Placed(name, (x - width / 2, base - height, x + width / 2, base), 0.35)
    top, bottom = land
    if thing.place == "water":
        base = rng.uniform(horizon + 0.06, max(horizon + 0.08, top - 0.01))
    elif thing.place == "road" and road_band:
        span = road_band[1] - road_band[0]
        base = rng.uniform(road_band[0] + span * 0.45, road_band[0] + span * 0.90)
    elif thing.place == "front":
        base = rng.uniform(0.90, 1.0)
    else:
        base = top + (bottom - top) * float(rng.random()) ** 0.7
        base = max(base, top + 0.02)
    nearness = min(1.0, max(0.0, (base - horizon) / (1 - horizon)))
    scale = 0.82 + 0.30 * nearness
    width, height = width * scale, height * scale
    x = rng.uniform(width * 0.42, 1 - width * 0.42)
    return Placed(name, (x - width / 2, base - height, x + width / 2, base), 1 - nearness)
