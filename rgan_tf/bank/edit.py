"""Copies of banks with other rows: the basis of removing, adding and merging."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rgan_tf.annotations.annotation import MAX_IMAGE_ID
from rgan_tf.bank.duplicates import OWN_ID, SKIP_ADVICE, own_id, row_key
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.errors import BadInput

_BLOCK = 4096  # rows copied at a time


class Copied(NamedTuple):
    """What `copy_banks` did.

    Attributes:
      patches: rows of the new bank.
      duplicates: patches left out because one of an earlier bank is the same.
      renumbered_images: images that got a new id because theirs was taken.
    """

    patches: int
    duplicates: int
    renumbered_images: int


def check_together(banks: Sequence[PatchBank]) -> None:
    """Refuses banks that cannot be merged.

    Raises:
      BadInput: if two differ; names both and the difference.
    """
    first = banks[0]
    for other in banks[1:]:
        if other.manifest["backbone"] != first.manifest["backbone"]:
            raise BadInput(
                f"{other.folder}: holds features of {other.manifest['backbone']}, "
                f"{first.folder} of {first.manifest['backbone']}; build both with one backbone"
            )
        if other.vocabulary.sha256() != first.vocabulary.sha256():
            raise BadInput(
                f"{other.folder}: has another vocabulary than {first.folder} "
                f"({other.vocabulary.num_objects} and {first.vocabulary.num_objects} object "
                "names); build both with one --like"
            )
        if (other.crop_size, other.feature_size) != (first.crop_size, first.feature_size):
            raise BadInput(
                f"{other.folder}: crops of {other.crop_size} px and features of width "
                f"{other.feature_size}, {first.folder} has {first.crop_size} and "
                f"{first.feature_size}"
            )


def copy_banks(
    banks: Sequence[PatchBank],
    folder: Path,
    *,
    keep: Callable[[int, dict[str, Any]], bool] = lambda row, entry: True,
    skip_duplicates: bool = False,
) -> Copied:
    """Copies the patches of some banks, in order, into a new bank.

    Two patches are the same if source, image, box and category are. Those of one bank are not
    compared: data sets list some objects twice, and patches that are in a bank keep their ids.
    Where one image id stands for different files, the later files get new ids: patches of different
    images never share one.

    Args:
      banks: at least one, of one backbone and vocabulary (`check_together`).
      folder: of the new bank; must not exist.
      keep: given row and table entry, whether the patch is wanted.
      skip_duplicates: leave later ones out instead of refusing them.

    Raises:
      BadInput: if a patch occurs in two banks, or nothing is kept.
    """
    check_together(banks)
    first = banks[0]
    seen: dict[tuple, str] = {}
    images = _ImageIds()
    duplicates = 0
    with PatchBankWriter(
        folder,
        crop_size=first.crop_size,
        feature_size=first.feature_size,
        backbone=first.manifest["backbone"],
        vocabulary=first.vocabulary,
    ) as writer:
        for bank in banks:
            graphs: dict[int, int] = {}
            own: dict[tuple, str] = {}
            kept: list[int] = []
            entries: list[dict[str, Any]] = []
            for row, entry in enumerate(bank.rows):
                if not keep(row, entry):
                    continue
                key = row_key(entry)
                if key in seen:
                    if not skip_duplicates:
                        raise BadInput(
                            f"{bank.folder}: patch {row} ({entry.get('category')} of "
                            f"{entry.get('source')}) is also {seen[key]}; {SKIP_ADVICE}"
                        )
                    duplicates += 1
                    continue
                if len(banks) > 1:
                    own[key] = f"patch {row} of {bank.folder}"
                kept.append(row)
                entries.append(images.with_id(entry))
                if len(kept) == _BLOCK:
                    _append(writer, bank, kept, entries, graphs)
                    kept, entries = [], []
            _append(writer, bank, kept, entries, graphs)
            seen.update(own)
        if not writer.rows:
            raise BadInput(f"{first.folder}: no patch would be left")
        return Copied(writer.rows, duplicates, images.renumbered)


def _append(writer, bank: PatchBank, kept: list[int], entries: list, graphs: dict) -> None:
    if not kept:
        return
    places = []
    for row in kept:
        graph = int(bank.graph_ids[row])
        if graph not in graphs:
            graphs[graph] = writer.add_graph(bank.graphs[graph])
        places.append((graphs[graph], int(bank.graph_positions[row])))
    writer.append(
        np.asarray(bank.crops[kept]), np.asarray(bank.features[kept], np.float32), entries, places
    )


class _ImageIds:
    """One id per image file: its own if that is free, else a new one."""

    def __init__(self):
        self._taken: set[int] = set()
        self._new_ids: dict[tuple[int, str], int] = {}
        self._next = 0
        self.renumbered = 0

    def with_id(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A table entry with the id of its image; a new one leaves the id in its source known."""
        wanted, key = entry["image_id"], (own_id(entry), entry.get("source", ""))
        if key not in self._new_ids:
            is_free = wanted not in self._taken
            image_id = wanted if is_free else self._free()
            self.renumbered += not is_free
            self._new_ids[key] = image_id
            self._taken.add(image_id)
            self._next = max(self._next, image_id + 1)
        if self._new_ids[key] == wanted:
            return entry
        return {**entry, "image_id": self._new_ids[key], OWN_ID: own_id(entry)}

    def _free(self) -> int:
        if self._next > MAX_IMAGE_ID:
            self._next = 0
        while self._next in self._taken:
            self._next += 1
        return self._next
