"""`rgan bank verify` and `info`: read a bank."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.summary import MOST_DRAWN, count_rows, draw_patches, draw_sample, summarise
from rgan_tf.errors import BadInput
from rgan_tf.exported import ExportedPatches, is_exported
from rgan_tf.storage.files import write_bytes_atomic
from rgan_tf.storage.image import encode_png
from rgan_tf.storage.renames import real_place


def verify(bank: str | Path) -> dict[str, Any]:
    """Compares every byte with the checksums, and the files with each other."""
    opened = PatchBank.open(bank, verify=False)
    opened.verify()
    return {"bank": str(bank), "patches": len(opened), "damaged": 0}


def info(
    bank: str | Path, *, picture: str | None = None, categories: Sequence[str] = ()
) -> dict[str, Any]:
    """Counts, and optionally draws a sample or all patches of some categories.

    Args:
      bank: bank folder, or an exported model.
      picture: PNG file to write.
      categories: names, whose patches are listed by id.
    """
    opened: PatchBank | ExportedPatches
    if is_exported(bank):
        opened = ExportedPatches.open(bank)
        if not len(opened):  # a bank is never empty
            raise BadInput(
                f"{bank}: is a model that draws from no patches; rgan vocabulary {bank} lists its "
                "names"
            )
        counted = {"patches": len(opened), **count_rows(opened.rows, opened.vocabulary.categories)}
        result = {"model": str(opened.folder), **counted}
    else:
        opened = PatchBank.open(bank)
        result = {"bank": str(bank), **summarise(opened)}
    if picture and real_place(picture).is_relative_to(real_place(opened.folder)):
        raise BadInput(f"--picture {picture}: lies in the bank; name a place outside of it")
    if categories:
        return {**result, **_of_categories(opened, str(bank), categories, picture)}
    if picture:
        sample = draw_sample(opened)
        write_bytes_atomic(picture, encode_png(sample.picture))
        shown = {"shown_categories": sample.shown, "present_categories": sample.present}
        result |= {"picture": picture, **shown}
    return result


def _of_categories(
    bank: PatchBank | ExportedPatches, name: str, categories: Sequence[str], picture: str | None
) -> dict[str, Any]:
    """The ids of all patches of some categories, and optionally a picture of them."""
    ids: dict[str, list[int]] = {}
    for category in categories:
        try:
            number = bank.vocabulary.object_id(category)
        except BadInput as error:
            raise BadInput(f"--category: {error}; rgan vocabulary {name} lists all") from error
        ids[category] = np.flatnonzero(bank.category_ids == number).tolist()
    result: dict[str, Any] = {"ids": ids}
    if picture:
        rows = [row for found in ids.values() for row in found]
        if not rows:
            raise BadInput(
                f"--category {', '.join(ids)}: {name} has no such patch, so there is nothing "
                "to draw"
            )
        drawn = rows[:MOST_DRAWN]
        write_bytes_atomic(picture, encode_png(draw_patches(bank, drawn)))
        if len(drawn) < len(rows):
            logging.getLogger(__name__).warning(
                "%s: shows the first %d of %d patches", picture, len(drawn), len(rows)
            )
        result |= {"picture": picture, "shown_patches": len(drawn)}
    return result
