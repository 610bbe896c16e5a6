"""Shows retrieved patches beside their source images, with the patch's box."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw

from rgan_tf.data.prepared import PreparedData
from rgan_tf.pictures import Color, category_color, patch_sheet
from rgan_tf.retrieval.patches import chosen_rows
from rgan_tf.runs import Run
from rgan_tf.storage.image import grid

_SCENES = 4
_CELL = 112  # px
_GREY = 127
_WHITE: Color = (255, 255, 255)


def patch_panel(
    run: Run, data: PreparedData, batch: dict[str, tf.Tensor], choice: tf.Tensor
) -> np.ndarray:
    """The patches chosen for the first scenes of a batch, and the images that they are cut from.

    Args:
      run, data: the run and its data.
      batch: scenes with candidates.
      choice: [B, O] int32, the candidate of every object, -1 = none.

    Returns:
      uint8 [H, W, 3]: per scene, a row of patches over a row of sources.
    """
    chosen = chosen_rows(batch["candidate_ids"][:_SCENES], choice[:_SCENES]).numpy()  # [S, O]
    objects_of = batch["objects"][:_SCENES].numpy()  # [S, O]
    sheets = [
        _sheet(run, data, rows[objects > 0], objects[objects > 0])
        for rows, objects in zip(chosen, objects_of, strict=True)
    ]
    return grid(sheets, columns=1)


def _sheet(run: Run, data: PreparedData, rows: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """One scene: [n] rows of the bank (-1: none) and [n] object ids -> uint8 [H, W, 3]."""
    bank, settings = data.bank, run.config.data
    names = [run.vocabulary.object_name(int(value)) for value in objects]
    store = data.scenes("train", settings)  # the same as training reads
    images, found, captions = [], [], []
    for row in rows:
        entry = bank.rows[int(row)] if row >= 0 else {"image_id": -1, "category": "none"}
        image = np.full([_CELL, _CELL, 3], _GREY, np.uint8)
        at = np.flatnonzero(store.image_ids == entry["image_id"])[:1]
        if row >= 0 and len(at):
            image = boxed(
                store.images(at)[0], entry["box"], _CELL, category_color(entry["category"])
            )
        images.append(image)
        found.append(entry["category"])  # not the object's if the bank has none of it
        captions.append(", ".join(filter(None, [f"image {entry['image_id']}", entry.get("style")])))
    patches = list(bank.crops_at(rows, settings.crop_size))
    ids = [f"id {row}" if row >= 0 else "none" for row in rows]
    return patch_sheet(
        patches + images, names + found, ids + captions, cell=_CELL, columns=len(names)
    )


def boxed(image: np.ndarray, box, size: int, color: Color) -> np.ndarray:
    """Draws a box into an image.

    Args:
      image: uint8 [s, s, 3].
      box: y0, x0, y1, x1 as fractions.
      size: side of the result in px.
      color: of the box; a white line inside keeps it visible.

    Returns:
      uint8 [size, size, 3].
    """
    picture = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    y0, x0, y1, x1 = (round(min(max(float(edge), 0), 1) * (size - 1)) for edge in box)
    for inset, line in enumerate((color, color, _WHITE)):
        if x0 + inset <= x1 - inset and y0 + inset <= y1 - inset:
            draw.rectangle((x0 + inset, y0 + inset, x1 - inset, y1 - inset), outline=line)
    return np.asarray(picture)
