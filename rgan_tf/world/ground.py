"""Painters of the stuff of the procedural world: sky, mountains and grounds.

Each painter draws on the whole canvas, in lit colours, and returns the mask of what it covers.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from rgan_tf.world.ambience import Ambience, Colour, mix
from rgan_tf.world.layer import Point, jitter, noise, pick, to_rgb


def _edge(rng: np.random.Generator, width: int, height: int, y: float, swing: float) -> list[Point]:
    """A wavy line from left to right around the fraction y of the height, in pixels."""
    points = np.linspace(0.0, 1.0, 25)
    rise = np.zeros_like(points)
    for wave in (1, 2, 3):
        phase = rng.uniform(0, math.tau)
        rise += np.sin(points * math.tau * wave * 0.6 + phase) * (rng.uniform(0.4, 1.0) / wave)
    rise *= swing / 1.4
    return [(float(x * width), float((y + r) * height)) for x, r in zip(points, rise, strict=True)]


def _fill(
    canvas: Image.Image,
    rng: np.random.Generator,
    ambience: Ambience,
    outline: list[Point],
    far: Colour,
    near: Colour,
    grain: float,
    grid: tuple[int, int],
) -> Image.Image:
    """Fills an outline with a far-to-near gradient, side light and smooth grain."""
    width, height = canvas.size
    top = max(0, int(min(y for _, y in outline)))
    bottom = min(height, int(max(y for _, y in outline)) + 1)
    rows = max(2, (bottom - top) // 2)
    columns = max(2, width // 2)
    depth = np.linspace(0.0, 1.0, rows, dtype=np.float32)[:, None, None] ** 0.7
    colours = np.array(far, np.float32) * (1 - depth) + np.array(near, np.float32) * depth
    across = np.linspace(-1, 1, columns, dtype=np.float32)[None, :, None]
    factor = 1.0 + across * (0.16 * ambience.light[0])
    texture = np.asarray(noise(rng, grid, columns, rows), np.float32)[..., None]
    factor = factor + (texture / 127.5 - 1.0) * grain
    colours = np.clip(colours * factor * 255.0, 0, 255).astype(np.uint8)
    strip = Image.fromarray(colours).resize((width, bottom - top), Image.Resampling.BILINEAR)
    mask = Image.new("L", canvas.size)
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    canvas.paste(strip, (0, top), mask.crop((0, top, width, bottom)))
    return mask


def sky(
    canvas: Image.Image,
    rng: np.random.Generator,
    ambience: Ambience,
    horizon: float,
    light_at: Point,
) -> Image.Image:
    """The whole canvas as sky: a gradient, the glow around the light, streaks, stars."""
    width, height = canvas.size
    w, h = width // 2, height // 2
    shift = rng.uniform(-0.10, 0.10)
    y = np.linspace(0, 1, h, dtype=np.float32) / horizon
    y = np.clip(y + shift * np.sin(np.clip(y, 0, 1) * math.pi), 0, 1)
    stops = np.array(ambience.sky, np.float32)
    gradient = np.stack([np.interp(y, (0, 0.55, 1), stops[:, k]) for k in range(3)], -1)
    x = np.linspace(0, 1, w, dtype=np.float32)
    far = (x[None, :] - light_at[0]) ** 2 + (
        np.linspace(0, 1, h, dtype=np.float32)[:, None] - light_at[1]
    ) ** 2
    halo = (0.75 * np.exp(-far / 0.05) + 0.35 * np.exp(-far / 0.30))[..., None]
    streaks = np.asarray(noise(rng, (9, 4), w, h), np.float32)[..., None] / 127.5 - 1.0
    halo = np.clip(halo + 0.16 * streaks, 0, 0.9)
    colours = gradient[:, None, :].astype(np.float32)
    colours = colours * (1 - halo) + np.array(ambience.glow, np.float32) * halo
    picture = Image.fromarray((np.clip(colours, 0, 1) * 255).astype(np.uint8))
    canvas.paste(picture.resize((width, height), Image.Resampling.BILINEAR))
    spots = rng.random((46, 3))
    if ambience.stars:
        draw = ImageDraw.Draw(canvas)
        for sx, sy, size in spots:
            r = (0.002 + 0.004 * size) * width
            px, py = sx * width, sy * horizon * height
            draw.ellipse((px - r, py - r, px + r, py + r), fill=(225, 232, 255))
    return Image.new("L", canvas.size, 255)


def mountain(
    canvas: Image.Image,
    rng: np.random.Generator,
    ambience: Ambience,
    base: float,
    high: float,
    centre: float,
    half: float,
) -> Image.Image:
    """A range of peaks with a lit and a shaded side, snow caps, faded by distance."""
    width, height = canvas.size
    rock = jitter(
        rng, pick(rng, ((0.48, 0.46, 0.48), (0.50, 0.42, 0.36), (0.38, 0.46, 0.42))), 0.02, 0.1
    )
    mask = Image.new("L", canvas.size)
    draw, draw_mask = ImageDraw.Draw(canvas), ImageDraw.Draw(mask)
    from_left = ambience.light[0] < 0
    peaks = sorted(
        (
            (centre + half * part + rng.uniform(-0.06, 0.06), high * share * rng.uniform(0.85, 1.0))
            for part, share in ((-0.55, 0.62), (0.0, 1.0), (0.52, 0.74))
        ),
        key=lambda peak: peak[1],
    )
    for x, rise in peaks:
        reach = half * rise / high * rng.uniform(0.85, 1.0)
        top = base - rise
        kink = rng.uniform(-0.03, 0.03)
        spine = [
            (x, top),
            (x + 0.02 + kink, top + rise * 0.3),
            (x - 0.02 + kink, top + rise * 0.55),
            (x + 0.04 + kink, base + 0.02),
        ]
        left = [
            (x - reach, base + 0.02),
            (x - reach * 0.62, top + rise * 0.56),
            (x - reach * 0.30, top + rise * 0.34),
        ]
        right = [
            (x + reach * 0.28, top + rise * 0.30),
            (x + reach * 0.66, top + rise * 0.62),
            (x + reach, base + 0.02),
        ]
        sides = ((left + spine, from_left), (spine + right[::-1], not from_left))
        for outline, lit in sides:
            corners = [(px * width, py * height) for px, py in outline]
            colour = ambience.shine(rock, 0.95 if lit else 0.12)
            draw.polygon(corners, fill=to_rgb(ambience.fade(colour, 0.85)))
            draw_mask.polygon(corners, fill=255)
        if rise < 0.85 * high and not ambience.frost:
            continue
        cap = 0.30 + 0.45 * ambience.frost
        snow_left = [
            (x, top),
            (x - reach * 0.36 * cap * 2, top + rise * cap * 1.02),
            (x - reach * 0.10, top + rise * cap * 0.82),
        ]
        snow_right = [
            (x, top),
            (x + reach * 0.34 * cap * 2, top + rise * cap * 0.98),
            (x + reach * 0.14, top + rise * cap * 0.78),
        ]
        ridge = (x + 0.01 + kink, top + rise * cap)
        for outline, lit in ((snow_left, from_left), (snow_right, not from_left)):
            corners = [(px * width, py * height) for px, py in (*outline, ridge)]
            colour = ambience.shine((0.96, 0.97, 1.0), 0.95 if lit else 0.25)
            draw.polygon(corners, fill=to_rgb(ambience.fade(colour, 0.7)))
    return mask


def grass(
    canvas: Image.Image, rng: np.random.Generator, ambience: Ambience, top: float, swing: float
) -> Image.Image:
    """A meadow with blades that grow towards the viewer."""
    width, height = canvas.size
    base = jitter(rng, ambience.grass, 0.015, 0.08)
    outline = [*_edge(rng, width, height, top, swing), (width, height), (0, height)]
    far = ambience.fade(ambience.shine(base, 0.90), 0.9 if top < 0.7 else 0.2)
    near = ambience.fade(ambience.shine(base, 0.50), 0.0)
    mask = _fill(canvas, rng, ambience, outline, far, near, 0.13, (7, 9))
    draw = ImageDraw.Draw(canvas)
    span = 1.0 - top
    spots = rng.random((170, 4))
    for x, y, tone, bend in spots:
        nearness = y**0.8
        py = top + swing + 0.02 + nearness * (span - swing - 0.02)
        long = (0.012 + 0.050 * nearness) * (1.4 - 0.8 * tone)
        blade = mix(base, *(((0.9, 0.9, 0.5), 0.22) if tone > 0.5 else ((0.02, 0.1, 0.05), 0.35)))
        colour = ambience.shine(blade, 0.95 if tone > 0.5 else 0.35)
        colour = ambience.fade(colour, 1 - nearness)
        lean = (bend - 0.5) * long * 0.9
        stroke = max(1, round(0.006 * width * (0.5 + nearness)))
        draw.line(
            (x * width, py * height, (x + lean) * width, (py - long) * height),
            fill=to_rgb(colour),
            width=stroke,
        )
    return mask


def sand(
    canvas: Image.Image, rng: np.random.Generator, ambience: Ambience, top: float, swing: float
) -> Image.Image:
    """A beach with ripples and pebbles, wet and dark along its upper edge."""
    width, height = canvas.size
    base = jitter(
        rng, mix((0.90, 0.78, 0.54), (0.93, 0.95, 0.97), 0.65 * ambience.frost), 0.015, 0.06
    )
    edge = _edge(rng, width, height, top, swing)
    outline = [*edge, (width, height), (0, height)]
    far, near = ambience.shine(base, 0.85), ambience.shine(base, 0.62)
    mask = _fill(
        canvas,
        rng,
        ambience,
        outline,
        ambience.fade(far, 0.3),
        ambience.fade(near, 0.0),
        0.07,
        (6, 8),
    )
    draw = ImageDraw.Draw(canvas)
    wet = to_rgb(ambience.fade(ambience.shine(mix(base, (0.34, 0.28, 0.24), 0.5), 0.6), 0.3))
    foam = to_rgb(ambience.fade(ambience.shine((0.97, 0.98, 1.0), 0.9), 0.3))
    draw.line(
        [(x, y + 0.012 * height) for x, y in edge], fill=wet, width=max(1, round(0.026 * height))
    )
    draw.line(edge, fill=foam, width=max(1, round(0.014 * height)))
    span = 1 - top
    for x, y, long, tone in rng.random((34, 4)):
        py = (top + swing + 0.05 + y * max(0.02, span - swing - 0.05)) * height
        half = (0.03 + 0.07 * long) * width * (0.5 + y)
        colour = ambience.shine(base, 1.0 if tone > 0.5 else 0.25)
        box = (x * width - half, py, x * width + half, py + 0.02 * height * (0.5 + y))
        draw.arc(
            box,
            190,
            350,
            fill=to_rgb(ambience.fade(colour, 1 - y)),
            width=max(1, round(0.008 * height)),
        )
    for x, y, size in rng.random((16, 3)):
        py, r = top + swing + 0.06 + y * max(0.02, span - swing - 0.08), 0.004 + 0.007 * size
        colour = ambience.shine((0.55, 0.48, 0.42), 0.5)
        draw.ellipse(
            ((x - r) * width, (py - r * 0.7) * height, (x + r) * width, (py + r * 0.7) * height),
            fill=to_rgb(colour),
        )
    return mask


def water(
    canvas: Image.Image, rng: np.random.Generator, ambience: Ambience, top: float, light_x: float
) -> Image.Image:
    """A lake or sea that mirrors the sky and glitters under the light."""
    width, height = canvas.size
    outline = [
        (0.0, top * height),
        (float(width), top * height),
        (float(width), float(height)),
        (0.0, float(height)),
    ]
    base = jitter(rng, ambience.water, 0.015, 0.06)
    far = ambience.fade(mix(base, ambience.sky[2], 0.5), 0.6)
    near = ambience.fade(mix(base, ambience.sky[0], 0.30), 0.0)
    mask = _fill(canvas, rng, ambience, outline, far, near, 0.10, (14, 4))
    draw = ImageDraw.Draw(canvas)
    span = 1.0 - top
    for x, y, long, tone in rng.random((110, 4)):
        py = top + 0.012 + y**1.4 * (span - 0.012)
        half = (0.02 + 0.06 * long) * (0.4 + 1.2 * y)
        colour = (
            mix(near, ambience.sky[2], 0.65) if tone > 0.45 else mix(near, (0.0, 0.0, 0.05), 0.28)
        )
        thick = max(1, round(0.009 * height * (0.4 + y)))
        draw.line(
            ((x - half) * width, py * height, (x + half) * width, py * height),
            fill=to_rgb(ambience.fade(colour, 0.6 * (1 - y))),
            width=thick,
        )
    for y, off, long in rng.random((26, 3)):
        py = top + 0.01 + y * (span - 0.01)
        px = light_x + (off - 0.5) * (0.06 + 0.16 * y)
        half = (0.012 + 0.03 * long) * (0.5 + y)
        draw.line(
            ((px - half) * width, py * height, (px + half) * width, py * height),
            fill=to_rgb(mix(ambience.glow, ambience.disc, 0.5)),
            width=max(1, round(0.008 * height)),
        )
    return mask


def road(
    canvas: Image.Image, rng: np.random.Generator, ambience: Ambience, top: float, bottom: float
) -> Image.Image:
    """A road that crosses the picture, with kerbs and a broken centre line."""
    width, height = canvas.size
    tilt = rng.uniform(-0.012, 0.012)
    asphalt = jitter(
        rng, mix((0.40, 0.40, 0.42), (0.74, 0.78, 0.82), 0.6 * ambience.frost), 0.02, 0.12
    )

    def across(y: float) -> list[Point]:
        return [(0.0, (y - tilt) * height), (float(width), (y + tilt) * height)]

    outline = [*across(top), *reversed(across(bottom))]
    far = ambience.fade(ambience.shine(asphalt, 0.85), 0.4)
    near = ambience.fade(ambience.shine(asphalt, 0.45), 0.05)
    mask = _fill(canvas, rng, ambience, outline, far, near, 0.10, (5, 12))
    draw = ImageDraw.Draw(canvas)
    kerb = to_rgb(ambience.fade(ambience.shine((0.80, 0.78, 0.74), 0.8), 0.3))
    for y in (top + 0.008, bottom - 0.008):
        draw.line(across(y), fill=kerb, width=max(1, round(0.014 * height)))
    paint = to_rgb(ambience.fade(ambience.shine((0.96, 0.94, 0.82), 0.9), 0.15))
    middle, start = top + (bottom - top) * 0.55, rng.uniform(0, 0.2)
    for index in range(-1, 6):
        x0 = start + index * 0.2
        y = middle + tilt * (2 * x0 - 1)
        draw.line(
            (x0 * width, y * height, (x0 + 0.10) * width, (y + tilt * 0.2) * height),
            fill=paint,
            width=max(1, round(0.016 * height)),
        )
    return mask
