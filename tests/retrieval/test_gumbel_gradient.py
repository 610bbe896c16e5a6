"""Gradients of the group selection, against float64 differences and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.retrieval.gumbel import gumbel_group_select


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
@pytest.mark.parametrize("straight_through", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_float64_differences(plain_loop, make_graphs, seed, straight_through, locked):
    graphs = make_graphs(seed, batch=1, objects=3, candidates=4, width=3)
    features, valid, query, gumbel = (part[0] for part in graphs)
    target = np.random.default_rng(seed).normal(size=valid.shape).astype(np.float32)
    options = dict(temperature=0.8, straight_through=straight_through)
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


@pytest.mark.parametrize("straight_through", [True, False])
@pytest.mark.parametrize("jit_compile", [False, True])
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
