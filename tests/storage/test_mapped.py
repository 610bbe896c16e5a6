from __future__ import annotations

import mmap
from types import SimpleNamespace

import numpy as np
import pytest

from rgan_tf.storage import mapped
from rgan_tf.storage.mapped import row_runs, rows_of, rows_or_zeros


@pytest.mark.parametrize(
    "ids, runs",
    [
        ([], []),
        ([7], [(7, 8)]),
        ([4, 3, 9, 5, 3], [(3, 6), (9, 10)]),
        ([0, 1, 2], [(0, 3)]),
    ],
)
def test_runs_of_neighbours(ids, runs):
    assert row_runs(np.array(ids, np.int64)) == runs


@pytest.fixture
def large(tmp_path, monkeypatch) -> np.ndarray:
    """A mapped file whose rows are not whole pages, taken for a large one."""
    monkeypatch.setattr(mapped, "READ_AHEAD_BYTES", 0)
    values = np.random.default_rng(0).integers(0, 255, [300, 5000], np.uint8)
    np.save(tmp_path / "rows.npy", values)
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


@pytest.mark.parametrize("ids", [[], [299], [0, 299, 0], [17, 18, 19, 4], list(range(300))])
def test_rows_are_those_of_the_array(large, ids):
    rows = np.array(ids, np.int64)
    np.testing.assert_array_equal(rows_of(large, rows), np.array(large)[rows])


def test_an_id_below_zero_is_a_row_of_zeros(large):
    ids = np.array([[3, -1, 3], [-7, 299, 0]])
    found = rows_or_zeros(large, ids)
    assert found.dtype == np.uint8 and type(found) is np.ndarray
    for place in np.ndindex(ids.shape):
        expected = large[ids[place]] if ids[place] >= 0 else np.zeros([5000])
        np.testing.assert_array_equal(found[place], expected)
    assert rows_or_zeros(large[:0], np.array([-1, -1])).shape == (2, 5000)  # a bank of nothing
    assert rows_or_zeros(large, np.zeros([2, 0], np.int64)).shape == (2, 0, 5000)
    with pytest.raises(IndexError):  # nothing is read of another row
        rows_or_zeros(large, np.array([-1, 300]))


def test_just_the_pages_of_these_rows_are_asked_for(large, monkeypatch):
    asked = []
    mapping = SimpleNamespace(madvise=lambda *words: asked.append(words))
    monkeypatch.setattr(large, "_mmap", mapping)
    rows_of(large, np.array([2, 250, 3]))
    page, header = mmap.PAGESIZE, 128
    (_, first, length), (_, second, _) = asked
    assert first % page == 0 and second % page == 0
    assert header + 2 * 5000 - page < first <= header + 2 * 5000
    assert first + length == header + 4 * 5000
    assert header + 250 * 5000 - page < second <= header + 250 * 5000


def test_a_small_file_is_left_to_the_system(large, monkeypatch):
    monkeypatch.setattr(mapped, "READ_AHEAD_BYTES", large.nbytes)
    monkeypatch.setattr(large, "_mmap", SimpleNamespace(madvise=pytest.fail))
    rows_of(large, np.array([2, 250, 3]))


def test_advice_that_fails_is_not_an_error(large, monkeypatch):
    np.testing.assert_array_equal(rows_of(large, np.array([-1])), np.array(large)[[-1]])
    with pytest.raises(IndexError):
        rows_of(large, np.array([10**9]))

    def refuse(*_):
        raise OSError("no advice")

    monkeypatch.setattr(large, "_mmap", SimpleNamespace(madvise=refuse))
    np.testing.assert_array_equal(rows_of(large, np.array([7])), np.array(large)[[7]])
