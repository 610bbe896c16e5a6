"""Features of a bank's patches as they would be in images of half the size."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from PIL import Image

from rgan_tf.backbones import Backbone
from rgan_tf.bank.derived import DERIVED, DerivedFolder, Progress, derived_kind
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.patch_queue import EMBEDDING_BATCH, embed_patches
from rgan_tf.progress import followed

_KIND = derived_kind("rgan_half_size_features", "the features of a bank's patches at half the size")
_SMALLEST = 2  # px, side of a patch


def half_size_features(
    bank: PatchBank, backbone: Backbone, *, image_size: int, progress: Progress | None = None
) -> np.ndarray:
    """Backbone features of all patches, blurred as those of small images are.

    They are computed once for a bank and kept in its folder.

    Args:
      bank: the patches, as many as its features.
      backbone: the network that made the bank's features, see `same_weights`.
      image_size: side in px of the images at full size.
      progress: called with a line about each problem with the folder; None logs it.

    Returns:
      [N, Dx] float16, row-aligned with the bank.
    """
    identity = {
        "bank": bank.fingerprint,
        "weights": backbone.feature_weights_sha256,
        "image_size": image_size,
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    folder = DerivedFolder(bank.folder / DERIVED / f"half-{key}", _KIND, identity, progress)
    return folder.array(bank.features.shape, lambda: _compute(bank, backbone, image_size))


def at_half_size(crop: np.ndarray, box: np.ndarray, image_size: int) -> np.ndarray:
    """A patch as if it had been cut from an image of half the size.

    Args:
      crop: uint8 [S, S, 3], the patch, squashed to a square.
      box: [4] [y0, x0, y1, x1], fractions of the image that it was cut from.
      image_size: side in px of that image, were it a square.

    Returns:
      uint8 [S, S, 3]. A patch whose box has more than 2 S px is not changed.
    """
    size = len(crop)
    y0, x0, y1, x1 = box
    sides = np.array([x1 - x0, y1 - y0]) * image_size / 2
    width, height = np.clip(np.round(sides), _SMALLEST, size).astype(int).tolist()
    small = Image.fromarray(crop).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small.resize((size, size), Image.Resampling.BILINEAR))


def _compute(bank: PatchBank, backbone: Backbone, image_size: int) -> np.ndarray:
    features = np.zeros(bank.features.shape, np.float16)
    largest = np.finfo(np.float16).max
    starts = range(0, len(bank), EMBEDDING_BATCH)
    for start in followed(starts, "patches at half the size"):
        rows = slice(start, start + EMBEDDING_BATCH)
        pairs = zip(bank.crops[rows], bank.boxes[rows], strict=True)
        crops = np.stack([at_half_size(crop, box, image_size) for crop, box in pairs])
        features[rows] = np.clip(embed_patches(backbone, crops), -largest, largest)
    return features
