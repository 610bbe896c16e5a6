"""Draws one scene of the procedural world, far to near, and keeps the mask of every object."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from rgan_tf.world import ground
from rgan_tf.world.ambience import AMBIENCES, Ambience, mix
from rgan_tf.world.layer import Layer, pick, to_rgb
from rgan_tf.world.layout import (
    SETTINGS,
    THINGS,
    Placed,
    box_area,
    land_of,
    light_position,
    place_things,
)

SUPERSAMPLING = 2
MIN_BOX_SHARE = 0.023
"""Slightly more than the 2 % of the image below which the COCO filter drops an object."""
MAX_OBJECTS = 8
_CAMERA = 1  # separates the camera's random numbers from those of the layout
_MIN_VISIBLE = 0.40  # share of its box that must stay in sight
_HALF = [0] * 128 + [255] * 128  # a lookup table: half covered and more is covered


@dataclasses.dataclass(frozen=True)
class SceneObject:
    """An object as visible in the finished picture.

    Attributes:
      category: its name.
      box: (x, y, width, height) in pixels, the extent of its visible pixels.
      mask: [S, S] bool, its visible pixels.
    """

    category: str
    box: tuple[int, int, int, int]
    mask: np.ndarray


@dataclasses.dataclass(frozen=True)
class Scene:
    """A finished picture: image [S, S, 3] uint8, the ambience's name, and 3 to 8 objects."""

    image: np.ndarray
    style: str
    objects: tuple[SceneObject, ...]


def draw_scene(size: int, seed: int, index: int) -> Scene:
    """Draws the scene with the given index.

    Args:
      size: side of the picture in pixels, at least 32.
      seed: the world's seed.
      index: number of the scene; with seed and size it determines the picture.

    Returns:
      The scene, with 3 to 8 objects whose boxes each cover more than 2 % of the picture.
    """
    attempt = 0
    while True:
        rng = np.random.default_rng([seed, index, attempt])
        scene = _attempt(size, rng, np.random.default_rng([seed, index, attempt, _CAMERA]))
        if 3 <= len(scene.objects) <= MAX_OBJECTS:
            return scene
        attempt += 1


def _attempt(size: int, rng: np.random.Generator, camera: np.random.Generator) -> Scene:
    ambience = pick(rng, AMBIENCES).photographed(camera)
    setting = pick(rng, ("meadow", *SETTINGS))
    side = size * SUPERSAMPLING
    canvas = Image.new("RGB", (side, side))
    owners = Image.new("L", (side, side))
    names: list[str] = []

    def own(name: str, mask: Image.Image, corner: tuple[int, int] = (0, 0)) -> None:
        names.append(name)
        solid = mask.point(_HALF)
        owners.paste(len(names), (*corner, corner[0] + mask.width, corner[1] + mask.height), solid)

    horizon = rng.uniform(0.42, 0.56)
    light_at = light_position(rng, ambience, horizon)
    own("sky", ground.sky(canvas, rng, ambience, horizon, light_at))
    land_top, land_bottom, road_band = land_of(rng, setting, horizon)
    has_mountain = rng.random() < 0.45
    stuff_count = {"meadow": 2, "road": 3, "beach": 3, "lake": 3}[setting] + has_mountain
    count = min(int(rng.integers(2, 6)), MAX_OBJECTS - stuff_count)
    things = place_things(
        rng, setting, count, light_at, horizon, (land_top, land_bottom), road_band
    )

    for placed in things:
        if placed.name in ("sun", "cloud"):
            _draw_thing(canvas, rng, ambience, placed, own)
    if has_mountain:
        away = -1 if ambience.light[0] > 0 else 1
        centre = 0.5 + away * rng.uniform(0.02, 0.26)
        high, half = rng.uniform(0.20, 0.32), rng.uniform(0.40, 0.62)
        own("mountain", ground.mountain(canvas, rng, ambience, horizon, high, centre, half))
    for placed in things:
        if placed.name in ("balloon", "bird"):
            _draw_thing(canvas, rng, ambience, placed, own)
    if setting in ("beach", "lake"):
        own("water", ground.water(canvas, rng, ambience, horizon, light_at[0]))
        for placed in things:
            if placed.name == "boat":
                _reflect(canvas, rng, ambience, placed, own)
        painter = ground.sand if setting == "beach" else ground.grass
        own(
            "sand" if setting == "beach" else "grass",
            painter(canvas, rng, ambience, land_top, 0.018),
        )
    else:
        own("grass", ground.grass(canvas, rng, ambience, horizon, 0.02))
    if road_band:
        own("road", ground.road(canvas, rng, ambience, *road_band))
    if ambience.haze_near > 0.2:
        _mist(canvas, rng, ambience, horizon)
    for placed in sorted(things, key=lambda thing: thing.box[3]):
        if THINGS[placed.name].place not in ("sky", "water"):
            _draw_thing(canvas, rng, ambience, placed, own)
    _weather(canvas, rng, ambience)

    image = ambience.grade(np.asarray(canvas.reduce(SUPERSAMPLING)))
    table = np.asarray(owners)[1::SUPERSAMPLING, 1::SUPERSAMPLING]
    objects = []
    for number, name in enumerate(names, start=1):
        seen = _visible(name, table == number, [t for t in things if t.name == name])
        if seen is not None:
            objects.append(seen)
    return Scene(image=image, style=ambience.name, objects=tuple(objects))


