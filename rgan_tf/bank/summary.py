"""Contents of a bank: counts and sample pictures."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from rgan_tf.bank.licences import licence_code
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.exported import ExportedPatches
from rgan_tf.pictures import patch_sheet

_PER_CATEGORY = 6
_MOST_CATEGORIES = 60
_CELL, _SMALL_CELL = 96, 56  # px, sides of a shown patch
_MANY = 300  # patches
MOST_DRAWN = 5000  # patches in one picture; a few hundred MB of pixels


def summarise(bank: PatchBank) -> dict[str, Any]:
    """Counts of a bank (see also `count_rows`), its sizes and its indices."""
    counted = count_rows(bank.rows, bank.vocabulary.categories)
    return {
        "patches": len(bank),
        "images": int(len(np.unique(bank.image_ids))),
        "graphs": len(bank.graphs),
        "patches_without_graph": sum(patches_without_graph(bank).values()),
        "backbone": bank.manifest["backbone"],
        "crop_size": bank.crop_size,
        "megabytes": round(
            sum(entry["bytes"] for entry in bank.manifest["files"].values()) / 1e6, 1
        ),
        **counted,
        "indices": sorted(
            path.parent.relative_to(bank.folder).as_posix()
            for path in bank.folder.glob("search/*/scann-*/manifest.json")
        ),
    }


def count_rows(rows: Iterable[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Counts by category, source (the folder of the image), licence as written and its code.

    Args:
      rows: table entries of the patches.
      names: all possible categories.
    """
    categories: collections.Counter[str] = collections.Counter()
    sources: collections.Counter[str] = collections.Counter()
    licences: collections.Counter[str] = collections.Counter()
    for row in rows:
        categories[row.get("category", "")] += 1
        sources[str(PurePosixPath(row.get("source") or "unknown").parent)] += 1
        licences[row.get("licence") or "unknown"] += 1
    codes: collections.Counter[str] = collections.Counter()
    for name, count in licences.items():
        codes[licence_code(name)] += count
    return {
        "categories": dict(categories.most_common()),
        "empty_categories": [name for name in names if name not in categories],
        "sources": dict(sources.most_common()),
        "licences": dict(licences.most_common()),
        "licence_codes": dict(codes.most_common()),
    }


def patches_without_graph(bank: PatchBank, first: int = 0) -> dict[str, int]:
    """How many patches are alone in their graph, by category.

    Args:
      bank: the patches.
      first: row to start from.
    """
    sizes = np.diff(bank.graphs.ends[:, 0], prepend=0)  # [G] objects per graph
    alone = sizes[bank.graph_ids[first:]] == 1  # [N - first]
    ids, counts = np.unique(bank.category_ids[first:][alone], return_counts=True)
    return {
        bank.vocabulary.object_name(int(number)): int(count)
        for number, count in zip(ids, counts, strict=True)
    }


class Sample(NamedTuple):
    """A picture of some patches.

    Attributes:
      picture: uint8 [h, w, 3].
      shown: number of categories in the picture.
      present: number of categories in the bank.
    """

    picture: np.ndarray
    shown: int
    present: int


def draw_sample(bank: PatchBank | ExportedPatches) -> Sample:
    """A few patches of each of up to 60 categories, evenly spaced through the bank."""
    present = np.unique(bank.category_ids)
    shown = present[:_MOST_CATEGORIES]
    chosen: list[int] = []
    for category in shown:
        rows = np.flatnonzero(bank.category_ids == category)
        chosen += rows[:: max(1, len(rows) // _PER_CATEGORY)][:_PER_CATEGORY].tolist()
    return Sample(_sheet(bank, chosen, columns=2 * _PER_CATEGORY), len(shown), len(present))


def draw_patches(bank: PatchBank | ExportedPatches, rows: Sequence[int]) -> np.ndarray:
    """The patches with their ids in a roughly square sheet; more than 300 are drawn smaller.

    Args:
      bank: the patches.
      rows: their ids, at most `MOST_DRAWN`.

    Returns:
      uint8 [h, w, 3].
    """
    cell = _CELL if len(rows) <= _MANY else _SMALL_CELL
    return _sheet(bank, rows, columns=max(4, math.isqrt(max(1, len(rows)))), cell=cell)


def _sheet(bank, rows: Sequence[int], *, columns: int, cell: int = _CELL) -> np.ndarray:
    crops = bank.crops
    return patch_sheet(
        [np.asarray(crops[row]) for row in rows],
        [bank.vocabulary.object_name(int(bank.category_ids[row])) for row in rows],
        [f"id {row}" for row in rows],
        cell=cell,
        columns=columns,
    )
