"""The patch bank as it is served: everything a request needs, as TensorFlow variables.

Variables go to the variables file and not into the graph, whose size is limited to 2 GB.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from rgan_tf.bank.licences import CODES, licence_code

_ROWS_AT_ONCE = 4096


class BankArrays(NamedTuple):
    """The patch bank with everything that serving needs, computed at export.

    Attributes:
      graph_features: [N, W], stage-1 object vectors, compared by the pre-filter.
      embeddings: [N, D] float32, patch embeddings φ.
      crops: uint8 [N, h, w, 3] at the size that the generator reads.
      category_ids: [N] integers; patches of category 0 are never found.
      image_ids: [N] integers.
      licence_ids: [N] int32, indices into the bank's licence codes.
    """

    graph_features: np.ndarray
    embeddings: np.ndarray
    crops: np.ndarray
    category_ids: np.ndarray
    image_ids: np.ndarray
    licence_ids: np.ndarray


class ServedBank(tf.Module):
    """`BankArrays` as variables of the same names."""

    def __init__(self, arrays: BankArrays):
        super().__init__(name="bank")

        def constant(name: str, dtype: tf.DType) -> tf.Variable:
            values = tf.cast(getattr(arrays, name), dtype)
            return tf.Variable(values, trainable=False, name=f"bank/{name}")

        self.graph_features = constant("graph_features", tf.float32)
        self.embeddings = constant("embeddings", tf.float32)
        self.crops = _by_blocks(arrays.crops, "bank/crops")
        self.category_ids = constant("category_ids", tf.int32)
        self.image_ids = constant("image_ids", tf.int64)
        self.licence_ids = constant("licence_ids", tf.int32)


def _by_blocks(values: np.ndarray, name: str) -> tf.Variable:
    """A uint8 variable on the host, filled a block of rows at a time.

    TensorFlow copies an array twice before it is a variable; of all crops that is gigabytes.
    """
    with tf.device("CPU:0"):  # a GPU has no operation to fill it
        variable = tf.Variable(tf.zeros(values.shape, tf.uint8), trainable=False, name=name)
        for start in range(0, len(values), _ROWS_AT_ONCE):
            block = tf.constant(values[start : start + _ROWS_AT_ONCE], tf.uint8)
            rows = tf.range(start, start + len(block), dtype=tf.int64)
            variable.scatter_update(tf.IndexedSlices(block, rows))
    return variable


def licence_table(rows: Iterable[dict[str, Any]]) -> tuple[tuple[str, ...], np.ndarray]:
    """The licence codes of a bank, and for each patch the index of its code.

    Args:
      rows: the bank's table.

    Returns:
      Codes in the order of `CODES`, and [N] int32.
    """
    numbers = np.array(
        [CODES.index(licence_code(row.get("licence") or "")) for row in rows], np.int32
    )  # [N]
    present, places = np.unique(numbers, return_inverse=True)
    return tuple(CODES[number] for number in present), places.astype(np.int32)
