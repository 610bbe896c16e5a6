from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.metrics import bootstrap as module
from rgan_tf.metrics.bootstrap import (
    frechet_resamples,
    kernel_resamples,
    mean_interval,
    normal_interval,
    ratio_interval,
)
from rgan_tf.metrics.frechet import FeatureStatistics, frechet_distance, kernel_distance


def _distance(first, second):
    statistics = [FeatureStatistics(features.shape[1]) for features in (first, second)]
    for one, features in zip(statistics, (first, second), strict=True):
        one.add(features)
    return frechet_distance(*statistics)


def _error(resample, *arguments, paired=False, **options):
    return np.std(resample(*arguments, paired=paired, **options), ddof=1)


def _repeated(features, weights):
    return np.repeat(features, weights.astype(int), axis=0)


def test_interval_of_a_mean_is_that_of_the_normal_limit():
    values = np.random.default_rng(0).exponential(size=400)
    low, high = mean_interval(values, seed=1, resamples=2000)
    error = values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        low, high = mean_interval(rng.normal(size=50), seed=trial, resamples=200)
        hits += low <= 0 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_hand_worked_interval_of_two_values():
    # Two draws of {0, 1}: means 0, 1/2, 1 with the probabilities 1/4, 1/2, 1/4.
    assert mean_interval([0.0, 1.0], seed=0) == (0.0, 1.0)
    assert mean_interval(np.full(9, 3.0), seed=0) == (3.0, 3.0)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(2, 12), st.integers(2, 12)),
    st.integers(1, 16),
    st.booleans(),
)
def test_weighted_distance_equals_the_distance_of_repeated_features(seed, sizes, width, gram):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=[sizes[0], width]) + 2
    second = rng.normal(size=[sizes[1], width]) * 0.5
    weights, second_weights = module._draw(rng, sizes[0]), module._draw(rng, sizes[1])
    inner = first @ second.T if gram else None  # right in general, wherever it is used
    ours = module._weighted_distance(first, second, weights, second_weights, inner)
    expected = _distance(_repeated(first, weights), _repeated(second, second_weights))
    assert ours == pytest.approx(expected, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize(("count", "width"), [(30, 100), (100, 30)])
def test_every_feature_once_is_the_distance_itself(count, width):
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=[count, width]), rng.normal(size=[count + 5, width]) + 0.4
    weights = np.ones(count), np.ones(count + 5)
    for gram in (None, first @ second.T):
        ours = module._weighted_distance(first, second, *weights, gram)
        assert ours == pytest.approx(_distance(first, second), rel=1e-6)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("count", [12, 60])  # fewer and more features than dimensions
def test_a_resample_is_the_distance_of_repeated_features(count, paired):
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=[count, 20]), rng.normal(size=[count, 20]) * 2
    draws = np.random.default_rng([7, module._FRECHET])
    distances = []
    for _ in range(5):
        weights = module._draw(draws, count)
        second_weights = weights if paired else module._draw(draws, count)
        distances.append(_distance(_repeated(first, weights), _repeated(second, second_weights)))
    ours = frechet_resamples(first + 1e3, second + 1e3, 5, seed=7, paired=paired)
    assert ours == pytest.approx(distances, rel=1e-5)


def test_errors_foretell_the_spread_over_new_samples():
    rng = np.random.default_rng(4)

    def draw():
        return rng.normal(size=[150, 4]), rng.normal(size=[200, 4]) * 1.3 + 0.5

    samples = [draw() for _ in range(150)]
    for distance, resample in (
        (_distance, frechet_resamples),
        (kernel_distance, kernel_resamples),
    ):
        spread = np.std([distance(*sample) for sample in samples])
        errors = [
            _error(resample, *sample, resamples=20, seed=i) for i, sample in enumerate(samples[:30])
        ]
        assert np.mean(errors) == pytest.approx(spread, rel=0.25)


