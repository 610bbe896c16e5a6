"""Redraws candidates by the patch embedding while it is trained."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.config import Config
from rgan_tf.errors import CorruptData
from rgan_tf.progress import note
from rgan_tf.refusals import is_refused
from rgan_tf.retrieval.candidates import CandidateSource, IndexedCandidates, MixedCandidates
from rgan_tf.retrieval.index.tuning import build_index, kind_of_index
from rgan_tf.retrieval.prefilter import embed_rows
from rgan_tf.storage.files import write_bytes_atomic

_KEPT_CHECKPOINTS = 4  # older embeddings are deleted; no kept checkpoint needs them


class Redraws:
    """Every N steps, replaces half of an object's candidates by those nearest to its patch by φ.

    The other half stays the nearest by the graph feature. φ at a redraw is kept on disk, so that a
    run resumed between two redraws reads the same candidates, up to those that ScaNN misses: it
    divides the embeddings anew each time.

    Args:
      folder: of the embeddings, RUN/retrievegan/redraws.
      config: gives N, K and the kind of index.
      bank: the retrievable patches, which are also those of the training scenes.
      source: candidates of the training scenes by the graph feature.
      embedding: φ, being trained.
      writes: False for processes that leave writing to another one.
      wait: returns when every training process has called it.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        bank: PatchBank,
        source: CandidateSource,
        embedding: tf.keras.layers.Layer,
        *,
        writes: bool = True,
        wait: Callable[[], None] = lambda: None,
    ):
        self.every_steps = config.retrieval.redraw_every_steps
        self._folder = folder
        self._config = config
        self._bank = bank
        self._source = source
        self._embedding = embedding
        self._writes = writes
        self._wait = wait

    def candidates(self, step: int) -> CandidateSource:
        """The candidates of a step; call it while the weights are those of that step.

        Raises:
          CorruptData: if the embeddings of the last redraw are missing or damaged.
        """
        last = step // self.every_steps * self.every_steps if self.every_steps else 0
        if not last:
            return self._source
        embeddings = self._embeddings(last, step)
        k = self._config.retrieval.candidates
        categories, images = (
            np.asarray(a) for a in (self._bank.category_ids, self._bank.image_ids)
        )
        index = build_index(kind_of_index(self._config), embeddings, categories, images, k=k)
        learned = IndexedCandidates(
            index, embeddings, categories, images, self._source.cooccurrence, k=k
        )
        note(f"candidates drawn anew with the embedding of step {last}")
        return MixedCandidates(self._source, learned, learned=k // 2)

    def age(self, step: int) -> int:
        """Age in steps of the candidates that the previous step read, including that step."""
        return (max(step, 1) - 1) % self.every_steps + 1

    def _embeddings(self, last: int, step: int) -> np.ndarray:
        path = self._folder / f"step-{last}.npy"
        if self._writes and not path.exists():
            if step != last:
                raise CorruptData(
                    f"{path}: is missing, and step {step} reads candidates drawn with it; restore "
                    "it, or resume from a checkpoint of another redraw"
                )
            embeddings = embed_rows(self._embedding, self._bank.features).astype(np.float16)
            buffer = io.BytesIO()
            np.save(buffer, embeddings, allow_pickle=False)
            write_bytes_atomic(path, buffer.getvalue())
            self._forget(last)
        self._wait()
        try:
            stored = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            if is_refused(error):
                raise
            raise CorruptData(f"{path}: damaged; restore it or delete it") from error
        if stored.ndim != 2 or len(stored) != len(self._bank):
            raise CorruptData(f"{path}: not the embeddings of this bank; restore it or delete it")
        return stored.astype(np.float32)

    def forget_after(self, step: int) -> None:
        """Deletes the embeddings of later steps: after a rollback training makes new ones."""
        for path in self._folder.glob("step-*.npy"):
            number = path.stem.removeprefix("step-")
            if number.isdecimal() and int(number) > step:
                path.unlink(missing_ok=True)

    def _forget(self, last: int) -> None:
        oldest = last - self.every_steps
        oldest -= _KEPT_CHECKPOINTS * self._config.training.checkpoint_every_steps
        for path in self._folder.glob("step-*.npy"):
            number = path.stem.removeprefix("step-")
            if number.isdecimal() and int(number) < oldest:
                path.unlink(missing_ok=True)
