"""The pre-filter in the exported graph: the K nearest allowed patches of each object."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.errors import BadInput
from rgan_tf.retrieval.bank_variables import BankArrays, ServedBank
from rgan_tf.retrieval.distance import l2_distance
from rgan_tf.retrieval.index.exact import PADDING_CATEGORY, SearchResult, exact_search

EXACT, SCANN = "exact", "scann"  # kinds of index
_RECALL = 0.99  # required of ScaNN
_NEIGHBOURS_PER_CANDIDATE = 4  # three of four may have another category or a refused licence
_NO_IMAGE = -1  # excluded image of a query without an image in the bank
_NEEDS_SCANN = (
    "Needs the operations of ScaNN. Stock TensorFlow Serving does not have them and cannot load "
    "this model; a TensorFlow Serving built with them can, and so can any Python process that "
    "imports scann first. rgan export --index exact makes a model without that need."
)


class ServedSearch(tf.Module):
    """Interface of the served model's pre-filter; `ExactServedSearch`, `ScannServedSearch`.

    Args:
      bank: the patches.
      objects: O, objects per graph.
      candidates: K.

    Attributes:
      packages: that a process must import before it loads a graph with this search.
    """

    packages: tuple[str, ...] = ()

    def __init__(self, bank: ServedBank, *, objects: int, candidates: int):
        super().__init__()
        self.bank = bank
        self.objects = objects
        self.candidates = candidates

    def search(
        self, queries: tf.Tensor, categories: tf.Tensor, licences_refused: tf.Tensor
    ) -> SearchResult:
        """Finds candidates, row by row.

        One row at a time: memory does not grow with the batch, and neither does the rounding of the
        matrix product, which can decide between near ties, depend on it.

        Args:
          queries: [B, O, W] finite float32.
          categories: [B, O] int32; other categories are found only if this one has no patch that is
            allowed. 0 finds nothing.
          licences_refused: [B, L] bool; patches under such a licence are never found.

        Returns:
          `SearchResult` of tensors [B, O, K].
        """
        row_search = self.row_search()
        shape = [self.objects, self.candidates]

        def one_row(row):
            return tuple(tf.ensure_shape(part, shape) for part in row_search(*row))

        found = tf.map_fn(
            one_row,
            (queries, categories, licences_refused),
            fn_output_signature=(tf.int32, tf.bool, tf.float32),
        )
        return SearchResult(*found)

    def row_search(self) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], SearchResult]:
        """The search of one row, [O, W], [O], [L] -> [O, K]; call it while tracing."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Entries for the model's manifest, as JSON."""
        raise NotImplementedError


class ExactServedSearch(ServedSearch):
    """Compares with every patch of the bank; needs only TensorFlow."""

    def row_search(self):
        """See `ServedSearch`."""
        return self._search_row

    def describe(self):
        """See `ServedSearch`."""
        return {"index": EXACT}

    def _search_row(self, queries, categories, licences_refused) -> SearchResult:
        bank = self.bank

        def without_refused():
            refused = tf.gather(licences_refused, bank.licence_ids)  # [N]
            return tf.where(refused, PADDING_CATEGORY, bank.category_ids)  # [N]

        # Most requests refuse nothing and skip this pass over the bank.
        bank_categories = tf.cond(
            tf.reduce_any(licences_refused), without_refused, bank.category_ids.read_value
        )  # [N]
        return exact_search(
            queries,
            categories,
            tf.fill([self.objects], tf.constant(_NO_IMAGE, tf.int64)),
            bank.graph_features,
            bank_categories,
            bank.image_ids,
            self.candidates,
        )


