"""`rgan export`: writes a run and a patch bank as a self-contained, versioned SavedModel.

Of a rival it writes what the system has; one that draws from no patches needs no bank.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from export.signatures import DEFAULT_NAME, EXACT, INDICES
from rgan_tf.errors import BadInput
from rgan_tf.options import add_weights_dir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--run", required=True, help="run folder, or released:NAME")
    parser.add_argument(
        "--out", required=True, help="model folder, in which a new version is written"
    )
    parser.add_argument(
        "--data",
        help="data folder whose training patches become the bank (that of the run); a system "
        "that draws from no patches does not use it",
    )
    parser.add_argument("--bank", help="bank made by rgan bank, instead of that of a data folder")
    add_weights_dir(parser)
    parser.add_argument(
        "--index",
        choices=INDICES,
        help="how the model searches its bank; scann needs a server with ScaNN's operations "
        "(exact)",
    )
    parser.add_argument(
        "--name",
        default=DEFAULT_NAME,
        help=f"name of the model for clients, in the server's files ({DEFAULT_NAME})",
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Exports and returns where the version is."""
    from export.publishing.publish import check_destination
    from export.publishing.serving_files import check_name, check_serving_folder
    from export.saved_model import export_run
    from export.saved_rival import check_bank_options, needs_bank
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.places import open_patches
    from rgan_tf.runs import (
        check_bank_fits,
        check_learns_retrieval,
        check_own_retriever,
        open_run,
    )

    started = time.monotonic()
    check_name(args.name)  # before reading anything
    check_destination(args.out)
    check_serving_folder(args.out)
    run = open_run(args.run)
    check_learns_retrieval(run, args.run)
    check_own_retriever(run, args.run, is_given=False)
    options = {"--bank": args.bank, "--data": args.data, "--index": args.index}
    check_bank_options(run, args.run, options)
    if args.bank is not None and args.data is not None:
        raise BadInput("--bank and --data both name a bank; use one")
    bank = None
    if not needs_bank(run):
        pass
    elif args.bank is not None:
        bank = open_patches(args.bank, "--bank ")
    else:
        instead = "name a bank by --bank or --data"
        data = args.data
        if data is None:
            data = run.data_there(f"--run {args.run}", instead)
        bank = PreparedData.open(data).bank
    if bank is not None:
        check_bank_fits(run, args.run, bank)
    exported = export_run(
        run,
        bank,
        args.out,
        index=args.index or EXACT,
        name=args.name,
        weights_dir=args.weights_dir,
    )
    return {**exported, "seconds": round(time.monotonic() - started, 1)}
