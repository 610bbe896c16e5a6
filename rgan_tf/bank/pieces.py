"""Pieces of a bank: images whose patches are cut, embedded and written together, anywhere.

A piece is a small bank in a folder of its own. Which images it holds depends on nothing but the
annotations, and the features of a patch not on the other patches of its batch, so the joined bank
is the same wherever and in whatever order its pieces were made.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.annotations.annotation import AnnotatedImage
from rgan_tf.annotations.left_out import BadImages
from rgan_tf.backbones import Backbone
from rgan_tf.bank.contexts import Contexts
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.patch_queue import PATCH_SIZE, PatchQueue, read_annotated
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.storage.files import atomic_folder, read_json, sha256_of
from rgan_tf.vocabulary import Vocabulary

PIECE_PATCHES = 1024  # 16 whole batches, a few seconds on one core
_COUNTS = "counts.json"
_KINDS = {kind.__name__: kind for kind in (BadInput, CorruptData)}

Sink = Callable[[AnnotatedImage, np.ndarray, int], None]
"""Takes an image, its pixels and the number of its first patch in the piece."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """What one worker does at a time.

    Attributes:
      out: the folder of the piece.
      images: at most `PIECE_PATCHES` objects, or one image.
    """

    out: Path
    images: tuple[AnnotatedImage, ...]

    @property
    def count(self) -> int:
        return len(self.images)


def cut_pieces(images: Iterable[AnnotatedImage], folder: Path, name: str = "") -> list[Piece]:
    """Divides images, in their order, into pieces.

    Args:
      images: any number.
      folder: where the pieces will lie.
      name: first part of their names.
    """
    blocks: list[list[AnnotatedImage]] = []
    patches = PIECE_PATCHES
    for image in images:
        own = max(1, len(image.objects))
        if patches + own > PIECE_PATCHES:
            blocks.append([])
            patches = 0
        blocks[-1].append(image)
        patches += own
    return [
        Piece(folder / f"{name}{number:06d}", tuple(block)) for number, block in enumerate(blocks)
    ]


@dataclasses.dataclass
class PieceMaker:
    """Makes pieces; has no state of its own.

    Attributes:
      backbone: embeds the patches.
      vocabulary: of the category ids.
      max_bad: share of all images that may be damaged or missing.
      total: number of all images.
      contexts: lends graphs; None lends none.
      turns: apply the EXIF orientation.
    """

    backbone: Backbone
    vocabulary: Vocabulary
    max_bad: float
    total: int
    contexts: Contexts | None = None
    turns: bool = False

    def __call__(self, piece: Piece) -> None:
        """Makes the folder of a piece.

        Raises:
          BadInput, CorruptData: if this piece and all that are finished have more bad images than
            are allowed.
        """
        bad = BadImages(self.max_bad)
        faults: list[tuple[str, str, str]] = []
        used = []
        states = []
        with atomic_folder(piece.out) as folder:
            with (
                bank_writer(folder, self.backbone, self.vocabulary) as bank,
                PatchQueue(bank, self.backbone, self.vocabulary, self.contexts) as queue,
                self.sink(folder) as sink,
            ):
                rows = 0
                for image in piece.images:
                    states.append(_state_of(image.path))  # before it is read, lest it changes after
                    try:
                        pixels = read_annotated(image, turn=self.turns)
                    except (BadInput, CorruptData) as error:
                        if not faults:
                            _add_finished(piece.out.parent, bad)
                        faults.append((type(error).__name__, str(error), image.source))
                        bad.add(error, image.source)
                        bad.check(self.total)
                        continue
                    sink(image, pixels, rows)
                    queue.add(image, pixels)
                    rows += len(image.objects)
                    used.append(image)
            counts = {
                "images": len(used),
                "relationships": sum(len(image.relationships) for image in used),
                "borrowed": queue.borrowed,
                "faults": faults,
                "states": states,
            }
            # In ASCII: a path may hold bytes that are not text.
            (folder / _COUNTS).write_text(json.dumps(counts))

    @contextlib.contextmanager
    def sink(self, folder: Path) -> Iterator[Sink]:
        """What else is written of every image into the folder of a piece; here nothing."""
        yield lambda image, pixels, first_row: None


def bank_writer(folder: Path, backbone: Backbone, vocabulary: Vocabulary) -> PatchBankWriter:
    """Writes the patches of a backbone."""
    return PatchBankWriter(
        folder,
        crop_size=PATCH_SIZE,
        feature_size=backbone.feature_size,
        backbone=backbone.name,
        vocabulary=vocabulary,
    )


def join_pieces(
    pieces: Iterable[Piece], bank: PatchBankWriter, bad: BadImages, total: int
) -> Iterator[tuple[Piece, int, dict[str, Any]]]:
    """Appends finished pieces to a bank, in order.

    Args:
      pieces: all of them made.
      bank: where their graphs and patches go.
      bad: where their bad images are noted.
      total: number of all images.

    Yields:
      For each piece: the piece, the row of its first patch, and its counts `images`,
      `relationships` and `borrowed`.

    Raises:
      CorruptData: if a piece is damaged, or more images than are allowed.
      BadInput: likewise.
    """
    for piece in pieces:
        part, counts = _opened(piece)
        paths = {image.source: image.path for image in piece.images}
        for kind, text, source in counts["faults"]:
            bad.add(_KINDS[kind](text), source, paths[source])
            bad.check(total)
        first_row = bank.rows
        bank.extend(part)
        yield piece, first_row, counts


def has_repaired_image(piece: Piece, *, turn: bool) -> bool:
    """Whether a finished piece has left out an image that can be read by now.

    Args:
      piece: finished or not.
      turn: as it was made with.
    """
    try:
        faults = read_json(piece.out / _COUNTS)["faults"]
    except BadInput:  # not finished; or damaged, which is told when it is joined
        return False
    sources = {source for _, _, source in faults}
    for image in piece.images:
        if image.source in sources:
            with contextlib.suppress(BadInput, CorruptData):
                read_annotated(image, turn=turn)
                return True
    return False


def replaced_images(piece: Piece) -> list[str]:
    """Sources of the images of a finished piece whose files hold something else by now.

    A file that is gone has not been replaced: its disk may only be away, and its patches are made.

    Args:
      piece: finished or not.
    """
    try:
        states = read_json(piece.out / _COUNTS).get("states", ())  # earlier versions: none
    except BadInput:  # not finished; or damaged, which is told when it is joined
        return []
    pairs = zip(piece.images, states, strict=False)
    return [image.source for image, state in pairs if state and _is_replaced(image.path, state)]


def _state_of(path: Path) -> tuple[int, int, str] | None:
    """Size, time of change and checksum of a file; None if there is no file to read."""
    try:
        found = os.stat(path)
        is_file = stat.S_ISREG(found.st_mode)
        return (found.st_size, found.st_mtime_ns, sha256_of(path)) if is_file else None
    except (OSError, ValueError):  # said when it is read
        return None


def _is_replaced(path: Path, state: Sequence[Any]) -> bool:
    """Whether a file is there that holds something else than when `_state_of` was asked."""
    try:
        found = os.stat(path)
        if [found.st_size, found.st_mtime_ns] == list(state[:2]):
            return False
        return found.st_size != state[0] or sha256_of(path) != state[2]  # a copy has another time
    except OSError:
        return False


def _add_finished(folder: Path, bad: BadImages) -> None:
    """Adds the bad images of all finished pieces: else too many are noticed only at the end."""
    for path in folder.glob(f"[!.]*/{_COUNTS}"):
        for kind, text, source in read_json(path)["faults"]:
            bad.add(_KINDS[kind](text), source)


def _opened(piece: Piece) -> tuple[PatchBank, dict[str, Any]]:
    try:
        return PatchBank.open(piece.out), read_json(piece.out / _COUNTS)
    except (BadInput, CorruptData) as error:
        raise CorruptData(
            f"{piece.out}: was finished and is now damaged ({error}); delete it and repeat"
        ) from error
