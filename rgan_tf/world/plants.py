"""Painters of the plants of the procedural world, in the colours of the ambience's season.

Each painter takes (layer, rng, ambience) and fills the layer's box with one plant, as in
`rgan_tf.world.shapes`.
"""

from __future__ import annotations

import math

import numpy as np

from rgan_tf.world.ambience import Ambience, Colour, darker, lighter, mix
from rgan_tf.world.layer import PAINTS, Layer, Point, jitter, pick


def _crown(
    layer: Layer,
    rng: np.random.Generator,
    box: tuple[float, float, float, float],
    colour: Colour,
    light: tuple[float, float],
    blobs: int,
) -> None:
    """A mass of foliage: dark blobs that fill the box, then lighter ones towards the light."""
    x0, y0, x1, y1 = box
    cx, cy, rx, ry = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
    toward_x = -light[0] if layer.mirrored else light[0]
    spots = [(0.0, 0.0, 0.66), (0.0, -0.66, 0.34), (-0.64, 0.1, 0.36), (0.64, 0.1, 0.36)]
    start = rng.uniform(0, math.tau)
    for index in range(blobs):
        angle = start + math.tau * (index + rng.uniform(-0.3, 0.3)) / blobs
        size = rng.uniform(0.17, 0.36)
        reach = rng.uniform(0.86, 1.0) - size
        spots.append((math.cos(angle) * reach, math.sin(angle) * reach, size))
    for tone, shift, scale in ((0.42, 0.0, 1.0), (0.14, 0.09, 0.84), (-0.12, 0.20, 0.50)):
        for sx, sy, size in spots:
            shade = tone + rng.uniform(-0.09, 0.09)
            fill = darker(colour, shade) if shade > 0 else lighter(colour, -shade)
            x = cx + rx * (sx * 0.98 + toward_x * shift)
            y = cy + ry * (sy * 0.98 + light[1] * shift)
            w, h = rx * size * scale, ry * size * scale
            layer.ellipse(x - w, y - h, x + w, y + h, fill)
    for _ in range(3 * blobs):
        angle, reach = rng.uniform(0, math.tau), math.sqrt(rng.random()) * 0.92
        x, y = cx + rx * math.cos(angle) * reach, cy + ry * math.sin(angle) * reach
        side = math.cos(angle) * reach * toward_x + math.sin(angle) * reach * light[1]
        fill = lighter(colour, 0.26) if side > rng.uniform(-0.3, 0.5) else darker(colour, 0.40)
        w, h = rx * rng.uniform(0.04, 0.09), ry * rng.uniform(0.03, 0.07)
        layer.ellipse(x - w, y - h, x + w, y + h, fill)


