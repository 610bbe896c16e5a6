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
_BLOCK_BYTES = 64 * 2**20  # of the features, scores or neighbours worked on at a time
_CALL_SCORES = 80_000  # scores that take as long as the calls for one more category
_ROW_SCORES = 8  # scores that take as long as centring one row of the bank
# A search runs inside the input pipeline: on a GPU it would wait for the training step.
SEARCH_DEVICE = "/CPU:0"
PADDING_CATEGORY = 0  # of padded objects; finds nothing and is never found
ANY_CATEGORY = -1  # of a query that accepts all categories


class SearchResult(NamedTuple):
    """What an index finds: always k columns; if fewer were found, the last ones are not valid.

    Attributes:
      ids: [Q, k] int32 rows of the bank, best first; -1 where not valid.
      valid: [Q, k] bool.
      distances: [Q, k] float32 l2 distances, growing along a row; infinite where not valid.
    """

    ids: np.ndarray
    valid: np.ndarray
    distances: np.ndarray

    @classmethod
    def empty(cls, queries: int, k: int) -> SearchResult:
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
    ) -> SearchResult:
        """Finds candidates.

        Args:
          queries: [Q, D] finite floats.
          categories: [Q] integers. 0 (padding) finds nothing, -1 accepts all categories.
          excluded_images: [Q] integers; patches of this image are not returned. -1 excludes none.
          k: number of columns, at least 1; may exceed the size of the bank.

        Returns:
          `SearchResult`.

        Raises:
          BadInput: if the arrays do not fit the bank or each other, or hold NaN or infinity.
        """


class _Block(NamedTuple):
    """Rows of the bank that are searched together, as tensors on the CPU.

    Attributes:
      rows: [n] their numbers in the bank, ascending.
      centre: [D] float32, about the mean of their features.
      centred: [n, D] float32, features minus centre.
      squares: [n] float32, squared lengths of `centred`.
      categories: [n] int64.
      image_ids: [n] int64.
    """

    rows: np.ndarray
    centre: tf.Tensor
    centred: tf.Tensor
    squares: tf.Tensor
    categories: tf.Tensor
    image_ids: tf.Tensor


class ExactIndex(CandidateIndex):
    """Compares every query with every patch of its category, in blocks of bounded memory.

    Queries are searched category by category; in a small bank with all categories at once, which
    costs more products but fewer calls. The centred features of a category lie side by side from
    its first search on: one further copy of the features at most.

    TensorFlow runs on `SEARCH_DEVICE`.

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
        self._all_rows = np.flatnonzero(self.categories != PADDING_CATEGORY)
        self._blocks: dict[int, _Block] = {}  # by category
        self._bank_centre: tf.Tensor | None = None

    def search(
        self, queries: np.ndarray, categories: np.ndarray, excluded_images: np.ndarray, k: int
    ) -> SearchResult:
        """See `CandidateIndex.search`."""
        queries, categories, excluded = self.check_queries(queries, categories, excluded_images, k)
        found = SearchResult.empty(len(queries), k)
        asking = np.flatnonzero(categories != PADDING_CATEGORY)
        is_at_once = self._is_at_once(categories[asking])
        together = asking if is_at_once else asking[categories[asking] == ANY_CATEGORY]
        apart = np.setdiff1d(asking, together)
        with tf.device(SEARCH_DEVICE):
            asked = _Asked(queries, categories, excluded, k + _RESCORING_MARGIN)
            self._rank(self._near_in_bank(asked, together, own=True), together, queries, found)
            self._rank(self._near_in_categories(asked, apart), apart, queries, found)
            missing = asking[~found.valid[asking].any(axis=1)]
            self._rank(self._near_in_bank(asked, missing, own=False), missing, queries, found)
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

    def _is_at_once(self, categories: np.ndarray) -> bool:
        """Whether to compare queries of these categories with the whole bank."""
        names, counts = np.unique(categories, return_counts=True)
        sizes = [len(self._own_rows(name)) for name in names.tolist()]
        at_once = len(self._all_rows) * (len(categories) + _ROW_SCORES)
        return at_once <= int(np.dot(counts, sizes)) + _CALL_SCORES * (len(names) - 1)

    def _own_rows(self, category: int) -> np.ndarray:
        """The rows that a query of this category may get; not padding."""
        if category == ANY_CATEGORY:
            return self._all_rows
        return self._rows_of.get(category, self._all_rows[:0])

    def _near_in_categories(self, asked: _Asked, asking: np.ndarray) -> np.ndarray:
        """The best rows of each query's category: [q, W], -1 where there is none."""
        near = np.full([len(asking), asked.wanted], -1)
        categories = asked.categories[asking]
        for category in np.unique(categories).tolist():
            rows = self._own_rows(category)
            if not len(rows):
                continue
            if category not in self._blocks:
                features = tf.constant(self.features[rows])  # [n, D]
                self._blocks[category] = self._block(rows, features, tf.reduce_mean(features, 0))
            places = np.flatnonzero(categories == category)
            near[places] = _near_in_block(self._blocks[category], asked, asking[places], own=False)
        return near

    def _near_in_bank(self, asked: _Asked, asking: np.ndarray, *, own: bool) -> np.ndarray:
        """The best rows of each piece of the bank: [q, pieces * W], -1 where there is none.

        With `own`, those of the query's category only.
        """
        near = [np.full([len(asking), 0], -1)]
        pieces = _pieces(self._all_rows, 4 * self.features.shape[1]) if len(asking) else ()
        for rows in pieces:
            if self._bank_centre is None:
                is_found = (self.categories != PADDING_CATEGORY)[:, np.newaxis]  # [N, 1]
                mean = self.features.mean(axis=0, dtype=np.float64, where=is_found)
                self._bank_centre = tf.constant(mean, tf.float32)  # [D]
            block = self._block(rows, tf.constant(self.features[rows]), self._bank_centre)
            near.append(_near_in_block(block, asked, asking, own=own))
        return np.concatenate(near, axis=1)

    def _block(self, rows: np.ndarray, features: tf.Tensor, centre: tf.Tensor) -> _Block:
        # Centred, so that a mean shared by all features does not cost precision.
        centred = features - centre  # [n, D]
        squares = tf.reduce_sum(tf.square(centred), axis=-1)  # [n]
        categories, images = (tf.constant(a[rows]) for a in (self.categories, self.image_ids))
        return _Block(rows, centre, centred, squares, categories, images)

    def _rank(self, near: np.ndarray, asking: np.ndarray, queries: np.ndarray, found) -> None:
        """Writes the best of the near rows [q, W], by exact distances, into the candidates."""
        k, width = found.ids.shape[1], queries.shape[1]
        # Ascending, for ties go to the lower row; -1 is the largest unsigned number, hence last.
        near = np.sort(near.astype(np.uint32), axis=1).astype(np.int32)
        for part in _pieces(np.arange(len(near)), 4 * near.shape[1] * width):
            ids = tf.constant(near[part])  # [q, W]
            nearest = tf.constant(self.features[near[part]])  # [q, W, D]
            ranked = _ranked(ids, ids >= 0, nearest, tf.constant(queries[asking[part]]), k)
            for whole, some in zip(found, ranked, strict=True):
                whole[asking[part]] = some.numpy()


