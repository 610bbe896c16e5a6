"""Masks as COCO's stuff files write them."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

_ROUGHNESS = 7  # cells of noise along a mask's box; gives texts of some 700 characters


@dataclasses.dataclass(frozen=True)
class Mask:
    """A region of an image.

    Attributes:
      counts: COCO's compressed text.
      box: [x, y, width, height] in px.
    """

    counts: str
    box: list[float]


def draw_mask(rng: np.random.Generator, width: int, height: int, least: float, most: float) -> Mask:
    """A ragged region whose box covers a share of the image.

    Args:
      rng: the only source of randomness.
      width, height: of the image in px.
      least, most: the share that the box covers is drawn between them.
    """
    share = rng.uniform(least, most)
    stretch = rng.uniform(0.7, 1.4)
    w = int(np.clip(np.sqrt(share * width * height) * stretch, 4, width))
    h = int(np.clip(share * width * height / w, 4, height))
    x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    noise = Image.fromarray(rng.integers(0, 256, [_ROUGHNESS, _ROUGHNESS], np.uint8))
    inside = np.asarray(noise.resize((w, h), Image.Resampling.BICUBIC)) > 96
    inside[0, 0] = inside[-1, -1] = True  # the box is that of the region
    mask = np.zeros([height, width], bool)
    mask[y : y + h, x : x + w] = inside
    return Mask(compress(run_lengths(mask)), [float(x), float(y), float(w), float(h)])


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs down the columns of [H, W] bool, outside first."""
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [len(flat)]])).tolist()
    return [0, *runs] if flat[0] else runs


def compress(runs: list[int]) -> str:
    """COCO's text: 5 bits per character from the lowest, differences from the fourth run on."""
    text = []
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        goes_on = True
        while goes_on:
            bits = value & 31
            value >>= 5
            goes_on = value != (-1 if bits & 16 else 0)
            text.append(chr((bits | 32 if goes_on else bits) + 48))
    return "".join(text)
