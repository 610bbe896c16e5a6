"""Embeddings of patches for TensorBoard's projector, with the patches as pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tensorboard.plugins.projector import ProjectorConfig

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.storage.files import write_bytes_atomic
from rgan_tf.storage.image import encode_png
from training.callbacks.stage import StageCallback

MOST_PATCHES = 2000
MOST_PIXELS = 8192  # side of the sprite; the limit of WebGL
CONFIG = "projector_config.pbtxt"  # the plugin's file name
_THUMBNAIL = 64  # px at most
_SAMPLE = 20  # purpose of the random sample
_METADATA, _SPRITE = "metadata.tsv", "sprite.png"


class Projector(StageCallback):
    """Writes embeddings of a fixed sample of the bank when the stage has all its steps.

    Args:
      first_step, total_steps: see `StageCallback`.
      bank: the retrievable patches.
      embeddings: takes n rows of the bank, returns name -> [n, D]; may return none.
      folder: TensorBoard folder of the stage.
    """

    def __init__(
        self,
        first_step: int,
        total_steps: int,
        *,
        bank: PatchBank,
        embeddings: Callable[[np.ndarray], dict[str, np.ndarray]],
        folder: Path,
    ):
        super().__init__(first_step, total_steps)
        self._bank = bank
        self._embeddings = embeddings
        self._folder = folder

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self.step == self.total_steps and len(self._bank):
            rows = sample_rows(len(self._bank))
            vectors = self._embeddings(rows)
            if vectors:
                write_projection(self._folder, self._bank, rows, vectors)


def sample_rows(count: int) -> np.ndarray:
    """A reproducible sample of rows, ascending; all rows if there are at most `MOST_PATCHES`."""
    if count <= MOST_PATCHES:
        return np.arange(count)
    return np.sort(np.random.default_rng([0, _SAMPLE]).choice(count, MOST_PATCHES, replace=False))


def write_projection(
    folder: Path,
    bank: PatchBank,
    rows: np.ndarray,
    embeddings: dict[str, np.ndarray],
) -> None:
    """Writes the projector's files; last the config, which names the others.

    Args:
      folder: TensorBoard folder of a run.
      bank: the patches.
      rows: [n] int, n at least 1; rows of the bank.
      embeddings: name -> [n, D]; the names become file names.
    """
    crops, side = sprite(bank, rows)
    config = ProjectorConfig()
    for name, vectors in embeddings.items():
        lines = ["\t".join(f"{value:.6g}" for value in vector) for vector in vectors]
        write_bytes_atomic(folder / f"{name}.tsv", ("\n".join(lines) + "\n").encode())
        entry = config.embeddings.add()
        entry.tensor_name = name
        entry.tensor_path = f"{name}.tsv"
        entry.metadata_path = _METADATA
        entry.sprite.image_path = _SPRITE
        entry.sprite.single_image_dim.extend([side, side])
    write_bytes_atomic(folder / _METADATA, metadata(bank, rows).encode("utf-8"))
    write_bytes_atomic(folder / _SPRITE, encode_png(crops))
    write_bytes_atomic(folder / CONFIG, text_format.MessageToString(config).encode())


def sprite(bank: PatchBank, rows: np.ndarray) -> tuple[np.ndarray, int]:
    """All patches on one sheet, row by row in the projector's order.

    Returns:
      uint8 [H, W, 3] of at most `MOST_PIXELS` a side, and the side of one patch in px.
    """
    columns = math.ceil(math.sqrt(len(rows)))
    side = min(_THUMBNAIL, bank.crop_size, MOST_PIXELS // columns)
    lines = math.ceil(len(rows) / columns)
    sheet = np.full([lines * columns, side, side, 3], 255, np.uint8)
    sheet[: len(rows)] = bank.crops_at(rows, side)
    sheet = sheet.reshape(lines, columns, side, side, 3).transpose(0, 2, 1, 3, 4)
    return sheet.reshape(lines * side, columns * side, 3), side


def metadata(bank: PatchBank, rows: np.ndarray) -> str:
    """A line of labels per patch under a line of titles; includes the style if known."""
    lines = ["category\timage_id\tstyle\tsplit"]
    for row in rows:
        entry = bank.rows[int(row)]
        cells = (entry.get("category"), entry.get("image_id"), entry.get("style"), "train")
        lines.append("\t".join(_label(cell) for cell in cells))
    return "\n".join(lines) + "\n"


def _label(value) -> str:
    """One cell: not empty, which would shift the others, and without tabs or line ends."""
    return " ".join(str(value).split()) or "unknown" if value is not None else "unknown"
