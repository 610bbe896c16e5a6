"""Reads selected patches of the bank inside a training step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.storage.mapped import rows_or_zeros


class LoadedPatches(NamedTuple):
    """What the generator and the losses need of some patches; zeros where the id is -1.

    Attributes:
      crops: [..., h, w, 3] uint8.
      cooccurrence: [..., Dc] float32.
    """

    crops: tf.Tensor
    cooccurrence: tf.Tensor


class PatchReader:
    """Crops, backbone features and co-occurrence vectors by bank row, as TensorFlow ops.

    The arrays stay memory-mapped where they are large and are read by `tf.numpy_function`: the
    input pipeline and all replicas share one copy, whereas `tf.gather` would need the whole bank as
    a tensor on every device. The op runs on the host, needs no gradient, has no side effects (the
    bank never changes) and cannot be saved in a SavedModel.

    Args:
      bank: the retrievable patches.
      cooccurrence: [N, Dc] float, the frozen co-occurrence embedding of the bank.
      crop_size: side of the crops in px.

    Raises:
      ValueError: if bank and embedding have different numbers of rows.
    """

    def __init__(self, bank: PatchBank, cooccurrence: np.ndarray, *, crop_size: int):
        if len(cooccurrence) != len(bank):
            raise ValueError(f"{len(cooccurrence)} co-occurrence rows for {len(bank)} patches")
        self.bank = bank
        self._cooccurrence = cooccurrence
        self._crop_size = crop_size

    def __len__(self) -> int:
        return len(self.bank)

    def load(self, ids: tf.Tensor) -> LoadedPatches:
        """Pixels and co-occurrence vectors of [...] int32 rows."""
        return LoadedPatches(
            self.crops(ids),
            _read(self._cooccurrence_at, ids, tf.float32, [self._cooccurrence.shape[1]]),
        )

    def crops(self, ids: tf.Tensor) -> tf.Tensor:
        """[..., h, w, 3] uint8 of [...] int32 rows."""
        size = self._crop_size
        return _read(lambda rows: self.bank.crops_at(rows, size), ids, tf.uint8, [size, size, 3])

    def features(self, ids: tf.Tensor) -> tf.Tensor:
        """Backbone features of [...] int32 rows: [..., Dx] float32."""
        return _read(self.bank.features_at, ids, tf.float32, [self.bank.feature_size])

    def _cooccurrence_at(self, ids: np.ndarray) -> np.ndarray:
        return rows_or_zeros(self._cooccurrence, ids).astype(np.float32, copy=False)


def _read(function, ids: tf.Tensor, kind: tf.DType, shape: list[int]) -> tf.Tensor:
    values = tf.numpy_function(function, [ids], kind, stateful=False)
    values.set_shape([*ids.shape, *shape])
    return values
