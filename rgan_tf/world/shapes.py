"""Painters of the things of the procedural world that are not plants.

Each painter takes (layer, rng, ambience) and fills the layer's box with one thing, in its colours
under white light. Shapes, proportions and colours vary from one call to the next.
"""

from __future__ import annotations

import math

import numpy as np

from rgan_tf.world.ambience import Ambience, Colour, darker, lighter, mix
from rgan_tf.world.layer import PAINTS, Layer, jitter, pick

_SKINS: tuple[Colour, ...] = ((0.94, 0.76, 0.62), (0.78, 0.56, 0.40), (0.50, 0.33, 0.22))
_WOODS: tuple[Colour, ...] = ((0.58, 0.40, 0.24), (0.70, 0.56, 0.38), (0.86, 0.82, 0.76))
_LAMP: Colour = (1.0, 0.86, 0.46)


def sun(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """A disc: the sun, or the moon with its craters where stars show."""
    layer.ellipse(0, 0, 1, 1, ambience.disc)
    if ambience.stars:
        for _ in range(4):
            x, y, r = rng.uniform(0.25, 0.75), rng.uniform(0.25, 0.75), rng.uniform(0.05, 0.12)
            layer.ellipse(x - r, y - r, x + r, y + r, darker(ambience.disc, 0.14))


def cloud(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """A heap of puffs on a flat base, shaded below."""
    lit, shaded = ambience.cloud
    puffs = [(0.0, 0.46, 0.30, 1.0), (0.72, 0.48, 1.0, 1.0), (0.12, 0.62, 0.88, 1.0)]
    top = rng.uniform(0.34, 0.62)
    puffs.append((top - 0.22, 0.0, top + 0.22, 0.92))
    for x in (0.14, 0.34, 0.56, 0.72):
        r, y = rng.uniform(0.12, 0.17), rng.uniform(0.12, 0.36)
        puffs.append((x - r * 0.6, y, x + r * 1.4, min(1.0, y + 0.66)))
    for drop, scale, share in ((0.0, 1.0, 0.85), (-0.06, 0.86, 0.45), (-0.12, 0.66, 0.0)):
        for x0, y0, x1, y1 in puffs:
            cx, cy, w, h = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
            cx, cy, w, h = cx, cy + drop * (1 - scale) * 6 - (1 - scale) * 0.1, w * scale, h * scale
            layer.ellipse(cx - w, cy - h, cx + w, cy + h, mix(lit, shaded, share))


def house(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """A cottage: gable front, side wall under a pitched roof, door, windows, chimney."""
    wall = jitter(
        rng,
        pick(rng, ((0.93, 0.88, 0.76), (0.82, 0.62, 0.48), (0.74, 0.80, 0.84), (0.72, 0.38, 0.28))),
        0.02,
        0.1,
    )
    roof = jitter(
        rng, pick(rng, ((0.66, 0.24, 0.16), (0.36, 0.30, 0.32), (0.50, 0.34, 0.20))), 0.02, 0.18
    )
    eave, front = rng.uniform(0.40, 0.50), rng.uniform(0.36, 0.46)
    peak = front / 2
    if rng.random() < 0.7:
        x = rng.uniform(0.60, 0.80)
        layer.rectangle(x, 0.0, x + 0.09, 0.32, (0.52, 0.30, 0.24))
        layer.rectangle(x - 0.015, 0.0, x + 0.105, 0.05, (0.40, 0.24, 0.2))
    layer.rectangle(front, eave, 0.97, 1.0, darker(wall, 0.20))
    layer.polygon([(0.03, 1), (0.03, eave), (peak, 0.10), (front, eave), (front, 1)], wall)
    layer.polygon(
        [(peak, 0.04), (0.84, 0.04), (1.0, eave + 0.05), (front + 0.03, eave + 0.05)], roof
    )
    for row in (0.3, 0.6, 0.9):
        y = 0.04 + (eave + 0.01) * row
        left, right = peak + (front + 0.03 - peak) * row, 0.84 + 0.16 * row
        layer.line([(left, y), (right, y)], 0.016, darker(roof, 0.24))
    layer.polygon(
        [(peak, 0.02), (0.0, eave + 0.05), (0.05, eave + 0.05), (peak, 0.13), (front, eave + 0.05)]
        + [(front + 0.05, eave + 0.05)],
        darker(roof, 0.12),
    )
    door = jitter(rng, pick(rng, PAINTS), 0.02, 0.2)
    layer.rectangle(peak - 0.07, 0.66, peak + 0.07, 1.0, darker(door, 0.25))
    lit = rng.random() < ambience.lamps
    panes = [(peak - 0.05, 0.42, peak + 0.05, 0.56)]
    panes += [(x, eave + 0.16, x + 0.13, eave + 0.36) for x in (front + 0.10, 0.76)]
    for x0, y0, x1, y1 in panes:
        layer.rectangle(x0 - 0.02, y0 - 0.02, x1 + 0.02, y1 + 0.02, (0.95, 0.94, 0.90))
        layer.rectangle(x0, y0, x1, y1, (0.30, 0.38, 0.46))
        if lit:
            layer.lamp(x0, y0, x1, y1, _LAMP)


def fence(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """Pickets or rails on posts."""
    wood = jitter(rng, pick(rng, _WOODS), 0.02, 0.15)
    posts = int(rng.integers(8, 13))
    picket = rng.random() < 0.6
    for y in (0.34, 0.70):
        layer.rectangle(0.0, y, 1.0, y + 0.13, darker(wood, 0.22))
    half = (0.36 if picket else 0.20) / posts
    for index in range(posts):
        x = (index + 0.5) / posts
        x = 0.5 + (x - 0.5) * (1 - 2 * half) / (1 - 1 / posts)
        top = 0.0 if picket else 0.06
        tip = [(x - half, top + 0.16), (x, top), (x + half, top + 0.16)]
        tone = darker(wood, rng.uniform(0, 0.12))
        layer.polygon([*tip, (x + half, 1.0), (x - half, 1.0)], tone)
        layer.rectangle(x + half * 0.4, top + 0.16, x + half, 1.0, darker(tone, 0.22))


def car(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """A car seen from the side; it faces right."""
    paint = jitter(rng, pick(rng, PAINTS), 0.02, 0.12)
    roof_start, roof_end = rng.uniform(0.22, 0.32), rng.uniform(0.58, 0.68)
    tail = rng.uniform(0.02, 0.16)
    glass: Colour = (0.52, 0.66, 0.74)
    layer.polygon(
        [(tail, 0.46), (roof_start, 0.06), (roof_start + 0.05, 0.0), (roof_end - 0.04, 0.0)]
        + [(roof_end + 0.02, 0.06), (0.82, 0.44), (0.82, 0.6), (tail, 0.6)],
        darker(paint, 0.08),
    )
    middle = (roof_start + roof_end) / 2
    layer.polygon(
        [
            (tail + 0.09, 0.42),
            (roof_start + 0.04, 0.10),
            (middle - 0.02, 0.10),
            (middle - 0.02, 0.42),
        ],
        glass,
    )
    layer.polygon(
        [(middle + 0.02, 0.42), (middle + 0.02, 0.10), (roof_end - 0.01, 0.10), (0.74, 0.42)],
        lighter(glass, 0.2),
    )
    layer.polygon(
        [
            (0.0, 0.48),
            (0.03, 0.40),
            (0.78, 0.40),
            (0.95, 0.48),
            (1.0, 0.58),
            (1.0, 0.80),
            (0.0, 0.80),
        ],
        paint,
    )
    layer.rectangle(0.01, 0.42, 0.80, 0.47, lighter(paint, 0.30))
    layer.rectangle(0.0, 0.68, 1.0, 0.80, darker(paint, 0.38))
    layer.rectangle(middle - 0.03, 0.50, middle + 0.05, 0.53, darker(paint, 0.5))
    for x in (0.21, 0.78):
        layer.circle(x, 0.78, 0.22, (0.10, 0.10, 0.11))
        layer.circle(x, 0.78, 0.12, (0.74, 0.75, 0.78))
        layer.circle(x, 0.78, 0.05, (0.3, 0.3, 0.32))
    layer.rectangle(0.94, 0.52, 1.0, 0.60, (0.96, 0.94, 0.80))
    layer.rectangle(0.0, 0.50, 0.035, 0.60, (0.80, 0.10, 0.08))
    if rng.random() < ambience.lamps:
        layer.lamp(0.93, 0.51, 1.0, 0.61, (1.0, 0.96, 0.72))
        layer.lamp(0.0, 0.50, 0.04, 0.60, (1.0, 0.22, 0.14))


def boat(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """A sailing boat; its bow points right."""
    hull = jitter(rng, pick(rng, PAINTS), 0.02, 0.15)
    canvas = jitter(
        rng, pick(rng, ((0.97, 0.95, 0.88), (0.97, 0.95, 0.88), *PAINTS[:3])), 0.01, 0.05
    )
    mast = rng.uniform(0.42, 0.56)
    layer.rectangle(mast - 0.014, 0.0, mast + 0.014, 0.8, (0.42, 0.30, 0.2))
    layer.polygon([(mast - 0.03, 0.03), (mast - 0.03, 0.70), (0.04, 0.70), (0.16, 0.46)], canvas)
    layer.polygon(
        [(mast + 0.03, 0.09), (mast + 0.16, 0.42), (0.92, 0.70), (mast + 0.03, 0.70)],
        darker(canvas, 0.1),
    )
    stripe = jitter(rng, pick(rng, PAINTS), 0.02, 0.1)
    layer.polygon([(0.13, 0.52), (mast - 0.03, 0.52), (mast - 0.03, 0.58), (0.10, 0.58)], stripe)
    layer.polygon(
        [(0.0, 0.78), (1.0, 0.75), (0.94, 0.88), (0.84, 1.0), (0.12, 1.0), (0.03, 0.9)], hull
    )
    layer.polygon([(0.0, 0.78), (1.0, 0.75), (0.98, 0.81), (0.01, 0.84)], lighter(hull, 0.5))
    layer.rectangle(0.10, 0.95, 0.86, 1.0, darker(hull, 0.5))
    if rng.random() < ambience.lamps * 0.6:
        layer.lamp(0.2, 0.85, 0.28, 0.90, _LAMP)
        layer.lamp(0.36, 0.85, 0.44, 0.90, _LAMP)


def person(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """Someone walking, in trousers or a dress, with or without a hat."""
    skin = jitter(rng, pick(rng, _SKINS), 0.01, 0.08)
    top = jitter(rng, pick(rng, PAINTS), 0.04, 0.15)
    low = jitter(
        rng, pick(rng, ((0.22, 0.28, 0.46), (0.30, 0.28, 0.26), (0.62, 0.54, 0.42))), 0.03, 0.2
    )
    hair = jitter(
        rng, pick(rng, ((0.14, 0.10, 0.08), (0.46, 0.28, 0.14), (0.80, 0.64, 0.34))), 0.01, 0.1
    )
    dress = rng.random() < 0.4
    stride = rng.uniform(0.08, 0.30)
    for side in (-1, 1):
        leg = skin if dress else low
        x = 0.5 + side * stride
        tone = darker(leg, 0.18 if side < 0 else 0.0)
        layer.polygon(
            [(0.5 - 0.12, 0.55), (0.5 + 0.12, 0.55), (x + 0.10, 0.96), (x - 0.09, 0.96)], tone
        )
        layer.rectangle(x - 0.10, 0.95, x + 0.19, 1.0, (0.16, 0.13, 0.12))
    swing = rng.uniform(0.30, 0.44)
    layer.line([(0.40, 0.27), (0.5 - swing, 0.53)], 0.20, darker(top, 0.25))
    layer.ellipse(0.43 - swing, 0.51, 0.57 - swing, 0.58, skin)
    layer.polygon(
        [(0.26, 0.24), (0.40, 0.20), (0.62, 0.20), (0.74, 0.24), (0.70, 0.60), (0.28, 0.60)], top
    )
    if dress:
        layer.polygon([(0.30, 0.48), (0.70, 0.48), (0.90, 0.78), (0.10, 0.78)], darker(top, 0.08))
    layer.line([(0.62, 0.27), (0.5 + swing, 0.52)], 0.20, darker(top, 0.10))
    layer.ellipse(0.43 + swing, 0.50, 0.57 + swing, 0.57, skin)
    layer.rectangle(0.44, 0.16, 0.58, 0.22, darker(skin, 0.15))
    layer.ellipse(0.27, 0.0, 0.73, 0.17, hair)
    layer.ellipse(0.34, 0.035, 0.74, 0.19, skin)
    if rng.random() < 0.5:
        hat = jitter(rng, pick(rng, PAINTS), 0.05, 0.2)
        layer.rectangle(0.18, 0.055, 0.84, 0.08, darker(hat, 0.2))
        layer.polygon([(0.30, 0.06), (0.34, 0.0), (0.68, 0.0), (0.72, 0.06)], hat)
    elif dress:
        layer.polygon([(0.27, 0.08), (0.42, 0.06), (0.38, 0.26), (0.24, 0.26)], hair)


def horse(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """A horse that faces right."""
    coat = jitter(
        rng,
        pick(rng, ((0.52, 0.30, 0.16), (0.32, 0.22, 0.17), (0.80, 0.74, 0.66), (0.68, 0.46, 0.26))),
        0.015,
        0.15,
    )
    mane = mix(coat, pick(rng, ((0.06, 0.05, 0.05), (0.96, 0.90, 0.78))), 0.7)
    bow = rng.uniform(0.0, 0.16)
    step = rng.uniform(-0.05, 0.05)
    for x, reach, tone in (
        (0.26, -step, 0.30),
        (0.62, step, 0.30),
        (0.19, step, 0.0),
        (0.68, -step, 0.0),
    ):
        leg = darker(coat, tone)
        layer.polygon(
            [
                (x - 0.055, 0.58),
                (x + 0.065, 0.58),
                (x + 0.04 + reach, 0.95),
                (x - 0.03 + reach, 0.95),
            ],
            leg,
        )
        layer.rectangle(x - 0.04 + reach, 0.94, x + 0.055 + reach, 1.0, (0.16, 0.13, 0.12))
    layer.polygon(
        [(0.15, 0.36), (0.06, 0.40), (0.0, 0.60), (0.02, 0.80), (0.08, 0.66), (0.13, 0.52)], mane
    )
    layer.ellipse(0.11, 0.31, 0.44, 0.72, coat)
    layer.ellipse(0.22, 0.35, 0.76, 0.72, coat)
    layer.ellipse(0.50, 0.32, 0.78, 0.70, coat)
    head = 0.12 + bow
    layer.polygon(
        [(0.60, 0.40), (0.74, head), (0.86, head + 0.04), (0.80, 0.46), (0.74, 0.60)], coat
    )
    layer.polygon(
        [
            (0.74, head - 0.02),
            (0.84, head - 0.06),
            (1.0, head + 0.20),
            (0.95, head + 0.27),
            (0.80, head + 0.16),
        ],
        coat,
    )
    layer.ellipse(0.91, head + 0.16, 1.0, head + 0.28, darker(coat, 0.3))
    layer.polygon([(0.76, head), (0.775, head - 0.12), (0.82, head - 0.03)], darker(coat, 0.15))
    layer.polygon(
        [(0.56, 0.40), (0.66, head + 0.06), (0.78, head - 0.05), (0.77, head + 0.09), (0.68, 0.44)],
        mane,
    )
    layer.ellipse(0.845, head + 0.03, 0.87, head + 0.065, (0.05, 0.04, 0.04))
    if rng.random() < 0.35:
        rug = jitter(rng, pick(rng, PAINTS), 0.03, 0.1)
        layer.polygon([(0.34, 0.34), (0.52, 0.36), (0.54, 0.56), (0.33, 0.56)], rug)


def balloon(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """A hot-air balloon with coloured gores and a basket."""
    first, second = (
        jitter(rng, pick(rng, PAINTS), 0.03, 0.1),
        jitter(rng, pick(rng, PAINTS), 0.03, 0.1),
    )
    gores = int(rng.integers(5, 9))
    for x in (0.30, 0.70):
        layer.line([(x, 0.66), (0.5 + (x - 0.5) * 0.35, 0.88)], 0.02, (0.3, 0.24, 0.2))
    layer.rectangle(0.40, 0.87, 0.60, 1.0, (0.52, 0.34, 0.18))
    layer.rectangle(0.38, 0.86, 0.62, 0.895, (0.36, 0.22, 0.12))
    for index in range(gores):
        # Gores narrow towards the middle of a stack of ever thinner envelopes.
        part = math.cos(math.pi * index / gores / 2)
        fill = first if index % 2 == 0 else second
        steps = [k / 16 for k in range(17)]
        edge = [(part * _envelope(t), t * 0.80) for t in steps]
        layer.polygon(
            [(0.5 + x, y) for x, y in edge] + [(0.5 - x, y) for x, y in reversed(edge)], fill
        )
    band = rng.uniform(0.30, 0.40)
    if rng.random() < 0.5:
        half, lower = _envelope(band / 0.8), _envelope((band + 0.08) / 0.8)
        layer.polygon(
            [
                (0.5 - half, band),
                (0.5 + half, band),
                (0.5 + lower, band + 0.08),
                (0.5 - lower, band + 0.08),
            ],
            lighter(second, 0.35),
        )


def _envelope(t: float) -> float:
    """Half width of a balloon at the share t (0 top, 1 mouth) of its height."""
    if t < 0.45:
        return 0.5 * math.sqrt(max(0.0, 1 - ((0.45 - t) / 0.45) ** 2))
    return 0.5 * (0.24 + 0.76 * math.cos((t - 0.45) / 0.55 * math.pi / 2) ** 0.9)


def bird(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """A bird in flight with both wings raised; it faces right."""
    coat = jitter(
        rng,
        pick(rng, ((0.94, 0.94, 0.92), (0.40, 0.42, 0.46), (0.20, 0.18, 0.20), (0.56, 0.40, 0.28))),
        0.02,
        0.1,
    )
    wing = darker(coat, 0.22)
    lift = rng.uniform(0.0, 0.14)
    layer.polygon(
        [
            (0.46, 0.66),
            (0.34, 0.30),
            (0.16, lift),
            (0.0, 0.0 + lift * 0.5),
            (0.10, 0.30),
            (0.22, 0.56),
            (0.36, 0.80),
        ],
        darker(wing, 0.2),
    )
    layer.polygon([(0.34, 0.78), (0.02, 0.74), (0.04, 0.86), (0.0, 0.98), (0.36, 0.92)], wing)
    layer.ellipse(0.24, 0.62, 0.84, 1.0, coat)
    layer.ellipse(0.70, 0.52, 0.92, 0.84, coat)
    layer.polygon([(0.90, 0.62), (1.0, 0.70), (0.90, 0.75)], (0.92, 0.60, 0.16))
    layer.ellipse(0.81, 0.60, 0.845, 0.67, (0.05, 0.05, 0.05))
    layer.polygon(
        [
            (0.40, 0.74),
            (0.46, 0.30),
            (0.62, 0.02),
            (0.76, 0.0),
            (0.72, 0.24),
            (0.66, 0.50),
            (0.60, 0.80),
        ],
        wing,
    )
    layer.polygon([(0.62, 0.02), (0.76, 0.0), (0.73, 0.18)], darker(wing, 0.5))
