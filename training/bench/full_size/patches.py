"""Patches that are added to a bank later: one folder per category."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.bench.full_size.numbers import names
from training.bench.full_size.pictures import Pictures

_PATCHES = 5_000  # at full size: about a hundredth of a bank
_CATEGORIES = 40  # both data sets have these


def write_patches(root: Path, scale: float, seed: int) -> int:
    """Writes small pictures for `rgan bank add --folders`.

    Args:
      root: must not exist.
      scale: 1 for 5,000 patches.
      seed: of the pictures.

    Returns:
      The number of patches.
    """
    categories = names("thing", _CATEGORIES, scale)
    pictures = Pictures(root / ".pictures", np.random.default_rng([seed, 1]))
    count = max(len(categories), round(_PATCHES * scale))
    for number in range(count):
        folder = root / categories[number % len(categories)]
        folder.mkdir(exist_ok=True)
        pictures.link(folder / f"{number}.jpg")
    return count