class ScannServedSearch(ServedSearch):
    """ScaNN finds, exact distances decide; queries with too few results are searched exactly.

    Args:
      bank, objects, candidates: see `ServedSearch`.
      state: `rgan_tf.adapters.scann.SearcherState` over the patches whose category is not 0.
      rows: [n] integers, their rows in the bank.
      leaves_to_search: partitions searched per query.
      report: of the tuner, for the manifest.
    """

    packages = ("scann",)

    def __init__(
        self,
        bank: ServedBank,
        *,
        objects: int,
        candidates: int,
        state: Any,
        rows: np.ndarray,
        leaves_to_search: int,
        report: dict[str, Any],
    ):
        super().__init__(bank, objects=objects, candidates=candidates)
        self.exact = ExactServedSearch(bank, objects=objects, candidates=candidates)
        self.state = state
        self.rows = tf.Variable(tf.cast(rows, tf.int32), trainable=False, name="scann/rows")
        self.leaves_to_search = leaves_to_search
        self.report = report

    def describe(self):
        """See `ServedSearch`."""
        return {"index": SCANN, "index_tuning": self.report, "note": _NEEDS_SCANN}

    def row_search(self):
        """See `ServedSearch`."""
        searcher = self.state.searcher()
        exact_row = self.exact.row_search()

        def search_row(queries, categories, licences_refused) -> SearchResult:
            found = self._nearest(searcher, queries, categories, licences_refused)
            is_short = ~found.valid[:, -1] & (categories != PADDING_CATEGORY)  # [O]

            def with_exact():
                exact = exact_row(queries, categories, licences_refused)
                return tuple(
                    tf.where(is_short[:, tf.newaxis], exact_column, column)
                    for exact_column, column in zip(exact, found, strict=True)
                )

            return SearchResult(*tf.cond(tf.reduce_any(is_short), with_exact, lambda: tuple(found)))

        return search_row

    def _nearest(self, searcher, queries, categories, licences_refused) -> SearchResult:
        """The nearest of ScaNN's results by exact distances: `SearchResult` [O, K]."""
        bank, k = self.bank, self.candidates
        wanted = _NEIGHBOURS_PER_CANDIDATE * k  # M
        total = self.rows.shape[0]
        found = searcher.search(
            queries, neighbours=min(wanted, total), leaves_to_search=self.leaves_to_search
        )  # [O, at most M]
        missing = [[0, 0], [0, wanted - tf.shape(found)[1]]]
        found = tf.pad(found, missing, constant_values=-1)  # [O, M]
        found = tf.ensure_shape(found, [self.objects, wanted])  # [O, M]
        ids = tf.gather(self.rows, tf.maximum(found, 0))  # [O, M]
        refused = tf.gather(licences_refused, tf.gather(bank.licence_ids, ids))  # [O, M]
        own = categories[:, tf.newaxis]  # [O, 1]
        is_same = (tf.gather(bank.category_ids, ids) == own) & (own != PADDING_CATEGORY)  # [O, M]
        valid = (found >= 0) & is_same & ~refused  # [O, M]
        # Equal distances go to the lower row, as in the exact search.
        position = tf.argsort(ids, axis=1)  # [O, M]
        ids, valid = (tf.gather(part, position, batch_dims=1) for part in (ids, valid))
        distances = l2_distance(
            tf.gather(bank.graph_features, ids), queries[:, tf.newaxis]
        )  # [O, M]
        distances = tf.where(valid, distances, np.inf)  # [O, M]
        best = tf.argsort(distances, axis=1, stable=True)[:, :k]  # [O, K]
        ids, valid, distances = (
            tf.gather(part, best, batch_dims=1) for part in (ids, valid, distances)
        )
        return SearchResult(tf.where(valid, ids, -1), valid, distances)


def build_served_search(
    kind: str, arrays: BankArrays, bank: ServedBank, *, objects: int, candidates: int
) -> ServedSearch:
    """Builds the search of a bank; tunes ScaNN on the bank itself.

    Args:
      kind: "exact" or "scann".
      arrays: the bank.
      bank: the same as variables.
      objects: O.
      candidates: K.

    Raises:
      BadInput: if ScaNN is not installed, or misses its recall on this bank.
    """
    if kind == EXACT:
        return ExactServedSearch(bank, objects=objects, candidates=candidates)
    from rgan_tf.adapters.scann import SearcherState
    from rgan_tf.retrieval.index.tuning import tune_scann

    log = logging.getLogger(__name__).info
    log("tuning an index of %d patches", len(arrays.category_ids))
    tuning = tune_scann(
        arrays.graph_features,
        arrays.category_ids,
        arrays.image_ids,
        k=candidates,
        recall=_RECALL,
        progress=log,
    )
    if not tuning.reached:
        raise BadInput(
            f"--index scann: reaches a recall of {tuning.recall:.4f} instead of {_RECALL} on this "
            "bank even with all partitions; use --index exact"
        )
    rows = np.flatnonzero(np.asarray(arrays.category_ids) != PADDING_CATEGORY)
    is_whole = len(rows) == len(arrays.category_ids)
    settings = tuning.index.settings
    return ScannServedSearch(
        bank,
        objects=objects,
        candidates=candidates,
        # The partitions that were measured; a second build would make others.
        state=SearcherState(tuning.index.searcher, bank.graph_features if is_whole else None),
        rows=rows,
        leaves_to_search=settings.leaves_to_search,
        report={
            **dataclasses.asdict(settings),
            "recall": round(tuning.recall, 5),
            "recall_asked": _RECALL,
        },
    )
