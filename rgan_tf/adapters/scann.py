"""Everything this project uses of ScaNN; no other module imports it.

Uses the TensorFlow form, because only that can be part of a SavedModel. A process that loads such a
SavedModel must import this module (or scann) first: its operation is not part of TensorFlow.
"""

from __future__ import annotations

import hashlib

import numpy as np
import tensorflow as tf

from rgan_tf.errors import BadInput

try:
    from scann.scann_ops.py import scann_ops
except (ImportError, tf.errors.NotFoundError) as error:  # the other build of TensorFlow, or none
    raise BadInput(
        f"index scann: ScaNN cannot be loaded ({str(error).splitlines()[0]}); install the version "
        "that constraints.txt pins, or use the exact index"
    ) from error

_SQUARED_L2 = "squared_l2"
_TRAINING_SAMPLE = 100_000  # rows used to find the partitions


class ScannSearcher:
    """An approximate search over the rows of a matrix; made by `build_searcher`, `from_tensors`.

    Args:
      handle: of ScaNN's resource.
    """

    def __init__(self, handle: tf.Tensor):
        self._searcher = scann_ops.ScannSearcher(handle)

    @classmethod
    def from_tensors(cls, tensors: list[np.ndarray]) -> ScannSearcher:
        """Restores a searcher from its `tensors`."""
        state = [tf.constant(tensor) for tensor in tensors]
        dataset, *rest = (state[-1], *state[:-1])
        return cls(scann_ops.tensors_to_scann(dataset, *rest))

    def tensors(self) -> list[np.ndarray]:
        """The searcher's state: arrays of numbers or, with dtype object, of bytes."""
        tensors = scann_ops.scann_to_tensors(self._searcher.searcher_handle)
        return [
            np.array(tensor.numpy(), object if tensor.dtype == tf.string else None)
            for tensor in tensors
        ]

    def search(self, queries: tf.Tensor, *, neighbours: int, leaves_to_search: int) -> tf.Tensor:
        """The nearest rows among the partitions nearest to each query, nearest first.

        Args:
          queries: [Q, D] finite float32, Q at least 1.
          neighbours: number of rows, at least 1.
          leaves_to_search: number of partitions to search.

        Returns:
          [Q, n] int32 with n at most `neighbours`; -1 if fewer were found.
        """
        ids, distances = self._searcher.search_batched_parallel(
            queries,
            final_num_neighbors=neighbours,
            leaves_to_search=leaves_to_search,
        )  # [Q, n] twice
        # It pads missing results with row 0 and NaN.
        return tf.where(tf.math.is_finite(distances), tf.cast(ids, tf.int32), -1)


def build_searcher(features: np.ndarray, *, leaves: int) -> ScannSearcher:
    """Partitions the rows; within its partitions a search compares every row exactly.

    ScaNN's other method, quantised scores that are corrected afterwards, suits features without
    clusters. Ours have clusters: few partitions are searched, quantisation loses the differences
    between their rows, and it takes three times as long to build.

    Args:
      features: [N, D] float32, N at least `leaves`.
      leaves: number of partitions; 1 for none.
    """
    builder = scann_ops.builder(features, 1, _SQUARED_L2)
    if leaves > 1:
        sample = min(len(features), _TRAINING_SAMPLE)
        builder = builder.tree(
            num_leaves=leaves, num_leaves_to_search=1, training_sample_size=sample
        )
    return ScannSearcher(builder.score_brute_force().build().searcher_handle)


class SearcherState(tf.Module):
    """A searcher as variables, from which a graph (also of a SavedModel) rebuilds it.

    Args:
      searcher: the searcher to store.
      features: [N, D] float32 variable with the rows of which it was built, or None; if given, the
        rows are not stored again.
    """

    def __init__(self, searcher: ScannSearcher, features: tf.Variable | None = None):
        super().__init__(name="scann")
        *state, dataset = searcher.tensors()
        digest = hashlib.sha256(dataset)
        for tensor in state:
            digest.update(tensor.item() if tensor.dtype == object else tensor.tobytes())
        self._name = f"scann-{digest.hexdigest()}"
        self._state = [
            tf.Variable(tensor, trainable=False, name=f"part_{number}", dtype=_dtype_of(tensor))
            for number, tensor in enumerate(state)
        ]
        if features is None:
            features = tf.Variable(dataset, trainable=False, name="features")
        self._features = features

    def searcher(self) -> ScannSearcher:
        """The searcher; call it while a graph is traced.

        ScaNN's operation makes it at its first run and then keeps returning it. Two concurrent
        first requests would crash it, hence the lock.
        """
        tensors = [tf.convert_to_tensor(variable) for variable in (self._features, *self._state)]
        lock = tf.raw_ops.MutexLock(mutex=tf.raw_ops.MutexV2(shared_name=f"{self._name}-lock"))
        with tf.control_dependencies([lock]):
            handle = scann_ops.tensors_to_scann(*tensors, shared_name=self._name)
        with tf.control_dependencies([handle]):
            unlocked = tf.raw_ops.ConsumeMutexLock(mutex_lock=lock)
        with tf.control_dependencies([unlocked]):
            return ScannSearcher(tf.identity(handle))


def _dtype_of(tensor: np.ndarray) -> tf.DType:
    return tf.string if tensor.dtype == object else tf.as_dtype(tensor.dtype)
