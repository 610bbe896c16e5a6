"""Pre-filter: the nearest bank patches of each object's own category (method §2.3)."""

from __future__ import annotations

import abc
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rgan_tf.errors import BadInput
from rgan_tf.retrieval.distance import l2_distance

# Exact distances decide between rows whose fast scores differ by rounding.
_RESCORING_MARGIN = 8
_BLOCK_BYTES = 64 * 2**20  # of the score matrix of one block of queries
_CALL_SCORES = 800_000  # scores that take as long as one more TensorFlow call
PADDING_CATEGORY = 0  # of padded objects; finds nothing and is never found
ANY_CATEGORY = -1  # of a query that accepts all categories


class Candidates(NamedTuple):
    """Always k columns; if fewer were found, the last ones are not valid.

    Attributes:
      ids: [Q, k] int32 rows of the bank, best first; -1 where not valid.
      valid: [Q, k] bool.
      distances: [Q, k] float32 l2 distances, growing along a row; infinite where not valid.
    """

    ids: np.ndarray
    valid: np.ndarray
    distances: np.ndarray

    @classmethod
    def empty(cls, queries: int, k: int) -> Candidates:
        """Arrays without results, to be filled."""
        return cls(
            np.full([queries, k], -1, np.int32),
            np.zeros([queries, k], bool),
            np.full([queries, k], np.inf, np.float32),
        )


class CandidateIndex(abc.ABC):
    """Finds the k nearest patches of a bank for each query.

    A query gets patches of its own category only, however few. If there are none that it may take,
    it gets patches of other categories.
    """

    @abc.abstractmethod
    def search(
        self, queries: np.ndarray, categories: np.ndarray, excluded_images: np.ndarray, k: int
    ) -> Candidates:
        """Finds candidates.

        Args:
          queries: [Q, D] finite floats.
          categories: [Q] integers. 0 (padding) finds nothing, -1 accepts all categories.
          excluded_images: [Q] integers; patches of this image are not returned. -1 excludes none.
          k: number of columns, at least 1; may exceed the size of the bank.

        Returns:
          `Candidates`.

        Raises:
          BadInput: if the arrays do not fit the bank or each other, or hold NaN or infinity.
        """


