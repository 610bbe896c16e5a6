"""`rgan export`: a run and a patch bank to a self-contained, versioned SavedModel."""

from __future__ import annotations

import argparse
import time
from typing import Any

from export.signatures import DEFAULT_NAME, EXACT, INDICES
from rgan_tf.errors import BadInput


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--run", required=True, help="run folder, or released:NAME")
    parser.add_argument("--out", required=True, help="model folder; gets a new version in it")
    parser.add_argument(
        "--data", help="data folder whose training patches become the bank (that of the run)"
    )
    parser.add_argument("--bank", help="bank made by rgan bank, instead of that of a data folder")
    parser.add_argument("--weights-dir", help="folder with backbone weight files")
    parser.add_argument(
        "--index",
        choices=INDICES,
        default=INDICES[0],
        help="how the model searches its bank; scann needs a server with ScaNN's operations "
        "(exact)",
    )
    parser.add_argument(
        "--name",
        default=DEFAULT_NAME,
        help=f"of the model in the server's files, as clients ask for it ({DEFAULT_NAME})",
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Exports and returns where the version is."""
    from export.publishing.publish import check_destination, publish
    from export.publishing.serving_files import (
        check_name,
        check_serving_folder,
        write_serving_files,
    )
    from export.saved_model import build_served_model, check_fresh, write_version
    from rgan_tf.bank.patch_bank import PatchBank
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.runs import check_bank_fits, check_learns_retrieval, open_run

    started = time.monotonic()
    check_name(args.name)
    check_destination(args.out)
    check_serving_folder(args.out)
    run = open_run(args.run)
    check_learns_retrieval(run, args.run)
    if args.bank is not None and args.data is not None:
        raise BadInput("--bank and --data both name a bank; leave one")
    if args.bank is not None:
        bank = PatchBank.open(args.bank)
    elif args.data is None and run.data is None:
        raise BadInput(f"--run {args.run}: comes without data; name a bank by --bank or --data")
    else:
        bank = PreparedData.open(args.data if args.data is not None else run.data).bank
    check_bank_fits(run, args.run, bank)

    served, licences = build_served_model(run, bank, args.weights_dir, args.index)
    archive = served.archive()
    version = publish(
        args.out,
        lambda folder: write_version(folder, archive, served, licences, run, bank),
        lambda folder: check_fresh(folder, archive, served.sizes, allow=served.search.packages),
    )
    # The stock image has no operations of ScaNN: its files would start a server that fails.
    is_stock = args.index == EXACT
    serving = write_serving_files(args.out, args.name) if is_stock else None
    total = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
    return {
        "version": int(version.name),
        "path": str(version),
        "index": args.index,
        "serving": serving,
        "patches": served.sizes.patches,
        "megabytes": round(total / 1e6, 1),
        "seconds": round(time.monotonic() - started, 1),
    }
