"""Finds patches that are already in a bank, before anything is cut or embedded."""

from __future__ import annotations

import dataclasses
from typing import Any

from rgan_tf.annotations.annotation import AnnotatedImage, AnnotatedObject, stored_box
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.sources import BankSource
from rgan_tf.errors import BadInput
from rgan_tf.vocabulary import composed

OWN_ID = "own_image_id"  # of a table entry: the image's number in its source, if it got another
SKIP_ADVICE = "leave such patches out with --skip-duplicates"


def row_key(entry: dict[str, Any]) -> tuple:
    """Identifies a patch: two table entries with the same key are the same patch."""
    return (
        entry.get("source", ""),
        own_id(entry),
        tuple(entry.get("box", ())),
        entry["category_id"],
    )


def own_id(entry: dict[str, Any]) -> int:
    """The number of a patch's image in its source."""
    return entry.get(OWN_ID, entry["image_id"])


def leave_out_known(
    source: BankSource, bank: PatchBank, licences: LicenceFilter, *, skip: bool
) -> tuple[BankSource, int]:
    """The source without the images whose patches are all in the bank already.

    An image with at least one new patch stays whole: its graph needs all objects.

    Args:
      source: to be added to the bank.
      bank: with the vocabulary that the source will use.
      licences: images under other licences are ignored.
      skip: leave them out instead of refusing them.

    Returns:
      The source, and how many patches were left out.

    Raises:
      BadInput: if a patch is already there and `skip` is not set.
    """
    known = {row_key(entry): row for row, entry in enumerate(bank.rows)}
    ids = {composed(name): number for number, name in enumerate(bank.vocabulary.objects)}
    images, left_out = [], 0
    for image in source.images:
        rows = []
        if licences.allows(image.licence):
            rows = [known.get(_object_key(image, item, ids)) for item in image.objects]
        present = [index for index, row in enumerate(rows) if row is not None]
        if present and not skip:
            raise BadInput(
                f"{source.name}: {image.objects[present[0]].category} of {image.source} is already "
                f"patch {rows[present[0]]} of {bank.folder}; {SKIP_ADVICE}"
            )
        if rows and len(present) == len(rows):
            left_out += len(rows)
        else:
            images.append(image)
    return dataclasses.replace(source, images=tuple(images)), left_out


def _object_key(image: AnnotatedImage, item: AnnotatedObject, ids: dict[str, int]) -> tuple:
    return (
        image.source,
        image.image_id,
        tuple(stored_box(item.box)),
        ids.get(composed(item.category)),
    )
