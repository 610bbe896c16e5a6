"""The exact candidate index, against a brute-force search that sorts everything."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.errors import BadInput
from rgan_tf.retrieval.index import exact as index_module
from rgan_tf.retrieval.index.exact import ExactIndex, SearchResult, exact_search


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


def formula(bank, queries, categories, excluded, k):
    """The search of an exported graph, run for each category on its gathered rows alone."""
    features, bank_categories, images = bank
    found = SearchResult.empty(len(queries), k)
    everything = np.flatnonzero(bank_categories != 0)
    for category in np.unique(categories).tolist():
        asking = np.flatnonzero(categories == category)
        own = np.flatnonzero(bank_categories == category)
        for rows in (everything if category == -1 else own, everything):
            if not len(rows) or not len(asking) or category == 0:
                continue
            asked = (part[asking] for part in (queries, categories, excluded))
            part = exact_search(
                *map(tf.constant, asked), *(tf.constant(a[rows]) for a in bank), k=k
            )
            ids, valid, distances = (array.numpy() for array in part)
            found.ids[asking] = np.where(valid, rows[np.maximum(ids, 0)], -1)
            found.valid[asking], found.distances[asking] = valid, distances
            asking = asking[~valid.any(axis=1)]
    return found


def hard_case(seed):
    """A bank with equal patches and padding; queries of every kind, some on patches."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=[400, 7]).astype(np.float32)
    features[rng.integers(0, 400, 150)] = features[rng.integers(0, 400, 150)]
    bank = (features, rng.integers(0, 9, 400), rng.integers(0, 40, 400))
    bank[2][bank[1] == 8] = 5  # a category of one image, which is excluded below
    queries = rng.normal(size=[60, 7]).astype(np.float32)
    queries[::3] = features[rng.integers(0, 400, 20)]
    categories, excluded = rng.integers(-1, 11, 60), rng.integers(-1, 40, 60)
    categories[:4], excluded[:4] = 8, 5
    return bank, (queries, categories, excluded)


BY_CATEGORY, AT_ONCE = -(10**9), 10**9


@pytest.mark.parametrize("call_scores", [BY_CATEGORY, AT_ONCE])
@pytest.mark.parametrize("seed", range(3))
def test_to_the_last_bit_what_the_formula_finds_in_gathered_rows(seed, call_scores, monkeypatch):
    bank, asked = hard_case(seed)
    monkeypatch.setattr(index_module, "_CALL_SCORES", call_scores)
    index = ExactIndex(*bank)
    expected = formula(bank, *asked, 12)
    for _ in range(2):  # the second search finds its blocks laid out
        for ours, theirs in zip(index.search(*asked, 12), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert expected.valid.any() and not expected.valid.all()
    own = bank[1][expected.ids[:4]]
    assert expected.valid[:4].all() and (own != 8).all()  # others only where nothing is allowed
    equal = expected.distances[:, 1:] == expected.distances[:, :-1]
    assert (equal & expected.valid[:, 1:]).any()  # there were ties


@pytest.mark.parametrize("call_scores", [BY_CATEGORY, AT_ONCE])
def test_pieces_of_the_bank_find_the_same(call_scores, monkeypatch):
    bank, asked = hard_case(7)
    monkeypatch.setattr(index_module, "_CALL_SCORES", call_scores)
    whole = ExactIndex(*bank).search(*asked, 12)
    monkeypatch.setattr(index_module, "_BLOCK_BYTES", 2000)  # about 70 rows, or 10 queries
    for ours, theirs in zip(ExactIndex(*bank).search(*asked, 12), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_category_is_laid_out_once_and_the_copy_is_not_larger_than_the_bank(monkeypatch):
    bank, asked = hard_case(1)
    monkeypatch.setattr(index_module, "_CALL_SCORES", BY_CATEGORY)
    index, made = ExactIndex(*bank), []
    block = ExactIndex._block

    def counted(self, rows, *others):
        made.append(len(rows))
        return block(self, rows, *others)

    monkeypatch.setattr(ExactIndex, "_block", counted)
    of_categories = (asked[1] > 0) & (asked[1] < 8)
    asked = tuple(part[of_categories] for part in asked)
    index.search(*asked, 3)
    searchable = np.isin(bank[1], asked[1])
    assert sum(made) == searchable.sum() < 400 and len(made) == len(np.unique(asked[1])) > 5
    index.search(*asked, 3)
    assert len(made) == len(np.unique(asked[1]))


def test_a_large_bank_is_searched_by_category_and_a_small_one_at_once():
    rng = np.random.default_rng(0)

    def is_at_once(rows, categories, queries):
        bank = (np.zeros([rows, 1], np.float32), rng.integers(1, categories + 1, rows))
        index = ExactIndex(*bank, np.zeros(rows, int))
        return index._is_at_once(rng.integers(1, categories + 1, queries))

    assert not is_at_once(411_682, 178, 89)
    assert not is_at_once(20_000, 12, 89)
    assert not is_at_once(2_000, 1, 64)
    assert is_at_once(2_000, 30, 64)


def test_tensorflow_stays_on_the_first_cpu_whatever_the_device_around_it(monkeypatch):
    bank, asked = hard_case(2)
    index, devices, top_k = ExactIndex(*bank), [], tf.math.top_k

    def noted(*args):
        result = top_k(*args)
        devices.append(result.values.device)
        return result

    monkeypatch.setattr(tf.math, "top_k", noted)
    with tf.device("/CPU:1"):
        assert tf.zeros([1]).device.endswith("CPU:1")  # the search would have followed
        index.search(*asked, 3)
    assert devices and all(device.endswith("CPU:0") for device in devices)