class _Asked(NamedTuple):
    """The arguments of a search; `wanted`, W, is how many rows are ranked by exact distances."""

    queries: np.ndarray
    categories: np.ndarray
    excluded: np.ndarray
    wanted: int


def _pieces(values: np.ndarray, bytes_each: int) -> list[np.ndarray]:
    """The values in order, in pieces that need `_BLOCK_BYTES`, but at least one value each."""
    size = max(1, _BLOCK_BYTES // max(1, bytes_each))
    return [values[start : start + size] for start in range(0, len(values), size)]


def _near_in_block(block: _Block, asked: _Asked, asking: np.ndarray, *, own: bool) -> np.ndarray:
    """The rows of a block with the best scores: [q, W], -1 where there are fewer.

    With `own`, those of the query's category only; else all rows of the block.
    """
    near = np.full([len(asking), asked.wanted], -1)
    for places in _pieces(np.arange(len(asking)), 4 * len(block.rows)):
        queries, categories, excluded = (
            tf.constant(part[asking[places]])[:, tf.newaxis] for part in asked[:3]
        )  # [q, 1, D], [q, 1] twice
        scores = _scores(queries[:, 0], block.centre, block.centred, block.squares)  # [q, n]
        allowed = excluded != block.image_ids  # [q, n]
        if own:
            is_any = categories == ANY_CATEGORY  # [q, 1]
            allowed &= is_any | (categories == block.categories)  # [q, n]
        ids, valid = (part.numpy() for part in _best_scores(scores, allowed, asked.wanted))
        near[places, : ids.shape[1]] = np.where(valid, block.rows[np.where(valid, ids, 0)], -1)
    return near


def exact_search(
    queries: tf.Tensor,
    categories: tf.Tensor,
    excluded_images: tf.Tensor,
    bank_features: tf.Tensor,
    bank_categories: tf.Tensor,
    bank_image_ids: tf.Tensor,
    k: int,
) -> SearchResult:
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
      `SearchResult` of tensors.
    """
    # Centred, so that a mean shared by all features does not cost precision.
    centre = tf.reduce_mean(bank_features, axis=0)  # [D]
    bank = bank_features - centre  # [N, D]
    squares = tf.reduce_sum(tf.square(bank), axis=-1)  # [N]
    scores = _scores(queries, centre, bank, squares)  # [Q, N]
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
    return SearchResult(*tf.cond(is_without, with_others, lambda: own))


def _scores(queries, centre, centred, squares):
    """2f·q - |f|² of centred features and queries: [Q, N], larger for nearer features."""
    return 2.0 * tf.matmul(queries - centre, centred, transpose_b=True) - squares  # [Q, N]


def _best_rows(scores, mask, queries, bank_features, k: int):
    """The k best rows under a mask: ids, valid and distances, each [Q, k]."""
    ids, valid = _best_scores(scores, mask, k + _RESCORING_MARGIN)  # [Q, W] twice
    nearest = tf.gather(bank_features, tf.where(valid, ids, 0))  # [Q, W, D]
    return _ranked(ids, valid, nearest, queries, k)


def _best_scores(scores, mask, wanted: int):
    """The columns of the best scores under a mask, ascending, and whether there are that many.

    Both have shape [Q, W], where W is `wanted` or the number of columns if that is less.
    """
    rows = scores.shape[1] or tf.shape(scores)[1]
    masked = tf.where(mask, scores, -np.inf)  # [Q, N]
    top, ids = tf.math.top_k(masked, tf.minimum(wanted, rows))  # [Q, W] twice
    ids = tf.sort(tf.where(top > -np.inf, ids, rows), axis=1)  # [Q, W]; ties go to the lower row
    return ids, ids < rows


def _ranked(ids, valid, nearest, queries, k: int):
    """The k nearest of the rows [Q, W] by exact distances: ids, valid, distances, each [Q, k].

    `nearest` holds the features [Q, W, D] of the rows; equal distances keep their order.
    """
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
