"""A few small pictures under very many names."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

SIDES = (160, 120)  # px; small, so that decoding them costs little
_DIFFERENT = 12
_MOST_LINKS = 30_000  # of one file; file systems allow 65,000


class Pictures:
    """Hard links to a dozen pictures of smooth noise.

    Args:
      folder: where the pictures themselves are kept; on the disk of all links.
      rng: of the noise.
    """

    def __init__(self, folder: Path, rng: np.random.Generator):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._pixels = [_smooth_noise(rng) for _ in range(_DIFFERENT)]
        self._links = 0

    def link(self, path: Path) -> None:
        """Makes `path`, which ends in .jpg, one of the pictures; its folder exists."""
        number = self._links % _DIFFERENT
        source = self._folder / f"{self._links // (_DIFFERENT * _MOST_LINKS)}-{number}.jpg"
        if not source.exists():
            Image.fromarray(self._pixels[number]).save(source, quality=90)
        os.link(source, path)
        self._links += 1


def _smooth_noise(rng: np.random.Generator) -> np.ndarray:
    """uint8 [120, 160, 3] with detail at several sizes, so that it compresses like a photograph."""
    total = np.zeros((SIDES[1], SIDES[0], 3), np.float32)
    for cells, strength in ((4, 60.0), (16, 30.0), (60, 12.0)):
        grid = rng.normal(128, strength, [cells, cells, 3]).clip(0, 255).astype(np.uint8)
        layer = Image.fromarray(grid).resize(SIDES, Image.Resampling.BICUBIC)
        total += np.asarray(layer, np.float32) - 128
    return (total + 128).clip(0, 255).astype(np.uint8)
