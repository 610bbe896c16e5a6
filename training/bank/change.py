"""`rgan bank remove` and `merge`: make banks from other banks."""

from __future__ import annotations

import argparse
from typing import Any

from rgan_tf.bank.edit import copy_banks
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.errors import BadInput
from rgan_tf.storage.files import atomic_folder, replaced_folder
from training.bank.places import free_place, new_bank, own_bank

_DIGITS = 18  # of a row number; Python refuses to parse thousands of digits


def remove(args: argparse.Namespace) -> dict[str, Any]:
    """Removes patches; later rows move up."""
    if not (args.ids or args.category or args.source or args.licence):
        raise BadInput(
            "rgan bank remove: choose patches by --ids, --category, --source or --licence"
        )
    licences = LicenceFilter.parse(args.licence) if args.licence else None
    sources = set(args.source)
    unseen = set(sources)
    with own_bank(args.bank) as bank:
        ids = parse_ids(args.ids, len(bank)) if args.ids else set()
        for category in args.category:
            try:
                bank.vocabulary.object_id(category)
            except BadInput as error:
                advice = f"rgan vocabulary {args.bank} lists all"
                raise BadInput(f"--category: {error}; {advice}") from error

        def keep(row: int, entry: dict[str, Any]) -> bool:
            unseen.discard(entry.get("source"))
            return not (
                row in ids
                or entry["category"] in args.category
                or entry.get("source") in sources
                or (licences is not None and licences.allows(entry.get("licence", "")))
            )

        with replaced_folder(bank.folder) as partial:
            copied = copy_banks([bank], partial, keep=keep)
            if unseen:
                raise BadInput(f"--source {sorted(unseen)[0]}: no patch of {args.bank} is from it")
    return {
        "bank": str(args.bank),
        "removed": len(bank) - copied.patches,
        "patches": copied.patches,
    }


def merge(args: argparse.Namespace) -> dict[str, Any]:
    """Merges banks in the given order."""
    licences = LicenceFilter.parse(args.licence)
    free_place(args.out)
    banks = [PatchBank.open(folder) for folder in args.banks]
    with new_bank(args.out) as out, atomic_folder(out) as partial:
        copied = copy_banks(
            banks,
            partial,
            keep=lambda row, entry: licences.allows(entry.get("licence", "")),
            skip_duplicates=args.skip_duplicates,
        )
    return {"bank": str(args.out), **copied._asdict()}


def parse_ids(text: str, rows: int) -> set[int]:
    """Parses a list of rows such as "3,17,100-199".

    Raises:
      BadInput: if it is not such a list, names no row, or a row does not exist.
    """
    ids: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        if not (_is_row(first) and (_is_row(last) or not dash)):
            raise BadInput(f"--ids {part!r:.60}: write rows as 3,17,100-199")
        begin, end = int(first), int(last or first)
        if not begin <= end < rows:
            raise BadInput(f"--ids {part}: rows must be in [0, {rows}), first before last")
        ids.update(range(begin, end + 1))
    if not ids:
        raise BadInput(f"--ids {text!r:.60}: names no row; write rows as 3,17,100-199")
    return ids


def _is_row(text: str) -> bool:
    return text.isdecimal() and len(text) <= _DIGITS
