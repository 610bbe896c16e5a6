"""`rgan vocabulary`: lists the names that a scene graph can use."""

from __future__ import annotations

import argparse
from typing import Any

_COLUMNS = 3  # of the table
_GAP = "   "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "place",
        metavar="MODEL|RUN|DATA|BANK",
        help="exported model, run folder or released:NAME, prepared data, or bank",
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the names, and prints them as a table."""
    import numpy as np

    from rgan_tf.places import open_place
    from rgan_tf.progress import note
    from rgan_tf.vocabulary import IN_IMAGE

    place = open_place(args.place)
    vocabulary, patches = place.vocabulary, place.patches
    if patches is None:
        categories: dict[str, int | None] = dict.fromkeys(vocabulary.categories)
    else:
        counts = np.bincount(patches.category_ids, minlength=vocabulary.num_objects)
        categories = {
            name: int(counts[vocabulary.object_id(name)]) for name in vocabulary.categories
        }
    relationships = list(vocabulary.predicates[IN_IMAGE + 1 :])
    for line in table(categories, relationships):
        note(line)
    return {
        "place": args.place,
        "kind": place.kind,
        "categories": categories,
        "relationships": relationships,
        "patches": None if patches is None else len(patches),
    }


def table(categories: dict[str, int | None], relationships: list[str]) -> list[str]:
    """The table's lines.

    Args:
      categories: name -> number of patches; None if there is no bank to count.
      relationships: names.
    """
    is_counted = None not in categories.values()
    heading = f"{len(categories)} categories"
    if is_counted:
        heading += ", each with the number of its patches"
    else:
        heading += " (without counts: there are no patches here to count)"
    entries = [
        f"{name} {count}" if is_counted else name for name, count in sorted(categories.items())
    ]
    lines = [f"{heading}:", *_in_columns(entries)]
    lines += [f"{len(relationships)} relationships:", *_in_columns(relationships)]
    return lines


def _in_columns(entries: list[str]) -> list[str]:
    """Entries ordered down the columns, as in a dictionary."""
    if not entries:
        return ["  none"]
    height = -(-len(entries) // _COLUMNS)
    columns = [entries[start : start + height] for start in range(0, len(entries), height)]
    widths = [max(map(len, column)) for column in columns]
    rows = []
    for row in range(height):
        cells = [
            column[row].ljust(width)
            for column, width in zip(columns, widths, strict=True)
            if row < len(column)
        ]
        rows.append(f"  {_GAP.join(cells)}".rstrip())
    return rows
