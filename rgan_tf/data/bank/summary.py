"""What is in a bank: counts, and a picture of some of it."""

from __future__ import annotations

import collections
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from rgan_tf.data.licences import licence_code
from rgan_tf.data.patch_bank import PatchBank
from rgan_tf.pictures import patch_sheet

_PER_CATEGORY = 6
_MOST_CATEGORIES = 60


def summarise(bank: PatchBank) -> dict[str, Any]:
    """Counts by category, source (the folder of the image), licence as written and its code."""
    categories: collections.Counter[str] = collections.Counter()
    sources: collections.Counter[str] = collections.Counter()
    licences: collections.Counter[str] = collections.Counter()
    for row in bank.rows:
        categories[row.get("category", "")] += 1
        sources[str(PurePosixPath(row.get("source") or "unknown").parent)] += 1
        licences[row.get("licence") or "unknown"] += 1
    codes: collections.Counter[str] = collections.Counter()
    for name, count in licences.items():
        codes[licence_code(name)] += count
    present = set(categories)
    return {
        "patches": len(bank),
        "images": int(len(np.unique(bank.image_ids))),
        "graphs": len(bank.graphs),
        "backbone": bank.manifest["backbone"],
        "crop_size": bank.crop_size,
        "megabytes": round(
            sum(entry["bytes"] for entry in bank.manifest["files"].values()) / 1e6, 1
        ),
        "categories": dict(categories.most_common()),
        "empty_categories": [name for name in bank.vocabulary.categories if name not in present],
        "sources": dict(sources.most_common()),
        "licences": dict(licences.most_common()),
        "licence_codes": dict(codes.most_common()),
        "indices": sorted(
            path.parent.relative_to(bank.folder).as_posix()
            for path in bank.folder.glob("search/*/scann-*/manifest.json")
        ),
    }


class Sample(NamedTuple):
    """A picture of some patches.

    Attributes:
      picture: uint8 [h, w, 3].
      shown: how many categories are on it.
      present: how many the bank has patches of.
    """

    picture: np.ndarray
    shown: int
    present: int


def draw_sample(bank: PatchBank) -> Sample:
    """A few patches of every category, up to 60 of these, evenly spaced through the bank."""
    crops, names, captions = [], [], []
    present = np.unique(bank.category_ids)
    shown = present[:_MOST_CATEGORIES]
    for category in shown:
        rows = np.flatnonzero(bank.category_ids == category)
        for row in rows[:: max(1, len(rows) // _PER_CATEGORY)][:_PER_CATEGORY]:
            crops.append(np.asarray(bank.crops[row]))
            names.append(bank.vocabulary.object_name(int(category)))
            captions.append(f"id {row}")
    picture = patch_sheet(crops, names, captions, columns=2 * _PER_CATEGORY)
    return Sample(picture, len(shown), len(present))
