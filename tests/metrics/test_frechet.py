from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.adapters.tfgan import tfgan
from rgan_tf.metrics.frechet import (
    FeatureStatistics,
    frechet_distance,
    frechet_name,
    kernel_distance,
    kernel_name,
)


def _statistics(features, batch=None):
    statistics = FeatureStatistics(features.shape[1])
    for start in range(0, len(features), batch or len(features)):
        statistics.add(features[start : start + (batch or len(features))])
    return statistics


def _with_exact_moments(rng, count, mean, root):
    """Features whose sample mean is `mean` and whose sample covariance is root root^T."""
    noise = rng.normal(size=[count, len(mean)])
    noise -= noise.mean(axis=0)
    whitening = np.linalg.inv(np.linalg.cholesky(np.cov(noise, rowvar=False)))
    return noise @ whitening.T @ root.T + mean


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 17))
def test_streamed_moments_equal_numpy_whatever_the_batches(seed, count, batch):
    features = np.random.default_rng(seed).normal(size=[count, 3]) * [1, 10, 0.1] + [0, 5, -3]
    statistics = _statistics(features, batch)
    assert statistics.count == count
    np.testing.assert_allclose(statistics.mean, features.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        statistics.covariance, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-9
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_merging_equals_adding(seed, cut):
    features = np.random.default_rng(seed).normal(size=[30, 3]) + [100, 0, -5]
    first, second = FeatureStatistics(3), FeatureStatistics(3)
    first.add(features[:cut])
    for start in range(cut, 30, 4):  # several batches, or the sum about the shift would be 0
        second.add(features[start : start + 4])
    first.merge(second)
    np.testing.assert_allclose(first.mean, features.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(first.covariance, np.cov(features, rowvar=False), atol=1e-9)


def test_a_large_common_offset_does_not_cancel_the_covariance():
    features = np.random.default_rng(0).normal(size=[500, 4])
    shifted = _statistics(features + 1e7, batch=50).covariance
    np.testing.assert_allclose(shifted, np.cov(features, rowvar=False), atol=1e-6)
    naive = (features + 1e7).T @ (features + 1e7) / 500 - 1e14  # what the shift is there for
    assert np.abs(naive - np.cov(features, rowvar=False)).max() > 1e-3


def test_closed_form_for_commuting_covariances():
    rng = np.random.default_rng(0)
    first = _with_exact_moments(rng, 200, [0.0, 0.0], np.diag([1.0, 2.0]))
    second = _with_exact_moments(rng, 300, [3.0, 4.0], np.diag([3.0, 2.0]))
    # |m|² = 25, and (sigma1 - sigma2)² per axis = 4 and 0
    distance = frechet_distance(_statistics(first), _statistics(second))
    np.testing.assert_allclose(distance, 29.0, rtol=1e-9)


def test_closed_form_for_covariances_that_do_not_commute():
    rng = np.random.default_rng(1)
    a, b = np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 0.0], [-1.0, 3.0]])
    first, second = a @ a.T, b @ b.T
    # In two dimensions tr((C1 C2)^½) = sqrt(tr(C1 C2) + 2 sqrt(det(C1 C2))).
    product = first @ second
    trace_of_root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(first) + np.trace(second) - 2 * trace_of_root
    distance = frechet_distance(
        _statistics(_with_exact_moments(rng, 100, [5.0, -1.0], a)),
        _statistics(_with_exact_moments(rng, 100, [5.0, -1.0], b)),
    )
    np.testing.assert_allclose(distance, expected, rtol=1e-9)


