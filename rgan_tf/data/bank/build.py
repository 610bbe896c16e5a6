"""Builds a bank from a user's images, in batches, and goes on where it was interrupted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rgan_tf.backbones import Backbone
from rgan_tf.data.annotation import AnnotatedImage
from rgan_tf.data.bank.contexts import Contexts
from rgan_tf.data.bank.format import MANIFEST
from rgan_tf.data.bank.patch_queue import PATCH_SIZE, PatchQueue, read_annotated
from rgan_tf.data.bank.sources import BankSource
from rgan_tf.data.bank.writer import PatchBankWriter
from rgan_tf.data.licences import LicenceFilter
from rgan_tf.data.patch_bank import PatchBank
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.progress import Progress
from rgan_tf.vocabulary import Vocabulary

_CHECKPOINT_PATCHES = 2048


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

    What an interrupted call has written stays in `working`, and a call with the same arguments
    goes on from there.

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
      CorruptData: if images are damaged, more than `max_bad` allows.
    """
    if not 0 <= max_bad < 1:
        raise BadInput(f"--max-bad must be a share in [0, 1), got {max_bad}")
    if crop_size != PATCH_SIZE:
        raise BadInput(f"the bank holds crops of {crop_size} px, this program makes {PATCH_SIZE}")
    for category in source.categories:
        try:
            vocabulary.object_id(category)
        except BadInput as error:
            raise BadInput(f"{source.name}: {error}") from error
    begun_with = {
        "source": source.fingerprint(),
        "backbone": backbone.name,
        "vocabulary": vocabulary.sha256(),
        "licences": str(licences),
        "contexts": contexts.fingerprint if contexts is not None else None,
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(_only_builder(working))
        if (working / "bank" / MANIFEST).exists():  # finished, and never put in its place
            shutil.rmtree(working / "bank")
        bank = stack.enter_context(
            PatchBankWriter(
                working / "bank",
                crop_size=crop_size,
                feature_size=backbone.feature_size,
                backbone=backbone.name,
                vocabulary=vocabulary,
                resume=True,
            )
        )
        fresh = {"begun_with": begun_with, "next": 0, "bad": [], "used": 0, "borrowed": 0}
        note = bank.note or fresh
        if note["begun_with"] != begun_with:
            raise BadInput(
                f"{working}: was begun from other images or options; repeat that command, or "
                "delete the folder"
            )
        queue = PatchQueue(
            bank, backbone, vocabulary, Contexts(contexts) if contexts is not None else None
        )
        return _Building(source, bank, queue, licences, max_bad, note).run(progress)


class _Building:
    def __init__(
        self,
        source: BankSource,
        bank: PatchBankWriter,
        queue: PatchQueue,
        licences: LicenceFilter,
        max_bad: float,
        note: dict[str, Any],
    ):
        self._source = source
        self._bank = bank
        self._queue = queue
        self._borrowed_before = note["borrowed"]
        self._licences = licences
        self._allowed = int(max_bad * len(source.images))
        self._note = note

    def run(self, progress: bool) -> dict[str, Any]:
        images = self._source.images
        wanted = [image for image in images if self._licences.allows(image.licence)]
        if not wanted:
            raise BadInput(f"{self._source.name}: no image is left under {self._licences}")
        first = self._note["next"]
        bar = Progress("images", len(wanted)) if progress else None
        if bar is not None and first:
            bar.start_at(first)
        checkpointed = self._bank.rows
        try:
            for number in range(first, len(wanted)):
                self._add(wanted[number])
                self._note["next"] = number + 1
                self._note["borrowed"] = self._borrowed_before + self._queue.borrowed
                if bar is not None:
                    bar.advance()
                if self._bank.rows - checkpointed >= _CHECKPOINT_PATCHES:
                    self._queue.flush()
                    self._bank.checkpoint(self._note)
                    checkpointed = self._bank.rows
        finally:
            self._queue.close()
        if bar is not None:
            bar.close()
        if not self._bank.rows:
            raise BadInput(f"{self._source.name}: none of its images could be used")
        return {
            "patches": self._bank.rows,
            "images": self._note["used"],
            "refused_licence": len(images) - len(wanted),
            "borrowed_graphs": self._note["borrowed"],
            "bad_images": self._note["bad"],
            "resumed_at": first,
        }

    def _add(self, image: AnnotatedImage) -> None:
        try:
            pixels = read_annotated(image, turn=self._source.turns)
        except (BadInput, CorruptData) as error:
            self._note["bad"].append(f"{image.source}: {error}")
            if len(self._note["bad"]) > self._allowed:
                raise
            return
        self._queue.add(image, pixels)
        self._note["used"] += 1


@contextlib.contextmanager
def _only_builder(working: Path) -> Iterator[None]:
    """Keeps a second process out of the folder; the system frees it, however we end."""
    try:
        working.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise BadInput(f"{working}: cannot be made a folder; name another place") from error
    with open(working / "lock", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"{working}: another process is building there; wait for it") from error
        yield


def working_folder(out: Path) -> Path:
    """Where the bank of that name is built; beside it, so that it can be renamed into place."""
    return out.with_name(f".{out.name}.building")


def put_in_place(working: Path, out: Path) -> None:
    """Gives a finished bank its name.

    Raises:
      BadInput: if the name is taken.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{out}: exists; name a new folder or delete it")
    os.rename(working / "bank", out)
    (working / "lock").unlink(missing_ok=True)
    working.rmdir()
