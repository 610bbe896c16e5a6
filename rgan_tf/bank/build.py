"""Builds a bank from a user's images, in batches, and goes on where it was interrupted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from rgan_tf.annotations.left_out import BadImages
from rgan_tf.backbones import Backbone
from rgan_tf.bank.contexts import Contexts
from rgan_tf.bank.format import MANIFEST
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.patch_queue import PATCH_SIZE, PatchQueue, read_usable
from rgan_tf.bank.sources import BankSource
from rgan_tf.bank.writer import PROGRESS, PatchBankWriter
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.progress import progress_bar
from rgan_tf.storage.files import write_json_atomic
from rgan_tf.storage.renames import partial_sibling, rename_to_free
from rgan_tf.storage.seal import read_sealed, sealed
from rgan_tf.vocabulary import Vocabulary

_CHECKPOINT_PATCHES = 2048
_BANK = "bank"  # in the working folder
_FINISHED = "finished.json"  # beside it, once all of it is written


def build_rows(
    source: BankSource,
    working: Path,
    *,
    backbone: Backbone,
    vocabulary: Vocabulary,
    licences: LicenceFilter,
    contexts: PatchBank | None = None,
    crop_size: int = PATCH_SIZE,
    max_bad: float = 0.0,
    progress: bool = True,
) -> dict[str, Any]:
    """Cuts, embeds and writes every patch of a source as a bank.

    What a call has written, interrupted or not, stays in `working`, and a call with the same
    arguments goes on from there. The caller keeps other processes out (`bank_lock`).

    Args:
      source: the images.
      working: folder of the bank; not yet under the name that the user gave.
      backbone: that embeds the patches.
      vocabulary: names that the bank may use.
      licences: images under others are left out.
      contexts: bank that lends its graphs to patches without one, see `Contexts`.
      crop_size: S in px; only 64 can be written.
      max_bad: share of images that may be damaged or missing; they are left out and listed.
      progress: report on standard error.

    Returns:
      Counts: `patches`, `images`, `refused_licence` (images), `borrowed_graphs` (patches),
      `bad_images` (a list of lines) and `resumed_at` (images that were done before, 0 for a fresh
      start).

    Raises:
      BadInput: if a category is not in the vocabulary, an image is of no use, or the folder was
        begun with other arguments.
      CorruptData: if images are damaged, more than `max_bad` allows; or what was written before is.
    """
    total = len(source.images) + len(source.bad_images)
    if crop_size != PATCH_SIZE:
        raise BadInput(f"the bank holds crops of {crop_size} px, this program makes {PATCH_SIZE}")
    for category in source.categories:
        try:
            vocabulary.object_id(category)
        except BadInput as error:
            raise BadInput(
                f"{source.name}: {error}; rgan vocabulary lists those of a bank, data or run"
            ) from error
    begun_with = {
        "source": source.fingerprint(),
        "backbone": backbone.name,
        "vocabulary": vocabulary.sha256(),
        "licences": str(licences),
        "contexts": contexts.fingerprint if contexts is not None else None,
    }
    counts = _finished(working, begun_with)
    if counts is not None:
        _met_before(counts["bad_images"], max_bad).check(total)
        return counts
    with PatchBankWriter(
        working / _BANK,
        crop_size=crop_size,
        feature_size=backbone.feature_size,
        backbone=backbone.name,
        vocabulary=vocabulary,
        resume=True,
    ) as bank:
        note = bank.note or {
            "begun_with": begun_with,
            "next": 0,
            "bad": list(source.bad_images),
            "used": 0,
            "borrowed": 0,
        }
        _check_begun(note, begun_with, working)
        bad_images = _met_before(note["bad"], max_bad)
        bad_images.check(total)
        note["bad"] = bad_images.lines  # grows with it
        lender = Contexts(contexts) if contexts is not None else None
        with PatchQueue(bank, backbone, vocabulary, lender) as queue:
            counts = _add_images(source, bank, queue, licences, bad_images, note, progress)
        # Before the bank is closed: one that is whole then always has its record.
        record = {"begun_with": begun_with, "next": note["next"], "counts": counts}
        write_json_atomic(working / _FINISHED, sealed(record))
    return counts


def _finished(working: Path, begun_with: dict[str, Any]) -> dict[str, Any] | None:
    """The counts of a bank that is whole and was never put in its place."""
    if not (working / _BANK / MANIFEST).exists():
        return None
    try:
        record = read_sealed(working / _FINISHED)
        PatchBank.open(working / _BANK)
    except (BadInput, CorruptData) as error:
        raise CorruptData(
            f"{working}: was finished and is damaged now ({error}); delete the folder and start "
            "again"
        ) from error
    _check_begun(record, begun_with, working)
    return {**record["counts"], "resumed_at": record["next"]}


def _check_begun(note: dict[str, Any], begun_with: dict[str, Any], working: Path) -> None:
    if note["begun_with"] != begun_with:
        raise BadInput(
            f"{working}: was begun from other images or options, or for a bank that has changed "
            "since; repeat that command, or delete the folder"
        )


def _met_before(lines: list[str], max_bad: float) -> BadImages:
    """What was left out before counts too, where fewer may be now."""
    bad = BadImages(max_bad)
    for line in lines:
        bad.add(CorruptData(line))
    return bad


def _add_images(
    source: BankSource,
    bank: PatchBankWriter,
    queue: PatchQueue,
    licences: LicenceFilter,
    bad: BadImages,
    note: dict[str, Any],
    progress: bool,
) -> dict[str, Any]:
    """Adds the images from `note["next"]` on, and writes the note with the patches it counts."""
    wanted = [image for image in source.images if licences.allows(image.licence)]
    if not wanted:
        raise BadInput(f"{source.name}: no image is left under {licences}")
    total = len(source.images) + len(source.bad_images)
    first, borrowed, checkpointed = note["next"], note["borrowed"], bank.rows
    with progress_bar("images", len(wanted), done=first, shown=progress) as bar:
        for number in range(first, len(wanted)):
            image = wanted[number]
            pixels = read_usable(image, bad, total, turn=source.turns)
            if pixels is not None:
                queue.add(image, pixels)
                note["used"] += 1
            note["next"], note["borrowed"] = number + 1, borrowed + queue.borrowed
            bar.update()
            if bank.rows - checkpointed >= _CHECKPOINT_PATCHES:
                queue.flush()
                bank.checkpoint(note)
                checkpointed = bank.rows
        queue.flush()
    if not bank.rows:
        raise BadInput(f"{source.name}: none of its images could be used")
    return {
        "patches": bank.rows,
        "images": note["used"],
        "refused_licence": len(source.images) - len(wanted),
        "borrowed_graphs": note["borrowed"],
        "bad_images": note["bad"],
        "resumed_at": first,
    }


def finished_bank(working: Path) -> PatchBank:
    """Opens what `build_rows` has written."""
    return PatchBank.open(working / _BANK)


def put_in_place(working: Path, out: Path) -> None:
    """Gives a finished bank its name.

    Raises:
      BadInput: if the name is taken.
    """
    rename_to_free(working / _BANK, out)
    discard(working)


def discard(working: Path) -> None:
    """Deletes a working folder, at once for everybody who looks for it."""
    aside = partial_sibling(working)
    os.rename(working, aside)
    shutil.rmtree(aside, ignore_errors=True)


def holds_work(working: Path) -> bool:
    """Whether there is something to go on from."""
    return any((working / _BANK / name).exists() for name in (PROGRESS, MANIFEST))
