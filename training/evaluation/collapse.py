"""Whether a system draws one image, whatever the scene."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rgan_tf.storage.image import read_image

LEAST_SPREAD = 1.0
"""Grey levels of 255 by which images of different scenes must differ: below, they look the same."""

COMPARED = 64
"""How many images are compared, at most."""


def draws_one_image(images: Path, system: str) -> bool:
    """Whether the saved images of different scenes are one image.

    A generator that has collapsed may be nearer to the real images, by a distance, than one that
    begins to learn, and precise besides: one flat colour is like some real images.

    Args:
      images: folder of an evaluation with a folder per system and layout.
      system: its name in `rgan eval`.
    """
    folder = images_of(images, system)
    paths = sorted(folder.glob("*.png"))[:COMPARED]
    return len(paths) > 1 and spread([read_image(path) for path in paths]) < LEAST_SPREAD


def images_of(images: Path, system: str) -> Path:
    """The folder of a system's images: in predicted boxes, or in true ones where it has no others.

    Args:
      images, system: see `draws_one_image`.
    """
    folder = images / system / "predicted_boxes"
    return folder if folder.is_dir() else folder.with_name("true_boxes")


def spread(images: Sequence[np.ndarray]) -> float:
    """Standard deviation between the first images, in their own units: its mean over places and
    channels.

    Args:
      images: N of [H, W, 3].
    """
    return float(np.stack(images[:COMPARED]).astype(np.float32).std(axis=0).mean())
