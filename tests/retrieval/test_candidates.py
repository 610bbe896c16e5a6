"""Where the pipeline gets candidates from."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from rgan_tf.errors import BadInput
from rgan_tf.retrieval.candidates import (
    CandidateTable,
    IndexedCandidates,
    MixedCandidates,
    without_category,
)

RELATED = np.zeros([40, 2], np.float32)


class CountingIndex:
    """Finds row + category * 10, and one candidate less for odd images."""

    def __init__(self):
        self.asked = []

    def search(self, queries, categories, excluded_images, k):
        self.asked.append(queries[:, 0].astype(int).tolist())
        ids = queries[:, :1].astype(np.int32) + np.arange(k, dtype=np.int32)
        valid = np.arange(k) < k - (excluded_images % 2)[:, None]
        return SimpleNamespace(ids=ids, valid=valid)


def indexed(**options):
    index = CountingIndex()
    queries = np.arange(6, dtype=np.float16)[:, None]
    source = IndexedCandidates(
        index, queries, np.full([6], 2), np.arange(6), RELATED, k=3, **options
    )
    return source, index


def test_a_table_gives_its_rows_and_nothing_for_no_object():
    table = CandidateTable(np.array([[5, 6], [7, -1]], np.int32), RELATED)
    assert (table.rows, table.k) == (2, 2)
    found = table.ids_of(np.array([[1, -1], [0, 1]]))
    assert found.tolist() == [[[7, -1], [-1, -1]], [[5, 6], [7, -1]]]


def test_a_table_beyond_its_bank_is_refused():
    with pytest.raises(BadInput, match="row 40 of a bank of 40 patches"):
        CandidateTable(np.array([[40]], np.int32), RELATED)


@pytest.mark.parametrize("remembers", [True, False])
def test_an_index_is_asked_for_the_objects_of_the_batch(remembers):
    source, index = indexed(remembers=remembers)
    found = source.ids_of(np.array([[4, -1], [1, 4]]))
    assert found.dtype == np.int32
    assert found.tolist() == [[[4, 5, 6], [-1, -1, -1]], [[1, 2, -1], [4, 5, 6]]]
    assert sorted(set(sum(index.asked, []))) == [1, 4]
    again = source.ids_of(np.array([1, 2, 4]))
    assert again.tolist() == [[1, 2, -1], [2, 3, 4], [4, 5, 6]]
    # What was found is asked for again only where nothing is remembered.
    assert index.asked[-1] == ([2] if remembers else [1, 2, 4])


def test_a_large_result_is_not_kept(monkeypatch):
    monkeypatch.setattr("rgan_tf.retrieval.candidates._MEMO_BYTES", 6 * 3 * 4 - 1)
    source, index = indexed()
    for _ in range(2):
        source.ids_of(np.array([3]))
    assert index.asked == [[3], [3]]


def test_half_of_each_without_repeats():
    first = CandidateTable(
        np.array([[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, -1, -1]], np.int32), RELATED
    )
    second = CandidateTable(
        np.array([[2, 9, 1, 8], [1, 2, 3, 4], [-1, -1, -1, -1]], np.int32), RELATED
    )
    mixed = MixedCandidates(first, second, learned=2)
    assert (mixed.rows, mixed.k) == (3, 4) and mixed.cooccurrence is RELATED
    found = mixed.ids_of(np.array([0, 1, 2, -1]))
    assert found.tolist() == [
        [1, 2, 9, 8],  # walks past 2 and 1, which are there already
        [1, 2, 3, 4],
        [1, 2, -1, -1],
        [-1, -1, -1, -1],
    ]


def test_objects_without_another_patch_of_their_category():
    bank = np.array([2, 2, 3, 3, 4]), np.array([10, 10, 10, 11, 12])
    own = np.array([2, 2, 3, 4, 4, 5]), np.array([10, 11, 10, 12, 13, 10])
    # 2 only in image 10; 3 also in 11; 4 only in 12; 5 nowhere.
    assert without_category(*own, *bank).tolist() == [True, False, False, True, False, True]