def _visible(name: str, mask: np.ndarray, placed: list[Placed]) -> SceneObject | None:
    """The visible part of an object, or None if too little of it is left to annotate."""
    size = mask.shape[0]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    x0, x1 = int(columns[0]), int(columns[-1]) + 1
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    if (x1 - x0) * (y1 - y0) < MIN_BOX_SHARE * size * size:
        return None
    smallest = min((box_area(thing.box) for thing in placed), default=0.0)
    if (x1 - x0) * (y1 - y0) < _MIN_VISIBLE * smallest * size * size:
        return None
    return SceneObject(category=name, box=(x0, y0, x1 - x0, y1 - y0), mask=mask)


def _draw_thing(
    canvas: Image.Image,
    rng: np.random.Generator,
    ambience: Ambience,
    placed: Placed,
    own: Callable[..., None],
) -> Layer:
    """Draws a thing with its shadow, and passes its mask to `own`."""
    side = canvas.width
    x0, y0, x1, y1 = (round(part * side) for part in placed.box)
    thing = THINGS[placed.name]
    flat = placed.name in ("sun", "cloud")
    layer = Layer(x1 - x0, y1 - y0, mirrored=bool(rng.random() < 0.5))
    if flat:
        layer.image.paste(
            to_rgb(ambience.cloud[0] if placed.name == "cloud" else ambience.disc),
            (0, 0, *layer.image.size),
        )
    thing.painter(layer, rng, ambience)
    if flat:
        soft = max(1.0, side * (0.010 if placed.name == "cloud" else 0.004))
        image = layer.image.filter(ImageFilter.BoxBlur(soft))
        mask = layer.mask.filter(ImageFilter.BoxBlur(soft))
    else:
        if thing.place in ("land", "front", "road"):
            _shadow(canvas, ambience, placed)
        image = layer.finish(ambience, placed.depth, frost=thing.place != "sky")
        mask = layer.mask
    canvas.paste(image, (x0, y0), mask)
    own(placed.name, mask, (x0, y0))
    return layer