@pytest.mark.parametrize("alike", [0.0, 0.8])  # share of a scene in both systems' images
def test_errors_of_differences_foretell_their_spread_over_new_scenes(alike):
    rng = np.random.default_rng(11)

    def draw():
        scenes = rng.normal(size=[120, 5])
        real = scenes + 0.5 * rng.normal(size=[120, 5])
        first, second = (alike * scenes + 0.7 * rng.normal(size=[120, 5]) + s for s in (0.5, 0.6))
        return real, first, second

    samples = [draw() for _ in range(120)]
    for distance, resample in (
        (_distance, frechet_resamples),
        (kernel_distance, kernel_resamples),
    ):
        spread = np.std([distance(b, real) - distance(a, real) for real, a, b in samples])

        def error(real, a, b, seed, resample=resample):
            ours, theirs = (resample(x, real, 20, seed=seed, paired=True) for x in (a, b))
            return np.std(theirs - ours, ddof=1), np.hypot(np.std(ours), np.std(theirs))

        errors = [error(*sample, i) for i, sample in enumerate(samples[:30])]
        together, apart = np.mean(errors, axis=0)
        assert together == pytest.approx(spread, rel=0.25)
        assert apart > 1.1 * together  # as if the systems shared nothing


def test_what_images_share_with_those_of_their_own_scene_is_not_uncertainty():
    rng = np.random.default_rng(12)

    def draw():
        scenes = rng.normal(size=[120, 5])
        return scenes + 0.3 * rng.normal(size=[120, 5]), scenes + 0.3

    samples = [draw() for _ in range(100)]
    spread = np.std([_distance(*sample) for sample in samples])
    errors = {
        paired: np.mean(
            [
                _error(frechet_resamples, *sample, 20, seed=i, paired=paired)
                for i, sample in enumerate(samples[:20])
            ]
        )
        for paired in (False, True)
    }
    assert errors[True] == pytest.approx(spread, rel=0.3)
    assert errors[False] > 2 * spread


def test_the_bootstrap_of_the_frechet_distance_is_biased_upwards():
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=[40, 30]), rng.normal(size=[40, 30]) + 0.2
    gram = first @ second.T
    resampled = [
        module._weighted_distance(first, second, module._draw(rng, 40), module._draw(rng, 40), gram)
        for _ in range(20)
    ]
    assert min(resampled) > _distance(first, second)  # percentiles would exclude the estimate


@pytest.mark.parametrize("rows", [1, 5, 2048])
def test_a_root_made_in_blocks_is_that_of_the_weighted_covariance(rows, monkeypatch):
    monkeypatch.setattr(module, "_ROOT_ROWS", rows)
    rng = np.random.default_rng(8)
    features, weights = rng.normal(size=[12, 4]) + 3, module._draw(rng, 12)
    assert (weights == 0).any() and (weights > 1).any()
    repeated = np.repeat(features, weights.astype(int), axis=0)
    root = module._covariance_root(features, repeated.mean(axis=0), weights)
    np.testing.assert_allclose(root.T @ root, np.cov(repeated, rowvar=False), atol=1e-12)


@pytest.mark.parametrize("block", [3, 1024])
def test_a_kernel_resample_equals_pairs_counted_one_by_one(block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_ROWS", block)
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=[7, 3]), rng.normal(size=[8, 3]) + 1

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    def within(features, weights):
        pairs = [
            (weights[i] * weights[j], kernel(features[i], features[j]))
            for i in range(len(features))
            for j in range(len(features))
            if i != j
        ]
        return sum(w * k for w, k in pairs) / sum(w for w, _ in pairs)

    draws = np.random.default_rng([9, module._KERNEL])
    distances = []
    for _ in range(4):
        w, v = module._draw(draws, 7), module._draw(draws, 8)
        between = sum(
            w[i] * v[j] * kernel(first[i], second[j]) for i in range(7) for j in range(8)
        ) / (w.sum() * v.sum())
        distances.append(within(first, w) + within(second, v) - 2 * between)
    ours = kernel_resamples(first, second, 4, seed=9, paired=False)
    assert ours == pytest.approx(distances, rel=1e-9)