class ExactIndex(CandidateIndex):
    """Compares every query with every patch of its category, in blocks of bounded memory.

    Many queries are searched category by category; a few are compared with the whole bank at once,
    which costs more products but fewer calls.

    Args:
      features: [N, D] finite floats.
      categories: [N] integers; rows of category 0 are never found.
      image_ids: [N] integers, not negative.

    Raises:
      BadInput: if the arrays do not fit each other, or hold NaN or infinity.
    """

    def __init__(self, features: np.ndarray, categories: np.ndarray, image_ids: np.ndarray) -> None:
        self.features = checked_matrix(features, "bank features")
        rows = len(self.features)
        self.categories = checked_integers(categories, rows, "bank categories")
        self.image_ids = checked_integers(image_ids, rows, "bank image ids")
        if rows and self.categories.min() < 0:
            row = int(self.categories.argmin())
            raise BadInput(f"bank categories: row {row} has {self.categories[row]}, below 0")
        order = np.argsort(self.categories, kind="stable")
        names, sizes = np.unique(self.categories, return_counts=True)
        parts = np.split(order, np.cumsum(sizes))  # and an empty rest
        self._rows_of = dict(zip(names.tolist(), parts[:-1], strict=True))

    def search(
        self, queries: np.ndarray, categories: np.ndarray, excluded_images: np.ndarray, k: int
    ) -> Candidates:
        """See `CandidateIndex.search`."""
        queries, categories, excluded = self.check_queries(queries, categories, excluded_images, k)
        found = Candidates.empty(len(queries), k)
        all_rows = np.flatnonzero(self.categories != PADDING_CATEGORY)
        present = np.unique(categories[categories != PADDING_CATEGORY])
        if len(queries) * len(all_rows) <= _CALL_SCORES * (len(present) - 1):
            queried = np.flatnonzero(categories != PADDING_CATEGORY)
            self._search_among(all_rows, queried, queries, categories, excluded, found)
            return found
        for category in present.tolist():
            queried = np.flatnonzero(categories == category)
            own = self._rows_of.get(category, all_rows[:0])
            if category == ANY_CATEGORY:
                own = all_rows
            self._search_among(own, queried, queries, categories, excluded, found)
            missing = queried[~found.valid[queried].any(axis=1)]
            self._search_among(all_rows, missing, queries, categories, excluded, found)
        return found

    @property
    def bank(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features [N, D] float32, categories and image ids [N] int64, as searched."""
        return self.features, self.categories, self.image_ids

    def check_queries(
        self, queries: np.ndarray, categories: np.ndarray, excluded_images: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The arguments of `search`, converted to the types it works with.

        Raises:
          BadInput: see `search`.
        """
        queries = checked_matrix(queries, "queries")
        if queries.shape[1] != self.features.shape[1]:
            raise BadInput(
                f"queries: width {queries.shape[1]} does not fit the index of width "
                f"{self.features.shape[1]}; embed both with the same network"
            )
        categories = checked_integers(categories, len(queries), "query categories")
        excluded = checked_integers(excluded_images, len(queries), "excluded images")
        if k < 1:
            raise BadInput(f"candidates: k must be at least 1, got {k}")
        return queries, categories, excluded

    def _search_among(self, rows, queried, queries, categories, excluded, found) -> None:
        if not len(rows) or not len(queried):
            return
        bank = [tf.constant(a[rows]) for a in (self.features, self.categories, self.image_ids)]
        block = max(1, _BLOCK_BYTES // (4 * len(rows)))
        for start in range(0, len(queried), block):
            part = queried[start : start + block]
            ids, valid, distances = (
                result.numpy()
                for result in exact_search(
                    tf.constant(queries[part]),
                    tf.constant(categories[part]),
                    tf.constant(excluded[part]),
                    *bank,
                    k=found.ids.shape[1],
                )
            )
            found.ids[part] = np.where(valid, rows[np.maximum(ids, 0)], -1)
            found.valid[part] = valid
            found.distances[part] = distances


def exact_search(
    queries: tf.Tensor,
    categories: tf.Tensor,
    excluded_images: tf.Tensor,
    bank_features: tf.Tensor,
    bank_categories: tf.Tensor,
    bank_image_ids: tf.Tensor,
    k: int,
) -> Candidates:
    """The search of `ExactIndex` as TensorFlow operations, also for exported graphs.

    Ranks by |f|² - 2f·q, one matrix product, and decides close calls by exact distances. The sizes
    of bank and queries may be dynamic. Inputs are not checked for NaN.

    Args:
      queries: [Q, D] float32.
      categories: [Q] integers; 0 finds nothing, -1 accepts all categories.
      excluded_images: [Q] integers; -1 excludes none.
      bank_features: [N, D] float32, N at least 1.
      bank_categories: [N] integers, same type as `categories`; 0 is never found.
      bank_image_ids: [N] integers, same type as `excluded_images`.
      k: number of columns.

    Returns:
      `Candidates` of tensors.
    """
    # Centred, so that a mean shared by all features does not cost precision.
    centre = tf.reduce_mean(bank_features, axis=0)  # [D]
    bank = bank_features - centre  # [N, D]
    squares = tf.reduce_sum(tf.square(bank), axis=-1)  # [N]
    scores = 2.0 * tf.matmul(queries - centre, bank, transpose_b=True) - squares  # [Q, N]
    allowed = (excluded_images[:, tf.newaxis] != bank_image_ids) & (
        categories[:, tf.newaxis] != PADDING_CATEGORY
    )  # [Q, N]
    allowed &= bank_categories != PADDING_CATEGORY  # [Q, N]
    is_same = categories[:, tf.newaxis] == bank_categories  # [Q, N]
    is_same |= categories[:, tf.newaxis] == ANY_CATEGORY  # [Q, N]

    def best(mask):
        return _best_rows(scores, mask, queries, bank_features, k)

    own = best(allowed & is_same)  # three of [Q, k]
    has_own = tf.reduce_any(own[1], axis=1, keepdims=True)  # [Q, 1]

    def with_others():
        others = best(allowed & ~has_own)  # three of [Q, k]
        return tuple(tf.where(has_own, *pair) for pair in zip(own, others, strict=True))

    is_without = tf.reduce_any(~has_own[:, 0] & (categories != PADDING_CATEGORY))
    return Candidates(*tf.cond(is_without, with_others, lambda: own))


def _best_rows(scores, mask, queries, bank_features, k: int):
    """The k best rows under a mask: ids, valid and distances, each [Q, k]."""
    rows = bank_features.shape[0] or tf.shape(bank_features)[0]
    wanted = tf.minimum(k + _RESCORING_MARGIN, rows)
    masked = tf.where(mask, scores, -np.inf)  # [Q, N]
    top, ids = tf.math.top_k(masked, wanted)  # [Q, W] twice
    ids = tf.sort(tf.where(top > -np.inf, ids, rows), axis=1)  # [Q, W]; ties go to the lower row
    valid = ids < rows  # [Q, W]
    nearest = tf.gather(bank_features, tf.where(valid, ids, 0))  # [Q, W, D]
    distances = l2_distance(nearest, queries[:, tf.newaxis])  # [Q, W]
    distances = tf.where(valid, distances, np.inf)  # [Q, W]
    position = tf.argsort(distances, axis=1, stable=True)[:, :k]  # [Q, min(k, W)]
    ids, valid, distances = (
        tf.gather(part, position, batch_dims=1) for part in (ids, valid, distances)
    )
    missing = [[0, 0], [0, k - tf.shape(ids)[1]]]
    ids = tf.pad(tf.where(valid, ids, -1), missing, constant_values=-1)  # [Q, k]
    valid = tf.pad(valid, missing, constant_values=False)  # [Q, k]
    distances = tf.pad(distances, missing, constant_values=np.inf)  # [Q, k]
    return tuple(tf.ensure_shape(part, [None, k]) for part in (ids, valid, distances))


def checked_matrix(values: np.ndarray, name: str) -> np.ndarray:
    """The values as contiguous float32 [rows, width].

    Raises:
      BadInput: if they are not a matrix of finite floats; the message begins with `name`.
    """
    values = np.asarray(values)
    if values.ndim != 2 or 0 in values.shape[1:] or values.dtype.kind != "f":
        raise BadInput(
            f"{name}: expected floats of shape [rows, width], got {values.dtype} "
            f"{list(values.shape)}"
        )
    values = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise BadInput(f"{name}: row {row} holds NaN or infinity; compute the features again")
    return values


def checked_integers(values: np.ndarray, rows: int, name: str) -> np.ndarray:
    """The values as int64 [rows].

    Raises:
      BadInput: if they are not that many integers; the message begins with `name`.
    """
    values = np.asarray(values)
    if values.shape != (rows,) or values.dtype.kind not in "iu":
        raise BadInput(f"{name}: expected {rows} integers, got {values.dtype} {list(values.shape)}")
    return values.astype(np.int64)
