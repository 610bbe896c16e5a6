"""`rgan bank verify`, `info` and `tune`: what leaves the patches as they are."""

from __future__ import annotations

import argparse
from typing import Any


def verify(args: argparse.Namespace) -> dict[str, Any]:
    """Compares every byte with the checksums, and the files with each other."""
    from rgan_tf.bank.patch_bank import PatchBank

    bank = PatchBank.open(args.bank, verify=False)
    bank.verify()
    return {"bank": str(args.bank), "patches": len(bank), "damaged": 0}


def info(args: argparse.Namespace) -> dict[str, Any]:
    """Counts, and draws where a picture is asked for: a sample, or all of a category."""
    from rgan_tf.bank.patch_bank import PatchBank
    from rgan_tf.bank.summary import count_rows, draw_sample, summarise
    from rgan_tf.errors import BadInput
    from rgan_tf.exported import ExportedPatches, is_exported
    from rgan_tf.storage.files import write_bytes_atomic
    from rgan_tf.storage.image import encode_png
    from rgan_tf.storage.renames import real_place

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
    """The ids of all patches of some categories, and a picture of them where one is asked for."""
    import logging

    import numpy as np

    from rgan_tf.bank.summary import MOST_DRAWN, draw_patches
    from rgan_tf.errors import BadInput
    from rgan_tf.storage.files import write_bytes_atomic
    from rgan_tf.storage.image import encode_png

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


def tune(args: argparse.Namespace) -> dict[str, Any]:
    """Tunes the ScaNN index of the bank for a run, and keeps it with the bank."""
    import sys

    from rgan_tf.bank.patch_bank import PatchBank
    from rgan_tf.errors import BadInput
    from rgan_tf.model.networks import build_sg2im_networks
    from rgan_tf.retrieval.index.bank_search import BankSearch
    from rgan_tf.runs import check_bank_fits, load_weights, open_run

    run = open_run(args.run)
    bank = PatchBank.open(args.bank)
    check_bank_fits(run, args.run, bank)
    k = run.config.retrieval.candidates if args.candidates is None else args.candidates
    if not 0 < args.recall <= 1 or k < 1:
        raise BadInput(
            f"rgan bank tune: need 0 < --recall <= 1 and --candidates >= 1: {args.recall}, {k}"
        )
    if args.candidates is not None and k > len(bank):
        raise BadInput(f"--candidates {k}: {args.bank} has {len(bank)} patches; name at most those")
    networks = build_sg2im_networks(run.config, run.vocabulary)
    load_weights(run, "sg2im", networks)
    search = BankSearch(
        bank,
        networks,
        run.stage_record("sg2im")["weights_sha256"],
        run.config,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    return {"bank": str(args.bank), **search.tune(k=k, recall=args.recall)}