def tree(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """A broad-leaved tree: forked trunk and a crown."""
    bark = jitter(rng, (0.40, 0.28, 0.18), 0.02, 0.25)
    leaves = jitter(rng, pick(rng, ambience.leaves), 0.025, 0.14)
    crown = rng.uniform(0.66, 0.80)
    lean, half = rng.uniform(-0.04, 0.04), rng.uniform(0.05, 0.08)
    foot = 0.5 - lean
    layer.polygon(
        [(foot - half * 1.7, 1), (foot - half, 0.86), (0.5 - half * 0.7, 0.4)]
        + [(0.5 + half * 0.7, 0.4), (foot + half, 0.86), (foot + half * 1.7, 1)],
        bark,
    )
    for side in (-1, 1):
        layer.line([(0.5, 0.84), (0.5 + side * 0.2, crown - 0.1)], 0.05, darker(bark, 0.2))
    if rng.random() < 0.5:
        _crown(layer, rng, (0, 0, 1, crown), leaves, ambience.light, 13)
        return
    split = rng.uniform(0.26, 0.42) * crown
    _crown(layer, rng, (0, split, 0.58, crown), leaves, ambience.light, 8)
    _crown(layer, rng, (0.42, split * 0.9, 1, crown * 0.97), leaves, ambience.light, 8)
    _crown(layer, rng, (0.16, 0, 0.84, crown * 0.72), leaves, ambience.light, 10)


def pine(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """A conifer: a trunk and tiers of jagged branches."""
    needles = jitter(rng, mix((0.10, 0.36, 0.22), ambience.leaves[0], 0.28), 0.03, 0.2)
    half = rng.uniform(0.05, 0.08)
    layer.rectangle(0.5 - half, 0.84, 0.5 + half, 1.0, (0.36, 0.24, 0.16))
    tiers = int(rng.integers(4, 6))
    toward = -ambience.light[0] if layer.mirrored else ambience.light[0]
    for tier in range(tiers):
        low = 0.92 - 0.66 * tier / tiers
        high = max(0.0, low - 0.46)
        if tier == tiers - 1:
            high = 0.0
        wide = 0.5 * (1 - 0.70 * tier / tiers)
        teeth: list[Point] = [(0.5, high)]
        for index in range(7):
            x = 0.5 + wide * (1 - index / 3)
            teeth.append((x, low - (0.05 if index % 2 else 0.0) - 0.05 * abs(index - 3) / 3))
        layer.polygon(teeth, darker(needles, 0.24 * (tier % 2) + rng.uniform(0, 0.12)))
        tip = 0.5 + wide * 0.55 * toward
        layer.polygon(
            [(0.5, high), (0.5 + 0.04 * toward, low - 0.09), (tip, low - 0.10)],
            lighter(needles, 0.20),
        )


def bush(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """A low round shrub, often with berries or blossom."""
    leaves = jitter(rng, pick(rng, ambience.leaves), 0.03, 0.16)
    layer.rectangle(0.16, 0.74, 0.84, 1.0, darker(leaves, 0.5))
    for x0, x1, top in ((0.0, 0.5, 0.30), (0.5, 1.0, 0.26), (0.2, 0.8, 0.0)):
        box = (x0, top + rng.uniform(0, 0.06) * (top > 0), x1, 1.0)
        _crown(layer, rng, box, leaves, ambience.light, 7)
    if rng.random() < 0.6:
        berry = jitter(
            rng, pick(rng, ((0.86, 0.12, 0.16), (0.98, 0.90, 0.95), (0.9, 0.5, 0.8))), 0, 0.1
        )
        for _ in range(14):
            layer.circle(rng.uniform(0.14, 0.86), rng.uniform(0.30, 0.84), 0.045, berry)


def flower(layer: Layer, rng: np.random.Generator, ambience: Ambience) -> None:
    """One large blossom on a leafy stem, with a bud beside it."""
    stem = jitter(rng, mix((0.24, 0.52, 0.16), ambience.leaves[0], 0.35), 0.02, 0.15)
    petal = jitter(rng, pick(rng, (*PAINTS, (0.95, 0.45, 0.65), (0.98, 0.95, 0.9))), 0.03, 0.1)
    heart = jitter(rng, (0.95, 0.76, 0.18), 0.03, 0.15)
    r = min(0.36, 0.5 * layer.width / layer.height)
    layer.line([(0.48, 0.4), (0.52, 0.7), (0.48, 1.0)], 0.09, stem)
    for side, low in ((-1, 0.96), (1, 0.86)):
        tip = 0.5 + side * 0.46
        layer.polygon(
            [
                (0.5, low),
                (0.5 + side * 0.16, low - 0.20),
                (tip, low - 0.24),
                (tip - side * 0.14, low),
            ],
            darker(stem, 0.12 if side > 0 else 0.0),
        )
    petals, turn = int(rng.integers(6, 11)), rng.uniform(0, math.tau)
    wide = math.pi / petals * 1.15
    aspect = layer.height / layer.width
    for ring, tone in ((1.0, 0.18), (0.74, 0.0)):
        for index in range(petals):
            angle = turn + math.tau * index / petals + (0.0 if ring == 1.0 else wide)
            corners = []
            for part, reach in (
                (-0.25, 0.2),
                (-0.9, 0.74),
                (-0.4, 1),
                (0.4, 1),
                (0.9, 0.74),
                (0.25, 0.2),
            ):
                bend = angle + part * wide
                length = r * ring * reach
                corners.append(
                    (0.5 + math.cos(bend) * length * aspect, r + math.sin(bend) * length)
                )
            layer.polygon(corners, darker(petal, tone + 0.14 * (index % 2)))
    layer.circle(0.5, r, r * 0.34, darker(heart, 0.25))
    layer.circle(0.5, r - 0.012, r * 0.24, heart)
