"""`rgan bank remove` and `merge`: make banks from other banks."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rgan_tf.arguments import path_list, path_text, text_list
from rgan_tf.bank.edit import copy_banks
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.errors import BadInput
from rgan_tf.storage.files import atomic_folder, replaced_folder
from training.bank.places import free_place, new_bank, own_bank

_DIGITS = 18  # of a row number; Python refuses to parse thousands of digits


def remove(
    bank: PatchBank | str | Path,
    *,
    ids: str | Iterable[int] | None = None,
    categories: Iterable[str] = (),
    sources: Iterable[str] = (),
    licences: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Takes patches out of a bank: all that any of the arguments names. Later rows move up.

    Args:
      bank: bank folder, or an opened one.
      ids: rows, also as an array, or a text such as "3,17,100-199".
      categories: names; one text is one name.
      sources: source images, as the bank's table names them.
      licences: codes such as "BY-NC".

    Returns:
      `bank`, `removed`, and `patches` that are left.

    Raises:
      BadInput: if nothing is named, what is named is not there, or no patch would be left.
      CorruptData: if a file is damaged.

    Example:
      ```python
      import rgan_tf

      built = rgan_tf.build_bank("BANK", data="DATA")
      left = rgan_tf.remove_from_bank("BANK", ids=[0, 1])
      assert left["patches"] == built["patches"] - 2
      ```
    """
    bank = path_text(bank, "bank")
    if not isinstance(ids, str):
        ids = () if ids is None else text_list(ids, "ids", also=(numbers.Integral,))
        ids = ",".join(ids)
    categories, sources = text_list(categories, "categories"), text_list(sources, "sources")
    licences = None if licences is None else text_list(licences, "licences")
    if not (ids or categories or sources or licences):
        raise BadInput("choose patches by --ids, --category, --source or --licence")
    chosen = LicenceFilter.parse(licences) if licences else None
    named = set(sources)
    unseen = set(sources)
    with own_bank(bank) as opened:
        rows = parse_ids(ids, len(opened)) if ids else set()
        chosen_ids = set()
        for category in categories:
            try:
                chosen_ids.add(opened.vocabulary.object_id(category))
            except BadInput as error:
                advice = f"rgan vocabulary {bank} lists all"
                raise BadInput(f"--category: {error}; {advice}") from error

        def keep(row: int, entry: dict[str, Any]) -> bool:
            unseen.discard(entry.get("source"))
            return not (
                row in rows
                or entry["category_id"] in chosen_ids
                or entry.get("source") in named
                or (chosen is not None and chosen.allows(entry.get("licence", "")))
            )

        with replaced_folder(opened.folder) as partial:
            copied = copy_banks([opened], partial, keep=keep)
            if unseen:
                raise BadInput(f"--source {sorted(unseen)[0]}: no patch of {bank} is from it")
    return {
        "bank": bank,
        "removed": len(opened) - copied.patches,
        "patches": copied.patches,
    }


def merge(
    banks: Sequence[PatchBank | str | Path],
    out: str | Path,
    *,
    licences: Sequence[str] | None = None,
    skip_duplicates: bool = False,
) -> dict[str, Any]:
    """Puts banks of one vocabulary and backbone into a new one, in the given order.

    Args:
      banks: bank folders, or opened ones.
      out: bank folder to make.
      licences: codes such as "BY"; only patches under these are taken. None: all.
      skip_duplicates: leave out the later one of two equal patches, instead of refusing it.

    Returns:
      `bank`, `patches`, `duplicates`, and `renumbered_images` whose ids were taken.

    Raises:
      BadInput: if the banks do not go together, the place is taken, or a patch occurs twice.
      CorruptData: if a file is damaged.

    Example:
      ```python
      import rgan_tf

      rgan_tf.build_bank("BANK", data="DATA")
      both = rgan_tf.merge_banks(["BANK", "BANK"], "BOTH", skip_duplicates=True)
      assert both["duplicates"] == both["patches"]
      ```
    """
    allowed = LicenceFilter.parse(licences)
    out = path_text(out, "--out")
    free_place(out)
    banks = path_list(banks, "banks")
    if not banks:
        raise BadInput("name at least one bank")
    opened = [PatchBank.open(folder) for folder in banks]
    with new_bank(out) as place, atomic_folder(place) as partial:
        copied = copy_banks(
            opened,
            partial,
            keep=lambda row, entry: allowed.allows(entry.get("licence", "")),
            skip_duplicates=skip_duplicates,
        )
    return {"bank": out, **copied._asdict()}


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
