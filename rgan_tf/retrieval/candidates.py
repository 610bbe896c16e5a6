"""Sources of an object's candidates for the input pipeline."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np

from rgan_tf.errors import BadInput

_MEMO_BYTES = 2**28  # search results are cached up to this size
_UNKNOWN = -2  # in the memo: not searched yet


class CandidateSource(Protocol):
    """Candidates of every object of a split, by the object's row in the split's bank.

    Attributes:
      rows: number of objects in the split.
      k: K, candidates per object.
      cooccurrence: [rows of the retrievable bank, Dc] float, its co-occurrence embedding.
    """

    rows: int
    k: int
    cooccurrence: np.ndarray

    def ids_of(self, patch_rows: np.ndarray) -> np.ndarray:
        """Candidates of some objects.

        Args:
          patch_rows: integer [...], rows of the split's own bank; -1 for padding.

        Returns:
          [..., K] int32 rows of the retrievable bank; -1 for padding.
        """


@dataclasses.dataclass(frozen=True)
class CandidateTable:
    """Candidates found earlier; a `CandidateSource`.

    Attributes:
      ids: [N, K] int32 rows of the retrievable bank, -1 if there are fewer than K; N is the number
        of rows of the split's own patches.
      cooccurrence: [rows of the bank, Dc] float, co-occurrence embedding of the bank.

    Raises:
      BadInput: if an id is out of range.
    """

    ids: np.ndarray
    cooccurrence: np.ndarray

    def __post_init__(self) -> None:
        highest = int(self.ids.max(initial=-1))
        if highest >= len(self.cooccurrence):
            raise BadInput(
                f"candidates up to row {highest} of a bank of {len(self.cooccurrence)} patches; "
                "they belong to other data"
            )

    @property
    def rows(self) -> int:
        return len(self.ids)

    @property
    def k(self) -> int:
        return self.ids.shape[1]

    def ids_of(self, patch_rows: np.ndarray) -> np.ndarray:
        """See `CandidateSource.ids_of`."""
        return np.where((patch_rows >= 0)[..., None], self.ids[np.maximum(patch_rows, 0)], -1)


class IndexedCandidates:
    """Searches an index when a batch is made; a `CandidateSource`.

    The pipeline works ahead of the training step, so the search costs no time as long as it keeps
    up. Results are cached if they fit: an object has the same candidates in every epoch.

    Args:
      index: over the retrievable bank, a `rgan_tf.retrieval.index.exact.CandidateIndex`.
      queries: [N, W] float, graph features of the split's objects.
      categories: [N] their category ids.
      image_ids: [N] their images; patches of the same image are not candidates.
      cooccurrence: [rows of the bank, Dc] float.
      k: candidates per object.
      remembers: whether to cache results.
    """

    def __init__(
        self,
        index: Any,
        queries: np.ndarray,
        categories: np.ndarray,
        image_ids: np.ndarray,
        cooccurrence: np.ndarray,
        *,
        k: int,
        remembers: bool = True,
    ):
        self.rows = len(queries)
        self.k = k
        self.cooccurrence = cooccurrence
        self.index = index
        self._queries = queries
        self._categories = np.asarray(categories)
        self._image_ids = np.asarray(image_ids)
        self._memo: np.ndarray | None = None
        if remembers and self.rows * k * 4 <= _MEMO_BYTES:
            self._memo = np.full([self.rows, k], _UNKNOWN, np.int32)

    def ids_of(self, patch_rows: np.ndarray) -> np.ndarray:
        """See `CandidateSource.ids_of`; thread-safe, though two threads may repeat a search."""
        result = np.full([*patch_rows.shape, self.k], -1, np.int32)
        present = patch_rows >= 0
        rows = patch_rows[present]
        if self._memo is None:
            result[present] = self._search(rows)
            return result
        missing = np.unique(rows[self._memo[rows, 0] == _UNKNOWN])
        if len(missing):
            found = self._search(missing)
            self._memo[missing, 1:] = found[:, 1:]
            self._memo[missing, 0] = found[:, 0]  # last: it tells other threads that the row stands
        result[present] = self._memo[rows]
        return result

    def _search(self, rows: np.ndarray) -> np.ndarray:
        if not len(rows):
            return np.full([0, self.k], -1, np.int32)
        found = self.index.search(
            np.asarray(self._queries[rows], np.float32),
            self._categories[rows],
            self._image_ids[rows],
            self.k,
        )
        return np.where(found.valid, found.ids, -1).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class MixedCandidates:
    """Candidates of one source, completed by the nearest of another; a `CandidateSource`.

    Attributes:
      first: its K - `learned` nearest come first; its others fill gaps.
      second: its nearest that are not among those follow.
      learned: number of columns for the second source.
    """

    first: CandidateSource
    second: CandidateSource
    learned: int

    @property
    def rows(self) -> int:
        return self.first.rows

    @property
    def k(self) -> int:
        return self.first.k

    @property
    def cooccurrence(self) -> np.ndarray:
        return self.first.cooccurrence

    def ids_of(self, patch_rows: np.ndarray) -> np.ndarray:
        """See `CandidateSource.ids_of`."""
        nearest = self.first.ids_of(patch_rows)
        others = self.second.ids_of(patch_rows)
        kept = self.k - self.learned
        # In order of preference; of a repeated id the first occurrence counts.
        order = np.concatenate([nearest[..., :kept], others, nearest[..., kept:]], axis=-1)
        flat = order.reshape(-1, order.shape[-1])
        result = np.full([len(flat), self.k], -1, np.int32)
        for row, ids in enumerate(flat):
            unique = list(dict.fromkeys(ids[ids >= 0].tolist()))[: self.k]
            result[row, : len(unique)] = unique
        return result.reshape(*order.shape[:-1], self.k)


def without_category(
    categories: np.ndarray,
    image_ids: np.ndarray,
    bank_categories: np.ndarray,
    bank_image_ids: np.ndarray,
) -> np.ndarray:
    """Objects whose category has patches in the bank only from their own image, or none.

    Their candidates have other categories.

    Args:
      categories, image_ids: [N] of the objects.
      bank_categories, bank_image_ids: [M] of the bank.

    Returns:
      [N] bool.
    """
    categories, image_ids = np.asarray(categories), np.asarray(image_ids)
    names, totals = np.unique(bank_categories, return_counts=True)
    total = dict(zip(names.tolist(), totals.tolist(), strict=True))
    pairs, counts = np.unique(
        np.stack([bank_categories, bank_image_ids], axis=1), axis=0, return_counts=True
    )
    own = dict(zip(map(tuple, pairs.tolist()), counts.tolist(), strict=True))
    return np.array(
        [
            total.get(category, 0) <= own.get((category, image), 0)
            for category, image in zip(categories.tolist(), image_ids.tolist(), strict=True)
        ],
        bool,
    )
