"""`rgan bank verify`, `info` and `tune`: what leaves the patches as they are."""

from __future__ import annotations

import argparse
from typing import Any


def verify(args: argparse.Namespace) -> dict[str, Any]:
    """Compares every byte with the checksums, and the files with each other."""
    from rgan_tf.data.patch_bank import PatchBank

    bank = PatchBank.open(args.bank, verify=False)
    bank.verify()
    return {"bank": str(args.bank), "patches": len(bank), "damaged": 0}


def info(args: argparse.Namespace) -> dict[str, Any]:
    """Counts, and draws a sample where a picture is asked for."""
    from rgan_tf.data.bank.summary import draw_sample, summarise
    from rgan_tf.data.patch_bank import PatchBank
    from rgan_tf.files import write_bytes_atomic
    from rgan_tf.image import encode_png

    bank = PatchBank.open(args.bank)
    result = {"bank": str(args.bank), **summarise(bank)}
    if args.picture:
        write_bytes_atomic(args.picture, encode_png(draw_sample(bank)))
        result["picture"] = args.picture
    return result


def tune(args: argparse.Namespace) -> dict[str, Any]:
    """Tunes the ScaNN index of the bank for a run, and keeps it with the bank."""
    import sys

    from rgan_tf.data.patch_bank import PatchBank
    from rgan_tf.errors import BadInput
    from rgan_tf.model.bank_search import BankSearch
    from rgan_tf.model.networks import build_sg2im_networks
    from rgan_tf.runs import check_bank_fits, load_weights, open_run

    run = open_run(args.run)
    bank = PatchBank.open(args.bank)
    check_bank_fits(run, args.run, bank)
    k = run.config.retrieval.candidates if args.candidates is None else args.candidates
    if not 0 < args.recall <= 1 or k < 1:
        raise BadInput(
            f"rgan bank tune: need 0 < --recall <= 1 and --candidates >= 1: {args.recall}, {k}"
        )
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
