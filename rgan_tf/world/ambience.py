"""The ambiences of the procedural world: light, season and weather, applied to a whole scene.

An ambience is the hidden truth behind "are these patches compatible?". Nothing in a scene graph
names it; it only shows in the colours of every object.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

Colour = tuple[float, float, float]
"""Red, green, blue in [0, 1]; light colours may exceed 1."""

# How far a photograph may differ from its ambience: half ranges, logarithmic except for the haze.
_EXPOSURE, _WARMTH, _TINT = 0.10, 0.12, 0.096
_SATURATION, _CONTRAST, _HAZE = 0.20, 0.08, 0.06


@dataclasses.dataclass(frozen=True)
class Ambience:
    """One combination of time of day, season, weather and light direction.

    Attributes:
      name: written as `style`.
      sky: colours at the zenith, half way, and at the horizon.
      glow: colour of the part of the sky around the light.
      cloud: colour of the lit and of the shaded side of clouds.
      disc: colour of the sun's (or moon's) disc.
      lit: multiplies the colour of surfaces that face the light.
      shade: multiplies the colour of surfaces that face away.
      light: (x, y) where the light comes from, x right, y down, at most 1 long.
      relief: how strongly edges that face the light differ from the others, 0 to 1.
      haze: colour that distance fades to.
      haze_near, haze_far: share of the haze in the foreground and at the horizon.
      leaves: foliage colours of broad-leaved plants.
      grass, water: ground colours.
      tint: colours that black and white are drawn to, and how far (0 to 1).
      saturation, contrast: factors of the final grade.
      frost: share of snow on upward-facing edges, 0 to 1.
      lamps: share of windows and lamps that are lit, 0 to 1.
      falling: "rain", "snow" or "".
      stars: whether stars show.
      gain: factors of red, green and blue by which the camera differs from the eye.
    """

    name: str
    sky: tuple[Colour, Colour, Colour]
    glow: Colour
    cloud: tuple[Colour, Colour]
    disc: Colour
    lit: Colour
    shade: Colour
    light: tuple[float, float]
    relief: float
    haze: Colour
    haze_near: float
    haze_far: float
    leaves: tuple[Colour, ...]
    grass: Colour
    water: Colour
    tint: tuple[Colour, Colour, float]
    saturation: float
    contrast: float
    frost: float = 0.0
    lamps: float = 0.0
    falling: str = ""
    stars: bool = False
    gain: Colour = (1.0, 1.0, 1.0)

    def photographed(self, rng: np.random.Generator) -> Ambience:
        """This ambience in one photograph, with its own light.

        Haze, exposure and white balance vary. The changes apply to the whole scene, so that also
        within one ambience the patches of one scene match better than those of two. They are
        smaller than the differences between ambiences.

        Args:
          rng: draws the changes.
        """
        exposure = math.exp(rng.uniform(-_EXPOSURE, _EXPOSURE))
        warmth = math.exp(rng.uniform(-_WARMTH, _WARMTH))
        magenta = math.exp(rng.uniform(-_TINT, _TINT))
        haze = rng.uniform(-_HAZE, _HAZE)
        return dataclasses.replace(
            self,
            gain=(
                exposure * warmth * magenta**0.5,
                exposure / magenta,
                exposure / warmth * magenta**0.5,
            ),
            haze_near=max(0.0, self.haze_near + 0.5 * haze),
            haze_far=min(1.0, max(0.0, self.haze_far + haze)),
            saturation=self.saturation * math.exp(rng.uniform(-_SATURATION, _SATURATION)),
            contrast=self.contrast * math.exp(rng.uniform(-_CONTRAST, _CONTRAST)),
        )

    def shine(self, colour: Colour, amount: float) -> Colour:
        """The colour of a surface under this light.

        Args:
          colour: the surface's own colour.
          amount: 0 for a surface that faces away from the light, 1 for one that faces it.
        """
        return tuple(  # type: ignore[return-value]
            min(1.0, c * (s + (li - s) * amount))
            for c, s, li in zip(colour, self.shade, self.lit, strict=True)
        )

    def haze_share(self, depth: float) -> float:
        """Share of the haze at a depth of 0 (foreground) to 1 (horizon)."""
        return self.haze_near + (self.haze_far - self.haze_near) * depth

    def fade(self, colour: Colour, depth: float) -> Colour:
        """A lit colour seen through the air at a depth of 0 (foreground) to 1 (horizon)."""
        return mix(colour, self.haze, self.haze_share(depth))

    def grade(self, image: np.ndarray) -> np.ndarray:
        """The final colour grade, the same for every pixel of a scene.

        Args:
          image: [H, W, 3] uint8.

        Returns:
          [H, W, 3] uint8.
        """
        colours = image.astype(np.float32) / 255.0
        luma = colours @ np.array([0.299, 0.587, 0.114], np.float32)
        luma = luma[..., None]
        colours = luma + (colours - luma) * self.saturation
        dark, light, share = self.tint
        toned = np.array(dark, np.float32) * (1 - luma) + np.array(light, np.float32) * luma
        colours = colours * (1 - share) + toned * share
        colours = (0.5 + (colours - 0.5) * self.contrast) * np.array(self.gain, np.float32)
        return (np.clip(colours, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour that is `share` (0 to 1) of the way from `first` to `second`."""
    return tuple(a + (b - a) * share for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


def darker(colour: Colour, share: float) -> Colour:
    """The colour mixed with a share of black."""
    return mix(colour, (0.0, 0.0, 0.0), share)


def lighter(colour: Colour, share: float) -> Colour:
    """The colour mixed with a share of a warm white."""
    return mix(colour, (1.0, 1.0, 0.92), share)


AMBIENCES: tuple[Ambience, ...] = (
    Ambience(
        name="summer noon",
        sky=((0.16, 0.43, 0.86), (0.40, 0.66, 0.95), (0.76, 0.90, 0.98)),
        glow=(1.0, 0.98, 0.86),
        cloud=((1.0, 1.0, 1.0), (0.72, 0.80, 0.90)),
        disc=(1.0, 0.93, 0.45),
        lit=(1.16, 1.12, 1.00),
        shade=(0.44, 0.52, 0.66),
        light=(-0.55, -0.80),
        relief=0.75,
        haze=(0.74, 0.86, 0.96),
        haze_near=0.0,
        haze_far=0.28,
        leaves=((0.22, 0.55, 0.16), (0.30, 0.62, 0.18), (0.16, 0.48, 0.22)),
        grass=(0.38, 0.68, 0.20),
        water=(0.12, 0.50, 0.72),
        tint=((0.02, 0.06, 0.12), (1.0, 1.0, 0.97), 0.05),
        saturation=1.18,
        contrast=1.08,
    ),
    Ambience(
        name="golden sunset",
        sky=((0.34, 0.24, 0.50), (0.88, 0.45, 0.38), (1.0, 0.76, 0.36)),
        glow=(1.0, 0.86, 0.42),
        cloud=((1.0, 0.70, 0.42), (0.62, 0.34, 0.46)),
        disc=(1.0, 0.88, 0.46),
        lit=(1.42, 0.94, 0.46),
        shade=(0.46, 0.26, 0.34),
        light=(0.92, -0.20),
        relief=1.0,
        haze=(1.0, 0.62, 0.34),
        haze_near=0.05,
        haze_far=0.42,
        leaves=((0.34, 0.48, 0.14), (0.44, 0.50, 0.14), (0.28, 0.42, 0.16)),
        grass=(0.52, 0.56, 0.18),
        water=(0.72, 0.44, 0.40),
        tint=((0.22, 0.06, 0.18), (1.0, 0.82, 0.48), 0.26),
        saturation=1.12,
        contrast=1.10,
    ),
    Ambience(
        name="clear night",
        sky=((0.03, 0.05, 0.18), (0.08, 0.13, 0.34), (0.20, 0.30, 0.54)),
        glow=(0.34, 0.44, 0.70),
        cloud=((0.44, 0.51, 0.74), (0.16, 0.20, 0.38)),
        disc=(0.96, 0.97, 0.90),
        lit=(0.66, 0.80, 1.16),
        shade=(0.13, 0.17, 0.36),
        light=(-0.70, -0.60),
        relief=0.85,
        haze=(0.12, 0.18, 0.38),
        haze_near=0.04,
        haze_far=0.40,
        leaves=((0.20, 0.42, 0.24), (0.26, 0.46, 0.22), (0.16, 0.38, 0.26)),
        grass=(0.28, 0.52, 0.30),
        water=(0.14, 0.28, 0.52),
        tint=((0.01, 0.02, 0.12), (0.70, 0.82, 1.0), 0.26),
        saturation=0.92,
        contrast=1.06,
        lamps=0.9,
        stars=True,
    ),
    Ambience(
        name="overcast autumn",
        sky=((0.60, 0.59, 0.57), (0.74, 0.71, 0.65), (0.88, 0.81, 0.68)),
        glow=(0.92, 0.87, 0.74),
        cloud=((0.88, 0.84, 0.76), (0.56, 0.52, 0.48)),
        disc=(0.98, 0.93, 0.78),
        lit=(1.04, 0.92, 0.72),
        shade=(0.58, 0.48, 0.38),
        light=(0.10, -0.95),
        relief=0.45,
        haze=(0.80, 0.72, 0.58),
        haze_near=0.04,
        haze_far=0.36,
        leaves=((0.96, 0.44, 0.05), (0.88, 0.24, 0.06), (0.98, 0.66, 0.08), (0.72, 0.30, 0.08)),
        grass=(0.70, 0.54, 0.22),
        water=(0.46, 0.48, 0.40),
        tint=((0.16, 0.08, 0.02), (0.98, 0.88, 0.70), 0.20),
        saturation=1.04,
        contrast=1.00,
    ),
    Ambience(
        name="winter snow",
        sky=((0.62, 0.74, 0.86), (0.76, 0.85, 0.93), (0.92, 0.95, 0.98)),
        glow=(1.0, 1.0, 1.0),
        cloud=((0.99, 1.0, 1.0), (0.74, 0.82, 0.90)),
        disc=(1.0, 0.99, 0.90),
        lit=(1.06, 1.12, 1.20),
        shade=(0.56, 0.68, 0.88),
        light=(0.60, -0.75),
        relief=0.6,
        haze=(0.88, 0.94, 1.0),
        haze_near=0.05,
        haze_far=0.50,
        leaves=((0.46, 0.54, 0.56), (0.54, 0.58, 0.58), (0.40, 0.50, 0.52)),
        grass=(0.86, 0.91, 0.95),
        water=(0.58, 0.76, 0.86),
        tint=((0.16, 0.26, 0.40), (0.96, 1.0, 1.0), 0.20),
        saturation=0.80,
        contrast=1.02,
        frost=0.9,
        falling="snow",
    ),
    Ambience(
        name="misty dawn",
        sky=((0.72, 0.66, 0.80), (0.88, 0.76, 0.82), (0.97, 0.86, 0.84)),
        glow=(1.0, 0.93, 0.88),
        cloud=((1.0, 0.92, 0.92), (0.80, 0.72, 0.82)),
        disc=(1.0, 0.95, 0.88),
        lit=(1.06, 0.92, 0.98),
        shade=(0.64, 0.56, 0.74),
        light=(-0.90, -0.30),
        relief=0.5,
        haze=(0.90, 0.79, 0.86),
        haze_near=0.22,
        haze_far=0.66,
        leaves=((0.26, 0.60, 0.34), (0.34, 0.62, 0.28), (0.20, 0.54, 0.38)),
        grass=(0.42, 0.70, 0.36),
        water=(0.66, 0.64, 0.76),
        tint=((0.40, 0.30, 0.46), (1.0, 0.92, 0.94), 0.18),
        saturation=1.10,
        contrast=0.92,
    ),
    Ambience(
        name="rain storm",
        sky=((0.16, 0.22, 0.25), (0.27, 0.35, 0.37), (0.46, 0.55, 0.53)),
        glow=(0.58, 0.66, 0.60),
        cloud=((0.46, 0.53, 0.54), (0.16, 0.21, 0.24)),
        disc=(0.74, 0.80, 0.74),
        lit=(0.72, 0.88, 0.82),
        shade=(0.22, 0.30, 0.32),
        light=(0.35, -0.85),
        relief=0.55,
        haze=(0.36, 0.45, 0.45),
        haze_near=0.06,
        haze_far=0.48,
        leaves=((0.22, 0.40, 0.20), (0.26, 0.44, 0.18), (0.18, 0.36, 0.22)),
        grass=(0.36, 0.50, 0.26),
        water=(0.24, 0.40, 0.40),
        tint=((0.03, 0.09, 0.10), (0.80, 0.95, 0.90), 0.24),
        saturation=0.80,
        contrast=1.04,
        lamps=0.5,
        falling="rain",
    ),
)
"""Every ambience, in the order in which scenes draw them."""
