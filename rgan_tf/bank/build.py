"""Builds a bank from a user's images piece by piece; an interrupted build resumes."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from rgan_tf.annotations.left_out import BadImages
from rgan_tf.backbones import Backbone
from rgan_tf.bank.contexts import Contexts
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.patch_queue import PATCH_SIZE
from rgan_tf.bank.pieces import (
    PIECE_PATCHES,
    PieceMaker,
    bank_writer,
    cut_pieces,
    has_repaired_image,
    join_pieces,
    replaced_images,
)
from rgan_tf.bank.same_weights import check_backbone
from rgan_tf.bank.sources import BankSource
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.spread import HERE, Engine
from rgan_tf.storage.files import write_json_atomic
from rgan_tf.storage.renames import partial_sibling, rename_to_free
from rgan_tf.storage.seal import read_sealed, sealed
from rgan_tf.vocabulary import Vocabulary

_LOG = logging.getLogger(__name__)

# In the working folder:
_BEGUN = "begun.json"  # what the pieces were made from
_WEIGHTS = "weights"  # its entry
_PIECES = "pieces"
_BANK = "bank"


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
    engine: Engine = HERE,
    progress: bool = True,
) -> dict[str, Any]:
    """Cuts, embeds and writes every patch of a source as a bank.

    A repeated call with the same arguments, on any engine, resumes from the pieces in `working`;
    those that left out an image which can be read by now are made again, and those with an image
    whose file holds another one by now, with a warning. The caller keeps other processes out
    (`bank_lock`).

    Args:
      source: the images.
      working: folder to build in; `put_in_place` gives the bank its final name.
      backbone: embeds the patches.
      vocabulary: names that the bank may use.
      licences: images under other licences are left out.
      contexts: bank that lends its graphs to patches without one (see `Contexts`).
      crop_size: S in px; only 64 can be written.
      max_bad: share of images that may be damaged or missing; these are left out and listed.
      engine: where the pieces are made.
      progress: report on standard error.

    Returns:
      Counts: `patches`, `images`, `refused_licence` (images), `borrowed_graphs` (patches),
      `bad_images` (a list of lines) and `resumed_at` (images done by earlier calls; 0 for a fresh
      start).

    Raises:
      BadInput: if a category is not in the vocabulary, an image is unusable, the folder was begun
        with other arguments or weights, or `contexts` was made with other weights.
      CorruptData: if more images are damaged than `max_bad` allows, or a finished piece is.
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
    bad = BadImages(max_bad)
    for line in source.bad_images:
        bad.add(CorruptData(line))
    bad.check(total)
    wanted = [image for image in source.images if licences.allows(image.licence)]
    if not wanted:
        raise BadInput(f"{source.name}: no image is left under {licences}")
    if contexts is not None and not (working / _BEGUN).exists():  # which names them too
        check_backbone(contexts, backbone)
    begun_with = {
        "source": source.fingerprint(),
        "backbone": backbone.name,
        _WEIGHTS: backbone.feature_digest(),
        "vocabulary": vocabulary.sha256(),
        "licences": str(licences),
        "contexts": contexts.fingerprint if contexts is not None else None,
        "piece_patches": PIECE_PATCHES,
    }
    _begin(working, begun_with)
    pieces = cut_pieces(wanted, working / _PIECES)
    replaced: list[str] = []
    for piece in pieces:
        others = replaced_images(piece)
        if others or has_repaired_image(piece, turn=source.turns):
            discard(piece.out)
        replaced += others
    if replaced:
        _LOG.warning(
            "%s: %d images of it, first %s, have changed since this bank was begun; their "
            "patches are made again",
            *(source.name, len(replaced), replaced[0]),
        )
    done = sum(piece.count for piece in pieces if piece.out.exists())
    lender = Contexts(contexts) if contexts is not None else None
    maker = PieceMaker(backbone, vocabulary, max_bad, total, lender, source.turns)
    engine.run(maker, pieces, "images", shown=progress)
    shutil.rmtree(working / _BANK, ignore_errors=True)  # of a call that was killed here
    used = borrowed = 0
    with bank_writer(working / _BANK, backbone, vocabulary) as bank:
        for _, _, counts in join_pieces(pieces, bank, bad, total):
            used += counts["images"]
            borrowed += counts["borrowed"]
        if not bank.rows:
            raise BadInput(f"{source.name}: none of its images could be used")
        patches = bank.rows
    return {
        "patches": patches,
        "images": used,
        "refused_licence": len(source.images) - len(wanted),
        "borrowed_graphs": borrowed,
        "bad_images": bad.lines,
        "resumed_at": done,
    }


def _begin(working: Path, begun_with: dict[str, Any]) -> None:
    """Notes what a build is made from, or compares that with the note of an earlier call."""
    path = working / _BEGUN
    if not path.exists():
        (working / _PIECES).mkdir(parents=True, exist_ok=True)
        write_json_atomic(path, sealed(begun_with))
        return
    begun = read_sealed(path, advice=f"delete {working} and start again")
    if _WEIGHTS not in begun:  # as noted by earlier versions
        begun_with = {key: value for key, value in begun_with.items() if key != _WEIGHTS}
    if begun != sealed(begun_with):
        raise BadInput(
            f"{working}: was begun from other images, options or weights of the backbone, or for a "
            "bank that has changed since; repeat that command, or delete the folder"
        )


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
    """Deletes a working folder or a piece; it vanishes under its name at once."""
    aside = partial_sibling(working)
    os.rename(working, aside)
    shutil.rmtree(aside, ignore_errors=True)


def holds_work(working: Path) -> bool:
    """Whether there is a build to resume."""
    return any((working / _PIECES).glob("[!.]*/"))
