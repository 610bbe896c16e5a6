"""`rgan bank verify` and `info`: read a bank."""

from __future__ import annotations

import argparse
import logging
from typing import Any

import numpy as np

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.summary import MOST_DRAWN, count_rows, draw_patches, draw_sample, summarise
from rgan_tf.errors import BadInput
from rgan_tf.exported import ExportedPatches, is_exported
from rgan_tf.storage.files import write_bytes_atomic
from rgan_tf.storage.image import encode_png
from rgan_tf.storage.renames import real_place


def verify(args: argparse.Namespace) -> dict[str, Any]:
    """Compares every byte with the checksums, and the files with each other."""
    bank = PatchBank.open(args.bank, verify=False)
    bank.verify()
    return {"bank": str(args.bank), "patches": len(bank), "damaged": 0}


def info(args: argparse.Namespace) -> dict[str, Any]:
    """Counts, and optionally draws a sample or all patches of a category."""
    bank: PatchBank | ExportedPatches
    if is_exported(args.bank):
        bank = ExportedPatches.open(args.bank)
        counted = {"patches": len(bank), **count_rows(bank.rows, bank.vocabulary.categories)}
        result = {"model": str(bank.folder), **counted}
    else:
        bank = PatchBank.open(args.bank)
        result = {"bank": str(args.bank), **summarise(bank)}
    if args.picture and real_place(args.picture).is_relative_to(real_place(bank.folder)):
        raise BadInput(f"--picture {args.picture}: lies in the bank; name a place outside of it")
    if args.category:
        return {**result, **_of_categories(args, bank)}
    if args.picture:
        sample = draw_sample(bank)
        write_bytes_atomic(args.picture, encode_png(sample.picture))
        shown = {"shown_categories": sample.shown, "present_categories": sample.present}
        result |= {"picture": args.picture, **shown}
    return result


def _of_categories(args: argparse.Namespace, bank) -> dict[str, Any]:
    """The ids of all patches of some categories, and optionally a picture of them."""
    ids: dict[str, list[int]] = {}
    for name in args.category:
        try:
            number = bank.vocabulary.object_id(name)
        except BadInput as error:
            raise BadInput(f"--category: {error}; rgan vocabulary {args.bank} lists all") from error
        ids[name] = np.flatnonzero(bank.category_ids == number).tolist()
    result: dict[str, Any] = {"ids": ids}
    if args.picture:
        rows = [row for found in ids.values() for row in found]
        if not rows:
            raise BadInput(
                f"--category {', '.join(ids)}: {args.bank} has no such patch, so there is nothing "
                "to draw"
            )
        drawn = rows[:MOST_DRAWN]
        write_bytes_atomic(args.picture, encode_png(draw_patches(bank, drawn)))
        if len(drawn) < len(rows):
            logging.getLogger(__name__).warning(
                "%s: shows the first %d of %d patches", args.picture, len(drawn), len(rows)
            )
        result |= {"picture": args.picture, "shown_patches": len(drawn)}
    return result
