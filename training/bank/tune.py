"""`rgan bank tune`: tunes the search index of a bank."""

from __future__ import annotations

import argparse
from typing import Any

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.errors import BadInput
from rgan_tf.model.networks import build_sg2im_networks
from rgan_tf.progress import note
from rgan_tf.retrieval.index.bank_search import BankSearch
from rgan_tf.runs import check_bank_fits, load_weights, open_run


def tune(args: argparse.Namespace) -> dict[str, Any]:
    """Tunes the ScaNN index of the bank for a run, and stores it with the bank."""
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
        progress=note,
    )
    return {"bank": str(args.bank), **search.tune(k=k, recall=args.recall)}
