"""Builds a bank from a user's images in batches; an interrupted build resumes."""

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
_FINISHED = "finished.json"  # beside it, written when the bank is complete


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

    A repeated call with the same arguments resumes from what is in `working`. The caller keeps
    other processes out (`bank_lock`).

    Args:
      source: the images.
      working: folder to build in; `put_in_place` gives the bank its final name.
      backbone: embeds the patches.
      vocabulary: names that the bank may use.
      licences: images under other licences are left out.
      contexts: bank that lends its graphs to patches without one (see `Contexts`).
      crop_size: S in px; only 64 can be written.
      max_bad: share of images that may be damaged or missing; these are left out and listed.
      progress: report on standard error.

    Returns:
      Counts: `patches`, `images`, `refused_licence` (images), `borrowed_graphs` (patches),
      `bad_images` (a list of lines) and `resumed_at` (images done by earlier calls; 0 for a fresh
      start).

    Raises:
      BadInput: if a category is not in the vocabulary, an image is unusable, or the folder was
        begun with other arguments.
      CorruptData: if more images are damaged than `max_bad` allows, or the unfinished bank is.
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
        _already_left_out(counts["bad_images"], max_bad).check(total)
        return counts
    with PatchBankWriter(
        working / _BANK,
        crop_size=crop_size,
        feature_size=backbone.feature_size,
        backbone=backbone.name,
        vocabulary=vocabulary,
        resume=True,
    ) as bank:
        state = bank.state or {
            "begun_with": begun_with,
            "next": 0,
            "bad": list(source.bad_images),
            "used": 0,
            "borrowed": 0,
        }
        _check_begun(state, begun_with, working)
        bad_images = _already_left_out(state["bad"], max_bad)
        bad_images.check(total)
        state["bad"] = bad_images.lines  # grows with it
        lender = Contexts(contexts) if contexts is not None else None
        with PatchQueue(bank, backbone, vocabulary, lender) as queue:
            counts = _add_images(source, bank, queue, licences, bad_images, state, progress)
        # Written before the bank is closed, so that a complete bank always has its record.
        record = {"begun_with": begun_with, "next": state["next"], "counts": counts}
        write_json_atomic(working / _FINISHED, sealed(record))
    return counts


def _finished(working: Path, begun_with: dict[str, Any]) -> dict[str, Any] | None:
    """The counts of a bank that is complete but not yet in place."""
    if not (working / _BANK / MANIFEST).exists():
        return None
    try:
        record = read_sealed(working / _FINISHED)
        PatchBank.open(working / _BANK)
    except (BadInput, CorruptData) as error:
        raise CorruptData(
            f"{working}: was finished and is now damaged ({error}); delete the folder and start "
            "again"
        ) from error
    _check_begun(record, begun_with, working)
    return {**record["counts"], "resumed_at": record["next"]}


def _check_begun(state: dict[str, Any], begun_with: dict[str, Any], working: Path) -> None:
    if state["begun_with"] != begun_with:
        raise BadInput(
            f"{working}: was begun from other images or options, or for a bank that has changed "
            "since; repeat that command, or delete the folder"
        )


def _already_left_out(lines: list[str], max_bad: float) -> BadImages:
    """The images already left out; they still count, because `max_bad` may be smaller now."""
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
    state: dict[str, Any],
    progress: bool,
) -> dict[str, Any]:
    """Adds the images from `state["next"]` on; checkpoints the state along with its patches."""
    wanted = [image for image in source.images if licences.allows(image.licence)]
    if not wanted:
        raise BadInput(f"{source.name}: no image is left under {licences}")
    total = len(source.images) + len(source.bad_images)
    first, borrowed, checkpointed = state["next"], state["borrowed"], bank.rows
    with progress_bar("images", len(wanted), done=first, shown=progress) as bar:
        for number in range(first, len(wanted)):
            image = wanted[number]
            pixels = read_usable(image, bad, total, turn=source.turns)
            if pixels is not None:
                queue.add(image, pixels)
                state["used"] += 1
            state["next"], state["borrowed"] = number + 1, borrowed + queue.borrowed
            bar.update()
            if bank.rows - checkpointed >= _CHECKPOINT_PATCHES:
                queue.flush()
                bank.checkpoint(state)
                checkpointed = bank.rows
        queue.flush()
    if not bank.rows:
        raise BadInput(f"{source.name}: none of its images could be used")
    return {
        "patches": bank.rows,
        "images": state["used"],
        "refused_licence": len(source.images) - len(wanted),
        "borrowed_graphs": state["borrowed"],
        "bad_images": state["bad"],
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
    """Deletes a working folder; it vanishes under its name at once."""
    aside = partial_sibling(working)
    os.rename(working, aside)
    shutil.rmtree(aside, ignore_errors=True)


def holds_work(working: Path) -> bool:
    """Whether there is a build to resume."""
    return any((working / _BANK / name).exists() for name in (PROGRESS, MANIFEST))
