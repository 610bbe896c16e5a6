"""Patches of a bank that lies in the memory of the device."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.patch_reader import LoadedPatches, PatchReader


class ResidentReader(PatchReader):
    """A `PatchReader` whose arrays are variables, so that XLA can compile what reads them.

    Returns the same bits. Every replica holds a copy: make it within the strategy's scope. Its
    variables belong to no network and no checkpoint. Features stay float16 as in the bank, and are
    widened when they are read.

    Args:
      bank: the bank.
      cooccurrence: [N, Dc] float32.
      crop_size: side in px of the crops.
    """

    def __init__(self, bank: PatchBank, cooccurrence: np.ndarray, *, crop_size: int):
        super().__init__(bank, cooccurrence, crop_size=crop_size)
        rows = np.arange(len(bank))
        self._crops = _variable(bank.crops_at(rows, crop_size), "bank_crops")
        self._features = _variable(np.asarray(bank.features), "bank_features")
        self._related = _variable(np.asarray(cooccurrence, np.float32), "bank_cooccurrence")

    def load(self, ids: tf.Tensor) -> LoadedPatches:
        """See `PatchReader`."""
        return LoadedPatches(self.crops(ids), _at(self._related, ids))

    def crops(self, ids: tf.Tensor) -> tf.Tensor:
        """See `PatchReader`."""
        return _at(self._crops, ids)

    def features(self, ids: tf.Tensor) -> tf.Tensor:
        """See `PatchReader`."""
        return tf.cast(_at(self._features, ids), tf.float32)


def resident_bytes(bank: PatchBank, related: int, *, crop_size: int) -> int:
    """Memory that a `ResidentReader` takes on each replica.

    Args:
      bank: the bank.
      related: Dc, width of the co-occurrence vectors.
      crop_size: side in px of the crops.
    """
    return len(bank) * (crop_size * crop_size * 3 + 2 * bank.feature_size + 4 * related)


def _variable(values: np.ndarray, name: str) -> tf.Variable:
    return tf.Variable(values, trainable=False, name=name)


def _at(values: tf.Variable, ids: tf.Tensor) -> tf.Tensor:
    """Rows [...] int32 -> [..., *]; zeros where the id is -1."""
    rows = tf.gather(values, tf.maximum(ids, 0))  # [..., *]
    ones = [1] * (len(values.shape) - 1)
    present = tf.reshape(ids >= 0, tf.concat([tf.shape(ids), ones], axis=0))  # [..., 1 ...]
    return tf.where(present, rows, tf.zeros([], rows.dtype))
