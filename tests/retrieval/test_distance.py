"""Distances of unit vectors by inner products, against the differences."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.retrieval.distance import l2_distance, unit_distance


def test_unit_distance_and_its_gradient_are_those_of_the_differences(make_graphs):
    features, _, query, _ = (tf.constant(part) for part in make_graphs(0))
    query *= 0.4  # the mean of several unit vectors is shorter
    results = []
    for distance in (
        lambda: unit_distance(features, query),
        lambda: l2_distance(features, query[:, None, None]),
    ):
        with tf.GradientTape() as tape:
            tape.watch(query)
            value = distance()
        results.append((value, tape.gradient(value, query)))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_equal_vectors_are_near_zero_apart_with_a_finite_gradient(make_graphs):
    features = tf.constant(make_graphs(1)[0])
    query = features[:, 2, 3]
    with tf.GradientTape() as tape:
        tape.watch(query)
        distance = unit_distance(features, query)
    assert float(tf.reduce_max(distance[:, 2, 3])) < 1e-3
    assert np.isfinite(tape.gradient(distance, query)).all()


def test_what_differs_by_rounding_alone_has_no_direction():
    """XLA may round one vector in two ways; the gradient must not be the unit vector between."""
    vector = np.full([16], 0.25, np.float32)
    rounded = np.nextafter(vector, np.float32(1))
    for other, length in ((rounded, 0.0), (vector + np.float32(1e-4), 1.0)):
        first = tf.constant(vector)
        with tf.GradientTape() as tape:
            tape.watch(first)
            distance = l2_distance(first, tf.constant(other))
        assert float(distance) > 0
        assert float(tf.norm(tape.gradient(distance, first))) == pytest.approx(length, abs=1e-4)