def test_errors_shrink_with_the_root_of_the_count_and_depend_on_the_seed_alone():
    rng = np.random.default_rng(7)
    first, second = rng.normal(size=[1600, 3]), rng.normal(size=[1600, 3]) + 1
    for resample in (frechet_resamples, kernel_resamples):
        few = _error(resample, first[:100], second[:100], 60, seed=1)
        many = _error(resample, first, second, 60, seed=1)
        assert few / many == pytest.approx(4, rel=0.5)
        assert _error(resample, first[:100], second[:100], 60, seed=1) == few
        assert _error(resample, first[:100], second[:100], 60, seed=2) != few
    values = rng.normal(size=30)
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_two_features_still_have_an_error():
    first, second = np.eye(2), np.array([[3.0, 0.0], [0.0, 1.0]])
    for paired in (False, True):
        assert np.isfinite(_error(frechet_resamples, first, second, 8, seed=0, paired=paired))
        assert np.isfinite(_error(kernel_resamples, first, second, 8, seed=0, paired=paired))


def test_normal_interval_by_hand():
    assert normal_interval(10.0, 2.0) == (pytest.approx(6.08), pytest.approx(13.92))
    assert normal_interval(1.0, 2.0, lowest=0.0) == (0.0, pytest.approx(4.92))


def test_what_cannot_be_used_is_refused():
    two, three = np.ones([2, 2]), np.ones([3, 3])
    for resample in (frechet_resamples, kernel_resamples):
        with pytest.raises(ValueError, match=r"\[N, 2\], got \[3, 3\]"):
            resample(two, three, seed=0, paired=False)
        with pytest.raises(ValueError, match="got 1 and 2"):
            resample(two[:1], two, seed=0, paired=False)
        with pytest.raises(ValueError, match="resamples must be at least 2, got 1"):
            resample(two, two, 1, seed=0, paired=False)
        with pytest.raises(ValueError, match="finite"):
            resample(two * np.nan, two, seed=0, paired=False)
        with pytest.raises(ValueError, match="paired sets must have one size, got 3 and 4"):
            resample(np.eye(4)[:3], np.eye(4), seed=0, paired=True)
    with pytest.raises(ValueError, match="at least 2 finite numbers"):
        mean_interval([1.0], seed=0)
    with pytest.raises(ValueError, match="at least 2 finite numbers"):
        mean_interval([1.0, np.nan], seed=0)


def test_a_ratio_s_interval_is_that_of_scenes():
    parts, wholes = np.array([2.0, 0.0, 1.0, 3.0] * 8), np.array([4.0, 2.0, 2.0, 4.0] * 8)
    low, high = ratio_interval(parts, wholes, 0)
    assert 0.3 < low < parts.sum() / wholes.sum() < high < 0.7
    # Where every scene has the same ratio there is nothing to be unsure of.
    assert ratio_interval(wholes / 4, wholes, 0) == (0.25, 0.25)
    # Few large scenes say less than many small ones with as many objects.
    wide = ratio_interval(np.array([40.0, 0.0]), np.array([40.0, 40.0]), 0)
    narrow = ratio_interval(np.array([1.0, 0.0] * 40), np.ones(80), 0)
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])
    # Scenes without anything to count change nothing but the width.
    empty = ratio_interval(np.append(wholes / 4, 0.0), np.append(wholes, 0.0), 0)
    assert empty == (0.25, 0.25)


@pytest.mark.parametrize(
    ("parts", "wholes", "message"),
    [
        ([], [], "must both be"),
        ([1.0], [1.0, 2.0], "must both be"),
        ([1.0], [-1.0], "not negative"),
        ([np.nan], [1.0], "finite"),
        ([0.0, 0.0], [0.0, 0.0], "at least two"),
        ([1.0, 0.0], [2.0, 0.0], "at least two"),
    ],
)
def test_a_ratio_of_nothing_is_refused(parts, wholes, message):
    with pytest.raises(ValueError, match=message):
        ratio_interval(np.array(parts), np.array(wholes), 0)
