"""The two pre-filters of an exported graph: the same contract, the same patches."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.errors import BadInput
from rgan_tf.retrieval.bank_variables import BankArrays, ServedBank, licence_table
from rgan_tf.retrieval.index import tuning as index_tuning
from rgan_tf.retrieval.index.in_graph import build_served_search

ROWS, WIDTH, K, OBJECTS = 400, 8, 5, 4
RARE, UNKNOWN = 5, 6  # a category of three patches, and one of none


def make_bank(padded: int = 0) -> BankArrays:
    """Clusters of the categories 2 to 4, three rows of `RARE`; row i is under licence i % 3.

    Args:
      padded: this many rows at the start have no category and lie where category 2 lies.
    """
    rng = np.random.default_rng(0)
    categories = rng.integers(2, 5, ROWS)
    categories[-3:] = RARE
    centres = 4 * rng.standard_normal([7, WIDTH])
    features = centres[categories] + rng.standard_normal([ROWS, WIDTH])
    features[:padded] = centres[2]
    categories[:padded] = 0
    return BankArrays(
        graph_features=features.astype(np.float32),
        embeddings=np.zeros([ROWS, 1], np.float32),
        crops=np.zeros([ROWS, 1, 1, 3], np.uint8),
        category_ids=categories.astype(np.int32),
        image_ids=np.arange(ROWS),
        licence_ids=(np.arange(ROWS) % 3).astype(np.int32),
    )


def make_search(kind: str, arrays: BankArrays):
    return build_served_search(kind, arrays, ServedBank(arrays), objects=OBJECTS, candidates=K)


@pytest.fixture(scope="module")
def arrays() -> BankArrays:
    return make_bank(padded=7)


@pytest.fixture(scope="module")
def searches(arrays) -> dict:
    """Each search and, traced, what it finds."""
    searches = {kind: make_search(kind, arrays) for kind in ("exact", "scann")}
    # All partitions, so that nothing may be overlooked.
    scann = searches["scann"]
    scann.leaves_to_search = scann.report["leaves"]
    return {
        kind: (search, tf.function(search.search, autograph=False))
        for kind, search in searches.items()
    }


def queries_of(arrays, batch: int = 3):
    """Queries near rows of the categories 2, 4 and 3 and a padded one: [B, O, W], [B, O]."""
    rng = np.random.default_rng(1)
    categories = np.tile(np.int32([2, 4, 3, 0]), [batch, 1])
    rows = [
        rng.choice(np.flatnonzero(arrays.category_ids == category))
        for category in categories.ravel()
    ]
    noise = 0.3 * rng.standard_normal([batch * OBJECTS, WIDTH])
    queries = (arrays.graph_features[rows] + noise).reshape(batch, OBJECTS, WIDTH)
    return queries.astype(np.float32), categories


def by_hand(arrays, query, category, refused):
    """The K nearest rows of the category; of the others only where it has none that is allowed."""
    distances = np.linalg.norm(arrays.graph_features.astype(np.float64) - query, axis=1)
    allowed = (arrays.category_ids != 0) & ~refused[arrays.licence_ids]
    own = allowed & (arrays.category_ids == category)
    allowed = own if own.any() else allowed
    return [row for row in distances.argsort() if allowed[row]][:K]


def assert_found(arrays, found, queries, categories, refused):
    for row, position in np.ndindex(categories.shape):
        valid = found.valid.numpy()[row, position]
        ids = found.ids.numpy()[row, position]
        if categories[row, position] == 0:
            assert not valid.any()
            continue
        asked = queries[row, position], categories[row, position], refused[row]
        expected = by_hand(arrays, *asked)
        assert ids[valid].tolist() == expected
        np.testing.assert_allclose(
            found.distances.numpy()[row, position][valid],
            np.linalg.norm(arrays.graph_features[expected] - asked[0], axis=1),
            rtol=1e-5,
        )


@pytest.mark.parametrize("kind", ["exact", "scann"])
def test_each_row_has_its_own_licences(arrays, searches, kind):
    queries, categories = queries_of(arrays, batch=4)
    refused = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 1], [1, 1, 1]], bool)
    found = searches[kind][1](queries, categories, refused)
    assert_found(arrays, found, queries, categories, refused)
    assert not found.valid.numpy()[3].any()  # all refused: nothing, and no other row minds
    assert (found.ids.numpy()[3] == -1).all() and np.isinf(found.distances.numpy()[3]).all()
    for row in range(4):
        alone = searches[kind][1](*(part[row : row + 1] for part in (queries, categories, refused)))
        for one, many in zip(alone, found, strict=True):
            np.testing.assert_array_equal(one[0], many[row])


@pytest.mark.parametrize("kind", ["exact", "scann"])
def test_another_category_is_found_only_where_the_licences_leave_none(arrays, searches, kind):
    queries, categories = queries_of(arrays, batch=4)
    categories[:, 2] = RARE
    rare = np.flatnonzero(arrays.category_ids == RARE)  # one under each licence
    refused = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1]], bool)
    found = searches[kind][1](queries, categories, refused)
    assert_found(arrays, found, queries, categories, refused)
    assert found.valid.numpy()[:, 2].sum(axis=1).tolist() == [3, 2, 1, 1]
    # Without the one under licence 2, two of three licences refused leave none.
    assert sorted(arrays.licence_ids[rare]) == [0, 1, 2]
    fewer = arrays.category_ids.copy()
    fewer[rare[arrays.licence_ids[rare] == 2]] = 2
    fewer = arrays._replace(category_ids=fewer)
    refused = np.array([[1, 1, 0], [0, 0, 0]], bool)
    found = make_search(kind, fewer).search(queries[:2], categories[:2], refused)
    taken = fewer.category_ids[found.ids.numpy()[:, 2]]  # [2, K]
    assert found.valid.numpy()[:, 2].sum(axis=1).tolist() == [K, 2]
    assert RARE not in taken[0] and (taken[1][:2] == RARE).all()


@pytest.mark.parametrize("category", [RARE, UNKNOWN])
def test_queries_that_scann_leaves_short_are_answered_exactly(arrays, searches, category):
    queries, categories = queries_of(arrays)
    categories[1, 2] = category
    refused = np.zeros([3, 3], bool)
    search, find = searches["scann"]
    assert_found(arrays, find(queries, categories, refused), queries, categories, refused)
    # Without the exact search they stay short, and only they.
    nearest = search._nearest(search.state.searcher(), queries[1], categories[1], refused[1])
    assert nearest.valid.numpy().all(axis=1).tolist() == [True, True, False, False]


def test_the_exact_search_runs_only_for_rows_that_are_short(arrays, searches):
    search, _ = searches["scann"]
    runs = []

    def counting(*row):
        tf.py_function(lambda: runs.append(1), [], [])
        return search_row(*row)

    search_row = search.exact.row_search()
    patched = make_search("scann", arrays)
    patched.leaves_to_search = patched.report["leaves"]
    patched.exact.row_search = lambda: counting
    find = tf.function(patched.search, autograph=False)
    queries, categories = queries_of(arrays)
    find(queries, categories, np.zeros([3, 3], bool))
    assert not runs
    categories[1, 2] = RARE
    find(queries, categories, np.zeros([3, 3], bool))
    assert len(runs) == 1


def test_a_bank_without_padded_rows_is_kept_once():
    arrays = make_bank()
    search = make_search("scann", arrays)
    search.leaves_to_search = search.report["leaves"]
    assert search.state._features is search.bank.graph_features
    queries = arrays.graph_features[np.newaxis, :OBJECTS]
    categories = arrays.category_ids[np.newaxis, :OBJECTS]
    found = search.search(queries, categories, np.zeros([1, 3], bool))
    assert_found(arrays, found, queries, categories, np.zeros([1, 3], bool))
    assert found.ids.numpy()[0, :, 0].tolist() == list(range(OBJECTS))


def test_a_bank_smaller_than_k_gives_what_there_is():
    small = BankArrays(*(part[:3] for part in make_bank()))
    for kind in ("exact", "scann"):
        queries, categories = np.zeros([1, OBJECTS, WIDTH], np.float32), np.full([1, OBJECTS], 2)
        found = make_search(kind, small).search(
            queries, categories.astype(np.int32), np.zeros([1, 3], bool)
        )
        assert found.valid.numpy().sum(axis=2).tolist() == [[3] * OBJECTS]


def test_requests_that_come_first_at_once_wait_for_each_other(arrays):
    """ScaNN's operation crashes the process when it is run for the first time twice at once."""
    search = make_search("scann", arrays)
    find = tf.function(search.search).get_concrete_function(
        tf.TensorSpec([None, OBJECTS, WIDTH]),
        tf.TensorSpec([None, OBJECTS], tf.int32),
        tf.TensorSpec([None, 3], tf.bool),
    )
    (make,) = (op for op in find.graph.get_operations() if "TensorsToScann" in op.type)
    assert "MutexLock" in [op.type for op in make.control_inputs]
    queries, categories = queries_of(arrays)
    refused = np.zeros([3, 3], bool)
    arguments = [tf.constant(part) for part in (queries, categories, refused)]
    results = []
    threads = [threading.Thread(target=lambda: results.append(find(*arguments))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for result in results:
        np.testing.assert_array_equal(result.ids, results[0].ids)


def test_scann_that_misses_its_recall_is_refused_with_advice(arrays, monkeypatch):
    tune = index_tuning.tune_scann

    def poor(*arguments, **options):
        return dataclasses.replace(tune(*arguments, **options), recall=0.9, reached=False)

    monkeypatch.setattr(index_tuning, "tune_scann", poor)
    with pytest.raises(BadInput, match=r"--index scann: .* 0\.9000 instead of 0\.99 .* exact$"):
        make_search("scann", arrays)
    assert make_search("exact", arrays).describe() == {"index": "exact"}


def test_licence_table_by_hand():
    names = ["CC BY-SA 4.0", "", "Attribution License", None, "cc0"]
    codes, ids = licence_table([{"licence": name} for name in names] + [{}])
    assert codes == ("public-domain", "BY", "BY-SA", "unknown")
    assert ids.tolist() == [2, 3, 1, 3, 0, 3]
