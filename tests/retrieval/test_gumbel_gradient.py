"""Gradients of the group selection, against float64 differences and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.retrieval.gumbel import (
    GRADIENTS,
    gumbel_group_select,
    relaxed_group_select,
    selection_probabilities,
)


def gradients(features, valid, query, gumbel, target, scale, **options):
    """d<target, weights> / d(features, query, scale)."""
    inputs = [tf.constant(a, tf.float32) for a in (features, query, scale)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        selection = gumbel_group_select(
            inputs[0][None],
            tf.constant(valid[None]),
            inputs[1][None],
            tf.constant(gumbel[None]),
            scale=inputs[2],
            **options,
        )
        loss = tf.reduce_sum(selection.weights[0] * target)
    return [g.numpy() for g in tape.gradient(loss, inputs)]


def differences(function, values, step=1e-5):
    """Central differences of a float64 function of one array."""
    values = np.asarray(values, np.float64)
    result = np.zeros_like(values)
    for index in np.ndindex(values.shape):
        moved = [values.copy(), values.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        result[index] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return result


@pytest.mark.parametrize("locked", [None, np.array([-1, 2, -1], np.int32)])
@pytest.mark.parametrize("gradient", [*GRADIENTS, None])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_float64_differences(plain_loop, make_graphs, seed, gradient, locked):
    graphs = make_graphs(seed, batch=1, objects=3, candidates=4, width=3)
    features, valid, query, gumbel = (part[0] for part in graphs)
    target = np.random.default_rng(seed).normal(size=valid.shape).astype(np.float32)
    straight_through = gradient is not None  # None: the soft weights themselves
    options = dict(temperature=0.8, straight_through=straight_through, gradient=gradient or "paper")
    lock = None if locked is None else locked[None]
    ours = gradients(features, valid, query, gumbel, target, 2.0, **options, locked=lock)
    follow = None
    if straight_through:
        at = plain_loop(features, valid, query, gumbel, scale=2.0, **options, locked=locked)
        follow = at.steps

    def loss(features=features, query=query, scale=2.0):
        plain = plain_loop(
            features, valid, query, gumbel, scale=scale, **options, locked=locked, follow=follow
        )
        return np.sum(plain.weights * target)

    expected = [
        differences(lambda value, name=name: loss(**{name: value}), start)
        for name, start in (("features", features), ("query", query), ("scale", 2.0))
    ]
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-5)
    assert np.abs(expected[0]).max() > 1e-3  # the comparison is not one of zeros


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_loss_of_nothing_but_an_objects_total_has_no_gradient(make_graphs, temperature):
    features, valid, query, gumbel = make_graphs(6, batch=1, padding=False)
    target = np.random.default_rng(0).normal(size=valid.shape[1:2]).astype(np.float32)
    size = {}
    for gradient in GRADIENTS:
        of_features, of_query, of_scale = gradients(
            features[0],
            valid[0],
            query[0],
            gumbel[0],
            np.repeat(target[:, None], valid.shape[2], axis=1),
            5.0,
            temperature=temperature,
            gradient=gradient,
        )
        size[gradient] = max(np.abs(part).max() for part in (of_features, of_query, of_scale))
    assert size["within_group"] < 1e-5 and size["expected"] < 1e-5
    assert size["paper"] > 0.1  # it moves weight between objects, which the forward pass never does


def test_gradient_has_no_part_in_the_forward_pass(make_graphs):
    graphs = [tf.constant(a) for a in make_graphs(7, batch=6)]
    first, *others = [gumbel_group_select(*graphs, scale=4.0, gradient=g) for g in GRADIENTS]
    for other in others:
        for one, same in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, same)
    with pytest.raises(ValueError, match="gradient must be one of within_group, expected, paper"):
        gumbel_group_select(*graphs, gradient="soft")


def test_mean_gradient_points_along_the_sampled_expected_loss(make_graphs):
    """Against differences of the sampled loss itself: the one reference without an estimator."""
    objects, candidates = 3, 4
    features, _, query, _ = make_graphs(1, batch=1, objects=3, candidates=4, width=3, padding=False)
    rng = np.random.default_rng(2)
    costs = rng.normal(size=(objects, candidates)).astype(np.float32)
    noise = tf.constant(rng.gumbel(size=(40_000, objects, candidates)).astype(np.float32))

    @tf.function(reduce_retracing=True, autograph=False)
    def mean_loss(features, gradient="paper"):
        rows = tf.shape(noise)[0]
        selection = gumbel_group_select(
            tf.tile(features, [rows, 1, 1, 1]),
            tf.fill([rows, objects, candidates], True),
            tf.tile(tf.constant(query), [rows, 1]),
            noise,
            scale=3.0,
            gradient=gradient,
        )
        return tf.reduce_mean(tf.reduce_sum(selection.weights * costs, axis=[1, 2]))

    directions = rng.normal(size=(12, *features.shape)).astype(np.float32)
    directions /= np.linalg.norm(directions.reshape(12, -1), axis=1).reshape(-1, 1, 1, 1, 1)
    change = [
        mean_loss(tf.constant(features + 0.4 * one)) - mean_loss(tf.constant(features - 0.4 * one))
        for one in directions
    ]

    def cosine(gradient):
        with tf.GradientTape() as tape:
            start = tf.constant(features)
            tape.watch(start)
            loss = mean_loss(start, gradient)
        slopes = np.tensordot(directions, tape.gradient(loss, start).numpy(), axes=4)
        return slopes @ change / np.linalg.norm(slopes) / np.linalg.norm(change)

    within, expected, paper = (cosine(gradient) for gradient in GRADIENTS)
    assert min(within, expected) > 0.93
    assert min(within, expected) > paper


def test_probabilities_are_how_often_a_candidate_wins(make_graphs):
    features, valid, query, _ = make_graphs(3, batch=1, objects=2, candidates=3, padding=False)
    rows = 20_000
    graphs = [tf.repeat(tf.constant(a), rows, axis=0) for a in (features, valid, query)]
    gumbel = np.random.default_rng(0).gumbel(size=(rows, 2, 3)).astype(np.float32)
    selection = gumbel_group_select(*graphs, tf.constant(gumbel), scale=2.0)
    first = selection.order.numpy()[:, 0] == 0
    told = selection_probabilities(*graphs, selection, scale=2.0).numpy()[first][0, 0]
    wins = np.bincount(selection.choice.numpy()[first, 0], minlength=3) / first.sum()
    np.testing.assert_allclose(told, wins, atol=0.02)


def test_probabilities_by_hand():
    # Object 1 is chosen first (its candidate 0 lies at the query), then object 0 from there.
    features = tf.constant([[[[2.0], [4.0]], [[1.0], [9.0]], [[0.0], [0.0]]]])
    valid = tf.constant([[[True, True], [True, True], [False, False]]])
    query, noise = tf.constant([[1.5]]), tf.zeros([1, 3, 2])
    noise += tf.constant([[[0.0], [5.0], [0.0]]])
    selection, relaxed = relaxed_group_select(
        features, valid, query, noise, scale=0.5, gradient="expected"
    )
    assert selection.order.numpy().tolist() == [[1, 0, -1]]
    shares = [[1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(1.0))]]  # 1 and 3 from the query 1
    shares += [[1 / (1 + np.exp(-3.5)), 1 / (1 + np.exp(3.5))], [0.0, 0.0]]  # 0.5, 7.5 from 1.5
    probabilities = selection_probabilities(features, valid, query, selection, scale=0.5)
    np.testing.assert_allclose(probabilities[0], shares, rtol=1e-5)
    np.testing.assert_allclose(relaxed[0], shares, rtol=1e-5)


def test_straight_through_closed_form_for_one_object():
    rng = np.random.default_rng(3)
    features, query = rng.normal(size=(1, 4, 5)), rng.normal(size=5)
    gumbel, target = rng.gumbel(size=(1, 4)), rng.normal(size=(1, 4))
    scale, temperature = 1.5, 0.6
    distance = np.linalg.norm(features[0] - query, axis=-1)
    powers = (gumbel[0] - scale * distance) / temperature
    soft = np.exp(powers) / np.exp(powers).sum()
    slope = soft * (target[0] - soft @ target[0]) / temperature  # dL / dlogit
    direction = (features[0] - query) / distance[:, None]
    ours = gradients(
        features,
        np.ones((1, 4), bool),
        query,
        gumbel.astype(np.float32),
        target,
        scale,
        temperature=temperature,
    )
    np.testing.assert_allclose(ours[0][0], -scale * slope[:, None] * direction, atol=1e-5)
    np.testing.assert_allclose(ours[1], scale * slope @ direction, atol=1e-5)
    np.testing.assert_allclose(ours[2], -slope @ distance, atol=1e-5)


@pytest.mark.parametrize(
    ("straight_through", "jit_compile"),
    [
        (True, True),
        (False, False),
        pytest.param(True, False, marks=pytest.mark.thorough),
        pytest.param(False, True, marks=pytest.mark.thorough),
    ],
)
def test_padding_gets_no_gradient(make_graphs, straight_through, jit_compile):
    graphs = [tf.constant(a) for a in make_graphs(4, batch=6)]

    @tf.function(jit_compile=jit_compile)
    def gradient(features):
        with tf.GradientTape() as tape:
            tape.watch(features)
            selection = gumbel_group_select(
                features, *graphs[1:], straight_through=straight_through
            )
            loss = tf.reduce_sum(tf.square(selection.weights + graphs[3]))
        return tape.gradient(loss, features)

    result = gradient(graphs[0]).numpy()
    assert not result[~graphs[1].numpy()].any()
    assert np.abs(result[graphs[1].numpy()]).max() > 0


@pytest.mark.parametrize("straight_through", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 1e-3])
@pytest.mark.parametrize(
    ("objects", "candidates", "kind"),
    [
        (1, 1, "random"),
        (1, 5, "random"),
        (4, 1, "random"),
        (3, 4, "identical"),
        (3, 4, "duplicates"),
        (3, 4, "nothing valid"),
        (3, 4, "huge"),
    ],
)
def test_nothing_is_nan(make_graphs, objects, candidates, kind, temperature, straight_through):
    features, valid, query, gumbel = make_graphs(
        5, batch=2, objects=objects, candidates=candidates, padding=False
    )
    if kind == "identical":
        features[:], query, gumbel = query[:, None, None], query, np.zeros_like(gumbel)
    elif kind == "duplicates":
        features[:, :, 1] = features[:, :, 0]
        query = features[:, 0, 0]
    elif kind == "nothing valid":
        valid[:] = False
    elif kind == "huge":
        features *= 1e6
    for row in range(2):
        ours = gradients(
            features[row],
            valid[row],
            query[row],
            gumbel[row],
            gumbel[row] + 1,
            10.0,
            temperature=temperature,
            straight_through=straight_through,
        )
        assert all(np.isfinite(part).all() for part in ours)
    selection = gumbel_group_select(
        *(tf.constant(a) for a in (features, valid, query, gumbel)),
        scale=10.0,
        temperature=temperature,
        straight_through=straight_through,
    )
    np.testing.assert_allclose(selection.weights.numpy().sum(axis=2), valid.any(axis=2), atol=1e-5)