@pytest.mark.parametrize("count", [20, 200])  # fewer and more features than dimensions
def test_agrees_with_tfgan(count):
    rng = np.random.default_rng(2)
    first = rng.normal(size=[count, 32])
    second = rng.normal(size=[count, 32]) @ rng.normal(size=[32, 32]) * 0.3 + 0.5
    ours = frechet_distance(_statistics(first), _statistics(second))
    theirs = float(tfgan.eval.frechet_classifier_distance_from_activations(first, second))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_zero_for_itself_symmetric_and_blind_to_order():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=[90, 8]), rng.normal(size=[70, 8]) * 2
    one, two = _statistics(first), _statistics(second)
    assert frechet_distance(one, one) < 1e-9
    there = frechet_distance(one, two)
    np.testing.assert_allclose(frechet_distance(two, one), there, rtol=1e-9)
    shuffled = _statistics(rng.permutation(first), batch=7)
    np.testing.assert_allclose(frechet_distance(shuffled, two), there, rtol=1e-9)


def test_bias_is_announced():
    rng = np.random.default_rng(4)
    assert _statistics(rng.normal(size=[8, 8])).is_biased
    assert not _statistics(rng.normal(size=[9, 8])).is_biased


def test_features_that_cannot_be_used_are_refused_and_change_nothing():
    statistics = _statistics(np.ones([3, 2]))
    with pytest.raises(ValueError, match="must be finite, got 1"):
        statistics.add(np.array([[0.0, np.nan]]))
    with pytest.raises(ValueError, match=r"\[N, 2\], got \[1, 3\]"):
        statistics.add(np.ones([1, 3]))
    assert statistics.count == 3
    with pytest.raises(ValueError, match="at least 2 features are needed, got 1"):
        frechet_distance(_statistics(np.ones([1, 2])), statistics)
    with pytest.raises(ValueError, match="width 3"):
        frechet_distance(statistics, _statistics(np.ones([4, 3])))
    with pytest.raises(ValueError, match="got 1 and 3"):
        kernel_distance(np.ones([1, 2]), np.ones([3, 2]))


def test_kernel_distance_by_hand_and_against_tfgan(monkeypatch):
    # One dimension: k(x, y) = (xy + 1)³. Sets {0, 1} and {0, 2}:
    # within: k(0,1) = 1 and k(0,2) = 1; between: mean of k(0,0), k(0,2), k(1,0), k(1,2) = 30 / 4.
    assert kernel_distance([[0.0], [1.0]], [[0.0], [2.0]]) == pytest.approx(1 + 1 - 2 * 30 / 4)
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=[60, 16]), rng.normal(size=[50, 16]) + 0.3
    theirs = float(
        tfgan.eval.kernel_classifier_distance_from_activations(
            tf.constant(first), tf.constant(second), max_block_size=60
        )
    )
    np.testing.assert_allclose(kernel_distance(first, second), theirs, rtol=1e-9)
    monkeypatch.setattr("rgan_tf.metrics.frechet._BLOCK_ROWS", 7)
    np.testing.assert_allclose(kernel_distance(first, second), theirs, rtol=1e-9)


def test_kernel_distance_is_unbiased_where_the_frechet_distance_is_not():
    rng = np.random.default_rng(6)
    pairs = [(rng.normal(size=[20, 16]), rng.normal(size=[20, 16])) for _ in range(60)]
    kernel = np.array([kernel_distance(a, b) for a, b in pairs])
    assert abs(kernel.mean()) < 3 * kernel.std() / np.sqrt(len(kernel)) and kernel.min() < 0
    assert min(frechet_distance(_statistics(a), _statistics(b)) for a, b in pairs[:5]) > 1


@pytest.mark.parametrize(
    ("backbone", "count", "frechet", "kernel"),
    [
        ("mobilenet_v2", 1000, "fd_mobilenet_v2_1k_val", "kd_mobilenet_v2_1k_val"),
        ("mobilenet_v2", 1024, "fd_mobilenet_v2_1024_val", "kd_mobilenet_v2_1024_val"),
        ("inception_v3", 5000, "fid5k_val", "kid5k_val"),
    ],
)
def test_names_carry_the_protocol(backbone, count, frechet, kernel):
    assert frechet_name(backbone, count, "val") == frechet
    assert kernel_name(backbone, count, "val") == kernel
