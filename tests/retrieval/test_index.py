"""The exact candidate index, against a brute-force search that sorts everything."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.errors import BadInput
from rgan_tf.retrieval.index import exact as index_module
from rgan_tf.retrieval.index.exact import ExactIndex, exact_search


def brute_force(queries, categories, excluded, bank, k):
    features, bank_categories, images = (np.asarray(part) for part in bank)
    ids = np.full((len(queries), k), -1)
    distances = np.full((len(queries), k), np.inf)
    for row, query in enumerate(queries):
        distance = np.linalg.norm(features.astype(np.float64) - query, axis=1)
        allowed = np.flatnonzero((images != excluded[row]) & (categories[row] != 0))
        own = [i for i in allowed if bank_categories[i] == categories[row]]
        ranked = sorted(own or allowed, key=lambda i: (distance[i], i))[:k]
        ids[row, : len(ranked)] = ranked
        distances[row, : len(ranked)] = distance[ranked]
    return ids, distances


def random_bank(rng, rows, width=5, categories=4, images=6):
    return (
        rng.normal(size=(rows, width)).astype(np.float32),
        rng.integers(1, categories, rows),
        rng.integers(0, images, rows),
    )


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 40),
    k=st.integers(1, 12),
    offset=st.sampled_from([0.0, 1000.0]),
)
def test_equals_brute_force_in_both_forms(seed, rows, k, offset):
    rng = np.random.default_rng(seed)
    bank = random_bank(rng, rows)
    bank = (bank[0] + np.float32(offset), *bank[1:])
    queries = (rng.normal(size=(6, 5)) + offset).astype(np.float32)
    categories, excluded = rng.integers(0, 5, 6), rng.integers(-1, 7, 6)
    ids, distances = brute_force(queries, categories, excluded, bank, k)
    searched = ExactIndex(*bank).search(queries, categories, excluded, k)
    in_graph = exact_search(
        *(tf.constant(part) for part in (queries, categories, excluded, *bank)), k
    )
    for found in (searched, in_graph):
        np.testing.assert_array_equal(np.asarray(found.valid), ids >= 0)
        np.testing.assert_allclose(np.asarray(found.distances), distances, rtol=1e-5)
        for row, column in np.argwhere(np.asarray(found.ids) != ids):
            # Another patch only at the same distance, to the last digit of float32.
            other = bank[0][np.asarray(found.ids)[row, column]].astype(np.float64)
            distance = np.linalg.norm(other - queries[row])
            assert distance == pytest.approx(distances[row, column], rel=1e-6)
        assert np.asarray(found.ids).dtype == np.int32


def test_another_category_is_searched_only_where_the_own_one_has_nothing_at_all():
    features = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]], np.float32)
    index = ExactIndex(features, np.array([1, 2, 2, 1, 3]), np.array([5, 6, 7, 8, 9]))
    queries = np.zeros((5, 1), np.float32)
    # Two patches; one, as the other is of the own image; none from elsewhere; no such category; all
    # categories alike.
    found = index.search(queries, np.array([2, 2, 3, 4, -1]), np.array([-1, 6, 9, -1, 5]), 3)
    assert found.ids.tolist() == [[1, 2, -1], [2, -1, -1], [0, 1, 2], [0, 1, 2], [1, 2, 3]]
    assert found.valid.tolist() == (found.ids >= 0).tolist()
    assert found.distances[0].tolist() == [1.0, 2.0, np.inf]


def test_never_from_the_queries_own_image_and_always_k_columns():
    features = np.zeros((4, 2), np.float32)
    index = ExactIndex(features, np.array([1, 1, 1, 2]), np.array([7, 7, 8, 7]))
    found = index.search(features[:1], np.array([1]), np.array([7]), 6)
    assert found.ids.tolist() == [[2, -1, -1, -1, -1, -1]]
    assert found.valid.tolist() == [[True] + [False] * 5]
    assert np.isinf(found.distances[0, 1:]).all()


def test_equal_patches_come_in_the_order_of_their_rows():
    features = np.repeat(np.random.default_rng(0).normal(size=(1, 64)), 50, 0).astype(np.float32)
    index = ExactIndex(features, np.ones(50, int), np.arange(50))
    found = index.search(features[:3], np.ones(3, int), np.full(3, -1), 5)
    assert found.ids.tolist() == [[0, 1, 2, 3, 4]] * 3
    assert not found.distances.any()


def test_close_calls_are_settled_by_exact_distances():
    # Two far clusters make the fast scores large and coarse; within one, patches nearly coincide.
    rng = np.random.default_rng(7)
    centres = np.repeat(rng.normal(size=(2, 256)) * 10, 8, axis=0)
    features = (centres + rng.normal(size=(16, 256)) * 1e-3).astype(np.float32)
    index = ExactIndex(features, np.ones(16, int), np.arange(16))
    found = index.search(features, np.ones(16, int), np.arange(16), 2)
    exact = np.linalg.norm(features[:, None].astype(np.float64) - features, axis=-1)
    np.fill_diagonal(exact, np.inf)
    np.testing.assert_array_equal(found.ids, exact.argsort(axis=1)[:, :2])


def test_a_mean_shared_by_all_features_costs_no_precision():
    rng = np.random.default_rng(8)
    features = (rng.normal(size=(300, 16)) + 1000).astype(np.float32)
    index = ExactIndex(features, np.ones(300, int), np.arange(300))
    found = index.search(features, np.ones(300, int), np.arange(300), 2)
    exact = np.linalg.norm(features[:, None].astype(np.float64) - features, axis=-1)
    np.fill_diagonal(exact, np.inf)
    np.testing.assert_array_equal(found.ids, exact.argsort(axis=1)[:, :2])


def test_padding_and_an_unknown_category():
    bank = random_bank(np.random.default_rng(1), 10)
    found = ExactIndex(*bank).search(bank[0][:2], np.array([0, 99]), np.full(2, -1), 3)
    assert not found.valid[0].any()
    assert found.ids[1, 0] == 1 and found.valid[1].all()


def test_blocks_give_the_same(monkeypatch):
    rng = np.random.default_rng(2)
    bank, queries = random_bank(rng, 60), rng.normal(size=(33, 5)).astype(np.float32)
    inputs = queries, rng.integers(1, 4, 33), rng.integers(0, 6, 33), 7
    whole = ExactIndex(*bank).search(*inputs)
    monkeypatch.setattr(index_module, "_BLOCK_BYTES", 1000)
    for one, other in zip(ExactIndex(*bank).search(*inputs), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_xla_gives_the_same():
    rng = np.random.default_rng(3)
    bank = random_bank(rng, 20)
    inputs = bank[0][:5], rng.integers(1, 4, 5), rng.integers(0, 6, 5)
    compiled = tf.function(
        lambda *queries: exact_search(*queries, *map(tf.constant, bank), 8), jit_compile=True
    )
    expected = ExactIndex(*bank).search(*inputs, 8)
    for one, other in zip(compiled(*map(tf.constant, inputs)), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(queries=np.full((2, 5), np.nan, np.float32)), "queries: row 0 holds NaN"),
        (dict(queries=np.full((2, 5), np.inf, np.float32)), "queries: row 0 holds NaN or inf"),
        (dict(queries=np.zeros((2, 4), np.float32)), "width 4 does not fit the index of width 5"),
        (dict(queries=np.zeros(5, np.float32)), "shape"),
        (dict(categories=np.ones(3, int)), "query categories: expected 2 integers"),
        (dict(categories=np.ones(2)), "query categories: expected 2 integers, got float64"),
        (dict(excluded_images=np.ones((2, 1), int)), "excluded images"),
        (dict(k=0), "got 0"),
    ],
)
def test_wrong_queries_are_refused_before_the_search(change, message):
    index = ExactIndex(*random_bank(np.random.default_rng(4), 10))
    good = dict(
        queries=np.zeros((2, 5), np.float32),
        categories=np.ones(2, int),
        excluded_images=np.ones(2, int),
        k=3,
    )
    index.search(**good)
    with pytest.raises(BadInput, match=message) as caught:
        index.search(**{**good, **change})
    assert "\n" not in str(caught.value)


def test_a_bank_with_nan_is_refused():
    features, categories, images = random_bank(np.random.default_rng(5), 10)
    features[3, 2] = np.nan
    with pytest.raises(BadInput, match="bank features: row 3"):
        ExactIndex(features, categories, images)


def test_empty_inputs():
    bank = random_bank(np.random.default_rng(6), 10)
    none = np.zeros(0, int)
    found = ExactIndex(*bank).search(np.zeros((0, 5), np.float32), none, none, 3)
    assert found.ids.shape == (0, 3)
    empty = ExactIndex(np.zeros((0, 5), np.float32), none, none)
    assert not empty.search(bank[0], bank[1], bank[2], 3).valid.any()


@pytest.mark.parametrize("seed", range(3))
def test_few_queries_at_once_find_what_they_find_by_category(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    index = ExactIndex(rng.normal(size=[300, 7]), rng.integers(0, 9, 300), rng.integers(0, 40, 300))
    asked = (rng.normal(size=[50, 7]), rng.integers(-1, 11, 50), rng.integers(-1, 40, 50))
    calls = []
    search_among = ExactIndex._search_among

    def counted(self, *args):
        calls.append(args)
        return search_among(self, *args)

    monkeypatch.setattr(ExactIndex, "_search_among", counted)
    at_once = index.search(*asked, 12)
    assert len(calls) == 1
    monkeypatch.setattr("rgan_tf.retrieval.index.exact._CALL_SCORES", 0)
    by_category = index.search(*asked, 12)
    assert len(calls) > 10
    for ours, theirs in zip(at_once, by_category, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert at_once.valid.any() and not at_once.valid.all()
