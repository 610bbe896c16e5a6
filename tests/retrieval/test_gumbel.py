"""The forward pass of the group selection, against a plain loop and by its properties."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.retrieval.gumbel import GroupSelection, gumbel_group_select

TIE = 1e-4  # decisions won by less may fall either way in float32


def select(features, valid, query, gumbel, **options) -> GroupSelection:
    result = gumbel_group_select(
        *(tf.constant(a) for a in (features, valid, query, gumbel)), **options
    )
    return GroupSelection(*(part.numpy() for part in result))


def random_locks(valid, seed=0, share=0.4):
    rng = np.random.default_rng(seed)
    candidates = rng.integers(valid.shape[2], size=valid.shape[:2])
    return np.where(rng.random(valid.shape[:2]) < share, candidates, -1).astype(np.int32)


def test_arrays_of_numpy_do_as_tensors_do(make_graphs):
    """Its integers have 64 bits, and a mask may be of numbers."""
    graphs = make_graphs(1, batch=4)
    locked, ids = random_locks(graphs[1]), np.arange(graphs[1].size).reshape(graphs[1].shape)
    ours = select(*graphs, locked=tf.constant(locked), ids=tf.constant(ids, tf.int32))
    features, valid, query, gumbel = graphs
    given = {"locked": locked.astype(np.int64), "ids": ids.tolist(), "scale": np.float64(1)}
    found = gumbel_group_select(features, valid.astype(int), query, gumbel, **given)
    for mine, theirs in zip(ours, found, strict=True):
        np.testing.assert_array_equal(mine, theirs)


NO_NUMBERS = (-1.0, float("nan"), float("inf"))
WRONG = [("temperature", "above", value) for value in (0.0, 1e-39, *NO_NUMBERS)]
WRONG += [("scale", "at least", value) for value in NO_NUMBERS]


@pytest.mark.parametrize(("name", "least", "value"), WRONG)
@pytest.mark.parametrize("kind", [float, np.float32, tf.constant, tf.Variable])
def test_numbers_that_give_no_selection_are_refused(make_graphs, name, least, value, kind):
    """At temperature 0 every object but the first got none, and every weight was NaN."""
    graphs = make_graphs(1, batch=2)
    with pytest.raises(ValueError, match=f"{name} must be {least} 0 and finite, got"):
        select(*graphs, **{name: kind(value)})
    for sound in (kind(0.5), tf.constant(0.5, tf.bfloat16)):
        assert select(*graphs, **{name: sound}).choice.shape == graphs[1].shape[:2]


def test_at_a_scale_of_zero_the_noise_alone_chooses(make_graphs):
    features, valid, query, gumbel = make_graphs(1, batch=8)
    chosen = select(features, valid, query, gumbel, scale=0.0).choice  # [B, O]
    loudest = np.argmax(np.where(valid, gumbel, -np.inf), axis=2)  # [B, O]
    np.testing.assert_array_equal(chosen, np.where(valid.any(axis=2), loudest, -1))


@pytest.mark.parametrize("with_locks", [False, True])
@pytest.mark.parametrize("straight_through", [True, False])
@pytest.mark.parametrize(("scale", "temperature"), [(1.0, 1.0), (10.0, 0.5), (10.0, 0.1)])
def test_equals_the_plain_loop(
    plain_loop, make_graphs, straight_through, scale, temperature, with_locks
):
    graphs = make_graphs(1, batch=40)
    locked = random_locks(graphs[1]) if with_locks else None
    options = dict(scale=scale, temperature=temperature, straight_through=straight_through)
    ours = select(*graphs, **options, locked=locked)
    compared = 0
    for row in range(40):
        lock = None if locked is None else locked[row]
        plain = plain_loop(*(part[row] for part in graphs), **options, locked=lock)
        # The soft path is continuous: near ties move the order, not the weights.
        if plain.margin > TIE or not straight_through:
            np.testing.assert_allclose(ours.weights[row], plain.weights, atol=1e-5)
        if plain.margin > TIE:
            compared += 1
            past = [-1] * (graphs[1].shape[1] - len(plain.order))
            assert ours.order[row].tolist() == plain.order + past
            assert ours.choice[row].tolist() == plain.choice.tolist()
    assert compared >= 38


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.thorough)])
def test_same_choices_as_the_plain_loop_on_thousands_of_graphs(plain_loop, make_graphs, count):
    graphs = make_graphs(2, batch=count, objects=4, candidates=5, width=6)
    ours = select(*graphs, scale=10.0)
    ties = 0
    for row in range(count):
        plain = plain_loop(*(part[row] for part in graphs), scale=10.0)
        if plain.margin <= TIE:
            ties += 1
            continue
        assert ours.choice[row].tolist() == plain.choice.tolist()
        assert ours.order[row].tolist()[: len(plain.order)] == plain.order
    assert ties < count / 500


@pytest.mark.parametrize("temperature", [1.0, 0.1])
@pytest.mark.parametrize("scale", [1.0, 10.0, 1000.0])
def test_straight_through_is_exactly_one_hot_per_object(make_graphs, scale, temperature):
    graphs = make_graphs(3, batch=200)
    ours = select(*graphs, scale=scale, temperature=temperature)
    present = graphs[1].any(axis=2)
    assert set(np.unique(ours.weights)) == {0.0, 1.0}
    np.testing.assert_array_equal(ours.weights.sum(axis=2), present)
    assert not ours.weights[~graphs[1]].any()
    np.testing.assert_array_equal(np.where(present, ours.weights.argmax(axis=2), -1), ours.choice)
    for row in range(200):
        chosen = ours.order[row][ours.order[row] >= 0]
        assert sorted(chosen) == np.flatnonzero(present[row]).tolist()
        assert (ours.order[row][len(chosen) :] == -1).all()


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_soft_weights_sum_to_one_per_object(make_graphs, temperature):
    graphs = make_graphs(4, batch=200)
    ours = select(*graphs, scale=10.0, temperature=temperature, straight_through=False)
    np.testing.assert_allclose(ours.weights.sum(axis=2), graphs[1].any(axis=2), atol=1e-5)
    assert not ours.weights[~graphs[1]].any()
    assert ours.weights.min() >= 0


def test_equation_3_gives_some_object_two_patches_and_equation_4_never(plain_loop, make_graphs):
    graphs = make_graphs(5, batch=60, objects=7, candidates=10, padding=False)
    wrong = 0
    for row in range(60):
        plain = plain_loop(*(part[row] for part in graphs), scale=1.0, closes_group=False)
        wrong += (plain.weights.sum(axis=1) != 1).any()
    assert wrong >= 55
    np.testing.assert_array_equal(select(*graphs).weights.sum(axis=2), 1)


@pytest.mark.parametrize("straight_through", [True, False])
def test_permuting_objects_or_candidates_permutes_the_result(make_graphs, straight_through):
    features, valid, query, gumbel = make_graphs(6, batch=30)
    options = dict(scale=5.0, temperature=0.7, straight_through=straight_through)
    before = select(features, valid, query, gumbel, **options)
    objects, candidates = [3, 0, 4, 1, 2], [5, 2, 0, 1, 4, 3]
    after = select(
        *(a[:, objects][:, :, candidates] for a in (features, valid)),
        query,
        gumbel[:, objects][:, :, candidates],
        **options,
    )
    expected = before.weights[:, objects][:, :, candidates]
    np.testing.assert_allclose(after.weights, expected, atol=1e-5)
    renamed = np.where(after.order >= 0, np.array(objects)[after.order], -1)
    np.testing.assert_array_equal(renamed, before.order)


@pytest.mark.parametrize("straight_through", [True, False])
def test_padding_changes_nothing(make_graphs, straight_through):
    features, valid, query, gumbel = make_graphs(7, batch=10)
    options = dict(scale=5.0, temperature=0.7, straight_through=straight_through)
    before = select(features, valid, query, gumbel, **options)
    more = ((0, 0), (0, 3), (0, 2))
    after = select(
        np.pad(features, (*more, (0, 0)), constant_values=77.0),
        np.pad(valid, more),
        query,
        np.pad(gumbel, more, constant_values=50.0),
        **options,
    )
    np.testing.assert_allclose(after.weights[:, :5, :6], before.weights, atol=1e-6)
    assert not after.weights[:, 5:].any() and not after.weights[:, :, 6:].any()
    np.testing.assert_array_equal(after.order[:, :5], before.order)
    assert (after.order[:, 5:] == -1).all() and (after.choice[:, 5:] == -1).all()


def test_locked_patch_is_kept_and_pulls_the_others():
    # Object 0 is locked to the patch at +1; object 1 could have -1 or +1, the query asks for -1.
    features = np.array([[[[-1.0], [1.0]], [[-1.0], [1.0]]]], np.float32)
    inputs = features, np.ones((1, 2, 2), bool), np.array([[-1.0]], np.float32)
    noise = np.zeros((1, 2, 2), np.float32)
    free = select(*inputs, noise, scale=10.0)
    assert free.choice.tolist() == [[0, 0]]
    locked = select(*inputs, noise, scale=10.0, locked=np.array([[1, -1]], np.int32))
    assert locked.choice.tolist() == [[1, 1]]
    assert locked.order.tolist() == [[1, -1]]
    assert locked.weights.tolist() == [[[0.0, 1.0], [0.0, 1.0]]]


def test_query_is_the_mean_of_all_locked_features(plain_loop, make_graphs):
    graphs = make_graphs(8, batch=1, objects=3, padding=False)
    locked = np.array([[2, 4, -1]], np.int32)
    mean = (graphs[0][0, 0, 2] + graphs[0][0, 1, 4]) / 2
    nearest = np.linalg.norm(graphs[0][0, 2] - mean, axis=-1).argmin()
    ours = select(*graphs[:3], np.zeros_like(graphs[3]), scale=10.0, locked=locked)
    assert ours.choice.tolist() == [[2, 4, nearest]]


def test_lock_on_a_missing_candidate_leaves_the_object_free(make_graphs):
    features, valid, query, gumbel = make_graphs(9, batch=1, padding=False)
    valid[0, 1, 3] = False
    locked = np.array([[-1, 3, 99, -1, -1]], np.int32)
    with_lock = select(features, valid, query, gumbel, locked=locked)
    without = select(features, valid, query, gumbel)
    for one, other in zip(with_lock, without, strict=True):
        np.testing.assert_array_equal(one, other)


def test_all_objects_locked(make_graphs):
    graphs = make_graphs(10, batch=2, padding=False)
    for straight_through in (True, False):
        ours = select(
            *graphs, locked=np.full((2, 5), 3, np.int32), straight_through=straight_through
        )
        assert (ours.order == -1).all() and (ours.choice == 3).all()
        np.testing.assert_array_equal(ours.weights, np.eye(6)[np.full((2, 5), 3)])


def test_low_temperature_is_gumbel_max(make_graphs):
    graphs = make_graphs(11, batch=20)
    soft = select(*graphs, scale=3.0, temperature=1e-5, straight_through=False)
    hard = select(*graphs, scale=3.0, temperature=1.0)
    np.testing.assert_allclose(soft.weights, hard.weights, atol=1e-5)


def test_without_noise_and_with_a_large_scale_it_is_greedy_nearest_neighbour(make_graphs):
    features, valid, query, _ = make_graphs(12, batch=20)
    ours = select(features, valid, query, np.zeros(valid.shape, np.float32), scale=500.0)
    for row in range(20):
        centre, taken, left = query[row], [], valid[row].copy()
        for step in range(int(valid[row].any(axis=1).sum())):
            distance = np.linalg.norm(features[row] - centre, axis=-1)
            o, k = np.unravel_index(np.where(left, distance, np.inf).argmin(), left.shape)
            assert (ours.order[row, step], ours.choice[row, o]) == (o, k)
            taken.append(features[row, o, k])
            left[o] = False
            centre = np.mean(taken, axis=0)


def test_inclusion_frequencies_are_those_of_sampling_without_replacement():
    # Equal features freeze the query's influence; one group per item; log-weights join the noise.
    weights = np.array([0.4, 0.3, 0.2, 0.1])
    count = 40_000
    noise = np.random.default_rng(13).gumbel(size=(count, 4, 1)) + np.log(weights)[:, None]
    ours = select(
        np.ones((count, 4, 1, 2), np.float32),
        np.ones((count, 4, 1), bool),
        np.ones((count, 2), np.float32),
        noise.astype(np.float32),
    )
    for first in range(4):
        for second in set(range(4)) - {first}:
            expected = weights[first] * weights[second] / (1 - weights[first])
            seen = np.mean((ours.order[:, 0] == first) & (ours.order[:, 1] == second))
            spread = np.sqrt(expected * (1 - expected) / count)
            assert abs(seen - expected) < 4.5 * spread


def test_first_choice_has_the_probability_of_equation_1(make_graphs):
    features, valid, query, _ = make_graphs(14, batch=1, objects=2, candidates=3)
    count = 40_000
    noise = np.random.default_rng(15).gumbel(size=(count, *valid.shape[1:])).astype(np.float32)
    ours = select(*(np.repeat(a, count, 0) for a in (features, valid, query)), noise, scale=2.0)
    share = np.exp(-2.0 * np.linalg.norm(features[0] - query[0], axis=-1)) * valid[0]
    share /= share.sum()
    for (o, k), expected in np.ndenumerate(share):
        seen = np.mean((ours.order[:, 0] == o) & (ours.choice[:, o] == k))
        assert abs(seen - expected) < 4.5 * np.sqrt(expected * (1 - expected) / count) + 1e-12


@pytest.mark.parametrize(
    "straight_through", [True, pytest.param(False, marks=pytest.mark.thorough)]
)
def test_xla_gives_the_same(make_graphs, straight_through):
    graphs = [tf.constant(a) for a in make_graphs(16, batch=8)]
    locked = tf.constant(random_locks(graphs[1].numpy()))

    def run(*inputs):
        options = dict(scale=4.0, temperature=0.5, locked=locked)
        return gumbel_group_select(*inputs, **options, straight_through=straight_through)

    compiled = tf.function(run, jit_compile=True, autograph=False)(*graphs)
    for one, other in zip(tf.function(run, autograph=False)(*graphs), compiled, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_dynamic_batch_and_candidates_but_not_objects(make_graphs):
    graphs = make_graphs(17, batch=3)
    shapes = [None, 5, None, 8], [None, 5, None], [None, 8], [None, 5, None]
    kinds = tf.float32, tf.bool, tf.float32, tf.float32
    specs = [tf.TensorSpec(shape, kind) for shape, kind in zip(shapes, kinds, strict=True)]
    dynamic = tf.function(gumbel_group_select, input_signature=specs)(*graphs)
    np.testing.assert_array_equal(dynamic.choice, select(*graphs).choice)
    specs[0] = tf.TensorSpec([None, None, None, 8])
    with pytest.raises(ValueError, match="static number of objects"):
        tf.function(gumbel_group_select, input_signature=specs).get_concrete_function()


def test_half_precision_features_are_selected_in_float32(make_graphs):
    features, valid, query, gumbel = make_graphs(18, batch=5)
    half = select(features.astype(np.float16), valid, query.astype(np.float16), gumbel)
    full = select(
        features.astype(np.float16).astype(np.float32),
        valid,
        query.astype(np.float16).astype(np.float32),
        gumbel,
    )
    assert half.weights.dtype == np.float32
    np.testing.assert_array_equal(half.weights, full.weights)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("features", [3, 5, 8]),
        ("valid", [2, 3, 1]),
        ("query", [1, 8]),
        ("gumbel", [2, 1, 5]),
        ("locked", [2, 1]),
        ("ids", [2, 3]),
    ],
)
def test_a_shape_that_would_be_broadcast_is_refused_by_name(name, shape):
    sizes = {
        "features": [2, 3, 5, 8],
        "valid": [2, 3, 5],
        "query": [2, 8],
        "gumbel": [2, 3, 5],
        "locked": [2, 3],
        "ids": [2, 3, 5],
    }
    gumbel_group_select(**{key: tf.ones(size) for key, size in sizes.items()})
    with pytest.raises(ValueError, match=rf"^{name} must be \[B, .*got shape "):
        gumbel_group_select(**{k: tf.ones(s) for k, s in {**sizes, name: shape}.items()})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("features", None),
        ("valid", None),
        ("features", tf.RaggedTensor.from_tensor(tf.ones([2, 3, 5, 8]))),
        ("valid", tf.sparse.from_dense(tf.ones([2, 3, 5], tf.int32))),
        ("features", np.full([2, 3, 5, 8], "a")),
        ("gumbel", np.full([2, 3, 5], 1j)),
        ("temperature", None),
        ("scale", 1j),
        ("scale", 10**40),
    ],
)
def test_what_holds_no_numbers_is_refused_by_name(name, value):
    right = {"features": tf.ones([2, 3, 5, 8]), "valid": tf.fill([2, 3, 5], True)}
    right |= {"query": tf.ones([2, 8]), "gumbel": tf.zeros([2, 3, 5])}
    with pytest.raises(ValueError, match=rf"^{name} must be .*got ") as caught:
        gumbel_group_select(**{**right, name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [[2, 0, 5], [2, 3, 0]])
def test_no_objects_and_no_candidates_are_refused(shape):
    features, valid = tf.ones([*shape, 8]), tf.fill(shape, True)
    with pytest.raises(ValueError, match=r"features must be .* with [OK] >= 1, got "):
        gumbel_group_select(features, valid, tf.ones([2, 8]), tf.zeros(shape))
