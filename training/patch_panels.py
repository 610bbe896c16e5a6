"""Where retrieved patches come from: each beside its source image with the patch's box."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw

from rgan_tf.data.prepared import PreparedData
from rgan_tf.image import grid
from rgan_tf.model.patch_library import PatchLibrary
from rgan_tf.model.synthesis import synthesise
from rgan_tf.pictures import Color, category_color, patch_sheet
from rgan_tf.runs import Run

_SCENES = 4
_CELL = 112  # px
_GREY = 127
_WHITE: Color = (255, 255, 255)


def patch_panel(
    run: Run,
    data: PreparedData,
    networks: tf.keras.Model,
    batch: dict[str, tf.Tensor],
    library: PatchLibrary | None = None,
) -> np.ndarray | None:
    """The patches that the first scenes of a batch retrieve, over the images they are cut from.

    Row i draws from seed i, as in `joint_grid`, so these are the patches of its first rows.

    Args:
      run, data, networks: what is shown.
      batch: scenes with candidates.
      library: for batches without the candidates' own features.

    Returns:
      uint8 [H, W, 3]: per scene, a row of patches over a row of sources. None where the run's rule
      of choice takes no patch of the bank.
    """
    batch = {name: value[:_SCENES] for name, value in batch.items()}
    made = synthesise(
        networks,
        batch,
        row_seeds=tf.range(tf.shape(batch["objects"])[0]),
        rule=run.config.retrieval.choice,
        library=library,
    )
    if made.choice is None:
        return None
    choice = made.choice.numpy()  # [B, O]
    ids = np.take_along_axis(batch["candidate_ids"].numpy(), np.maximum(choice, 0)[..., None], 2)
    chosen = np.where(choice >= 0, ids[..., 0], -1)  # [B, O]
    sheets = [
        _sheet(run, data, rows[objects > 0], objects[objects > 0])
        for rows, objects in zip(chosen, batch["objects"].numpy(), strict=True)
    ]
    return grid(sheets, columns=1)


def _sheet(run: Run, data: PreparedData, rows: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """One scene: [n] rows of the bank (-1: none) and [n] object ids -> uint8 [H, W, 3]."""
    bank, settings = data.bank, run.config.data
    names = [run.vocabulary.object_name(int(value)) for value in objects]
    store = data.scenes(
        "train",
        image_size=settings.image_size,
        max_objects=settings.max_objects,
        max_triples=settings.max_triples,
    )  # the very one that training reads from
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
        found.append(entry["category"])  # not the object's where the bank has none for it
        captions.append(", ".join(filter(None, [f"image {entry['image_id']}", entry.get("style")])))
    patches = list(bank.crops_at(rows, settings.crop_size))
    ids = [f"id {row}" if row >= 0 else "none" for row in rows]
    return patch_sheet(
        patches + images, names + found, ids + captions, cell=_CELL, columns=len(names)
    )


def boxed(image: np.ndarray, box, size: int, color: Color) -> np.ndarray:
    """An image with a box drawn into it.

    Args:
      image: uint8 [s, s, 3].
      box: y0, x0, y1, x1 as fractions.
      size: side of the result in px.
      color: of the box; a white line within it keeps it visible.

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
