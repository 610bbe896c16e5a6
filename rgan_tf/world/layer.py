"""A drawing surface for one object, and the light that falls on it."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from rgan_tf.world.ambience import Ambience, Colour

Point = tuple[float, float]

PAINTS: tuple[Colour, ...] = (
    (0.82, 0.14, 0.12),
    (0.14, 0.36, 0.78),
    (0.92, 0.72, 0.12),
    (0.90, 0.90, 0.88),
    (0.16, 0.58, 0.42),
    (0.86, 0.42, 0.12),
    (0.52, 0.22, 0.58),
)
"""Colours that people give to things."""


def to_rgb(colour: Colour) -> tuple[int, int, int]:
    """A colour of [0, 1] parts as integers of 0 to 255, clipped."""
    return tuple(int(min(max(part, 0.0), 1.0) * 255 + 0.5) for part in colour)  # type: ignore[return-value]


def jitter(rng: np.random.Generator, colour: Colour, hue: float, value: float) -> Colour:
    """The colour with its hue (turns) and its value (factor) moved by up to the given amounts."""
    h, s, v = colorsys.rgb_to_hsv(*colour)
    h += rng.uniform(-hue, hue)
    return colorsys.hsv_to_rgb(h % 1.0, s, min(1.0, v * (1 + rng.uniform(-value, value))))


def pick(rng: np.random.Generator, choices: Sequence):
    """One of the choices, without turning it into an array."""
    return choices[int(rng.integers(len(choices)))]


def noise(rng: np.random.Generator, grid: tuple[int, int], width: int, height: int) -> Image.Image:
    """Smooth noise around 128, from a fixed grid, so that it looks the same at every size."""
    cells = rng.integers(0, 256, size=grid, dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)


class Layer:
    """Draws one object in fractions of its own box, x right and y down.

    Colours are those of the surfaces in white light; `finish` lights them. Lamps are drawn after
    the light. A mirrored layer flips x, so that painters know one orientation only.
    """

    def __init__(self, width: int, height: int, mirrored: bool = False):
        self.width, self.height, self.mirrored = max(width, 4), max(height, 4), mirrored
        self.image = Image.new("RGB", (self.width, self.height))
        self.mask = Image.new("L", (self.width, self.height))
        self._draw = ImageDraw.Draw(self.image)
        self._draw_mask = ImageDraw.Draw(self.mask)
        self._lamps: list[tuple[tuple[float, ...], Colour]] = []

    def _points(self, points: Iterable[Point]) -> list[Point]:
        w, h = self.width - 1, self.height - 1
        if self.mirrored:
            return [((1 - x) * w, y * h) for x, y in points]
        return [(x * w, y * h) for x, y in points]

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> list[Point]:
        (ax, ay), (bx, by) = self._points([(x0, y0), (x1, y1)])
        return [(min(ax, bx), min(ay, by)), (max(ax, bx), max(ay, by))]

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fills a polygon."""
        corners = self._points(points)
        self._draw.polygon(corners, fill=to_rgb(colour))
        self._draw_mask.polygon(corners, fill=255)

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fills the ellipse inside a box."""
        box = self._box(x0, y0, x1, y1)
        self._draw.ellipse(box, fill=to_rgb(colour))
        self._draw_mask.ellipse(box, fill=255)

    def circle(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fills a circle that is round in pixels; the radius is a fraction of the height."""
        across = radius * self.height / self.width
        self.ellipse(x - across, y - radius, x + across, y + radius, colour)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fills a box."""
        box = self._box(x0, y0, x1, y1)
        self._draw.rectangle(box, fill=to_rgb(colour))
        self._draw_mask.rectangle(box, fill=255)

    def line(self, points: Sequence[Point], thickness: float, colour: Colour) -> None:
        """Strokes a path; the thickness is a fraction of the layer's smaller side."""
        pixels = max(1, round(thickness * min(self.width, self.height)))
        path = self._points(points)
        self._draw.line(path, fill=to_rgb(colour), width=pixels, joint="curve")
        self._draw_mask.line(path, fill=255, width=pixels, joint="curve")

    def lamp(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """A box that emits light; drawn after the scene's light."""
        self._lamps.append(((x0, y0, x1, y1), colour))

    def finish(self, ambience: Ambience, depth: float, *, frost: bool = True) -> Image.Image:
        """Lights the layer, puts frost on it and fades it with distance.

        Light is a mix of the ambience's lit and shade colours. The shares depend on the place in
        the box and on the slope of the blurred silhouette, which makes edges that face the light
        bright and the others dark.

        Args:
          ambience: the scene's ambience.
          depth: 0 (foreground) to 1 (horizon).
          frost: whether snow settles on the object, if the ambience has any.

        Returns:
          The lit RGB image, as large as the layer.
        """
        w, h = self.width, self.height
        light_x, light_y = ambience.light
        side = min(w, h)
        soft = self.mask.filter(ImageFilter.BoxBlur(max(1.0, side * 0.07)))
        step = max(1, round(side * 0.09))
        offset = (round(-light_x * step), round(-light_y * step))
        slope = _moved(soft, *offset)
        field = np.asarray(soft, np.float32) - np.asarray(slope, np.float32)
        field *= 0.9 * ambience.relief / 255.0
        across = np.linspace(-1.0, 1.0, w, dtype=np.float32) * (0.34 * light_x)
        down = np.linspace(-1.0, 1.0, h, dtype=np.float32) * (0.34 * light_y)
        field += across[None, :] + down[:, None] + 0.62
        np.clip(field, 0.0, 1.0, out=field)
        lit, shade = np.array(ambience.lit, np.float32), np.array(ambience.shade, np.float32)
        colours = np.asarray(self.image, np.float32)
        colours = colours * (shade + field[..., None] * (lit - shade))
        if frost and ambience.frost:
            thick = max(1, round(side * 0.085))
            snow = ImageChops.subtract(self.mask, _moved(self.mask, 0, thick))
            snow = np.asarray(snow.filter(ImageFilter.BoxBlur(1)), np.float32)[..., None]
            snow *= ambience.frost / 255.0
            white = (0.80 + 0.20 * field[..., None]) * np.array([244, 250, 255], np.float32)
            colours += (white - colours) * snow
        share = ambience.haze_share(depth)
        colours *= 1 - share
        colours += np.array(ambience.haze, np.float32) * (255 * share)
        result = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
        if self._lamps:
            draw = ImageDraw.Draw(result)
            for box, colour in self._lamps:
                draw.rectangle(self._box(*box), fill=to_rgb(colour))
        return result


def _moved(image: Image.Image, x: int, y: int) -> Image.Image:
    """The image moved by whole pixels, filled with black."""
    result = Image.new("L", image.size)
    result.paste(image, (x, y))
    return result