def _reflect(
    canvas: Image.Image,
    rng: np.random.Generator,
    ambience: Ambience,
    placed: Placed,
    own: Callable[..., None],
) -> None:
    """Draws a floating thing with its broken reflection."""
    layer = _draw_thing(canvas, rng, ambience, placed, own)
    side = canvas.width
    x0, y1 = round(placed.box[0] * side), round(placed.box[3] * side)
    size = (layer.width, max(2, layer.height // 2))
    flip = Image.Transpose.FLIP_TOP_BOTTOM
    image = layer.finish(ambience, placed.depth, frost=False).transpose(flip).resize(size)
    mask = layer.mask.transpose(flip).resize(size).point([int(v * 0.38) for v in range(256)])
    draw = ImageDraw.Draw(mask)
    for row in range(2, size[1], max(3, size[1] // 7)):
        draw.line((0, row, size[0], row), fill=0, width=max(1, size[1] // 24))
    canvas.paste(image, (x0, y1 - 1), mask)


def _shadow(canvas: Image.Image, ambience: Ambience, placed: Placed) -> None:
    """Darkens the ground at the foot of a thing, away from the light."""
    side = canvas.width
    x0, y0, x1, y1 = (part * side for part in placed.box)
    wide, high = x1 - x0, y1 - y0
    reach = -ambience.light[0] * high * (0.20 + 0.55 * (1 + ambience.light[1]))
    thick = max(3.0, min(0.12 * high, 0.10 * wide) + 0.012 * side)
    left, right = x0 + 0.04 * wide + min(0.0, reach), x1 - 0.04 * wide + max(0.0, reach)
    pad = round(thick)
    box = (
        round(left) - pad,
        round(y1 - thick) - pad,
        round(right) + pad,
        round(y1 + thick * 0.5) + pad,
    )
    mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
    opacity = int(
        255 * (0.26 + 0.34 * ambience.relief) * (1 - 0.5 * ambience.haze_share(placed.depth))
    )
    ImageDraw.Draw(mask).ellipse((pad, pad, mask.width - pad, mask.height - pad), fill=opacity)
    mask = mask.filter(ImageFilter.BoxBlur(max(1.0, thick * 0.35)))
    canvas.paste(to_rgb(tuple(0.34 * part for part in ambience.shade)), box, mask)


def _mist(
    canvas: Image.Image, rng: np.random.Generator, ambience: Ambience, horizon: float
) -> None:
    """Lays banks of mist over the land, thickest at the horizon."""
    side = canvas.width
    small = side // 4
    banks = np.asarray(ground.noise(rng, (10, 3), small, small), np.float32) / 255.0
    y = np.linspace(0, 1, small, dtype=np.float32)[:, None]
    thick = np.exp(-(((y - horizon) / 0.16) ** 2)) * 0.75 + 0.12
    mask = Image.fromarray((np.clip(banks * thick, 0, 1) * 255).astype(np.uint8))
    canvas.paste(to_rgb(ambience.haze), (0, 0, side, side), mask.resize((side, side)))


def _weather(canvas: Image.Image, rng: np.random.Generator, ambience: Ambience) -> None:
    """Draws rain or snow in front of everything."""
    side = canvas.width
    spots = rng.random((110, 3))
    if not ambience.falling:
        return
    mask = Image.new("L", canvas.size)
    draw = ImageDraw.Draw(mask)
    if ambience.falling == "rain":
        slant = 0.32
        for x, y, near in spots:
            long = (0.04 + 0.08 * near) * side
            px, py = (x * 1.3 - 0.1) * side, (y * 1.1 - 0.05) * side
            draw.line(
                (px, py, px - slant * long, py + long),
                fill=int(70 + 90 * near),
                width=max(1, round(side * 0.004)),
            )
        canvas.paste(to_rgb(mix(ambience.haze, (0.9, 1.0, 1.0), 0.55)), (0, 0, side, side), mask)
        return
    for x, y, near in spots[:80]:
        r = (0.003 + 0.007 * near) * side
        draw.ellipse(
            (x * side - r, y * side - r, x * side + r, y * side + r), fill=int(150 + 100 * near)
        )
    canvas.paste((255, 255, 255), (0, 0, side, side), mask)
