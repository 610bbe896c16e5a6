from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.metrics import crop_classifier as module
from rgan_tf.metrics.crop_classifier import crop_accuracy, fit_discriminant


def _patches(seed, per_category=60, size=12, distance=6.0, categories=(3, 7, 20)):
    """Normal features about means that differ in one dimension each."""
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(len(categories)), per_category)
    features = rng.normal(size=[len(owners), size])
    features[np.arange(len(owners)), owners] += distance
    return features, np.asarray(categories)[owners]


def _accuracy(judge, features, categories):
    return crop_accuracy(judge.predict(features), categories, judge.categories)["crop_accuracy"]


def test_separable_categories_are_told_apart_on_new_patches():
    judge = fit_discriminant(*_patches(0))
    assert judge.categories.tolist() == [3, 7, 20]
    assert _accuracy(judge, *_patches(1)) > 0.99


def test_hand_worked_boundary_on_a_line():
    # Means 1 and 5, the same spread: the boundary is at 3, whatever the counts.
    features = np.array([[0.0], [2.0], [4.0], [6.0], [4.0], [6.0]])
    judge = fit_discriminant(features, [0, 0, 1, 1, 1, 1], shrinkage=0.5)
    assert judge.predict(np.array([[2.99], [3.01], [-9.0], [9.0]])).tolist() == [0, 1, 0, 1]
    # Within variance 1; the difference of scores is (5 - 1) (x - 3) / 1 in any unit.
    difference = np.diff(judge.scores(np.array([[3.0], [4.0]])), axis=1)
    np.testing.assert_allclose(difference[:, 0], [0.0, 4.0], atol=1e-9)


def test_directions_are_those_of_the_closed_form():
    rng = np.random.default_rng(2)
    mixing = np.array([[1.0, 0.0], [2.0, 0.5]])  # strongly correlated dimensions
    features = np.concatenate([rng.normal(size=[500, 2]), rng.normal(size=[500, 2]) + [0, 2]])
    features = features @ mixing.T
    categories = np.repeat([0, 1], 500)
    judge = fit_discriminant(features, categories, shrinkage=1e-9)
    means = [features[categories == c].mean(axis=0) for c in (0, 1)]
    within = sum(np.cov(features[categories == c], rowvar=False, ddof=0) for c in (0, 1)) / 2
    expected = np.linalg.solve(within, means[1] - means[0])
    np.testing.assert_allclose(judge.weights[:, 1] - judge.weights[:, 0], expected, rtol=1e-5)
    # All of the difference is in a direction of little spread: the nearest mean would do worse.
    nearest = np.argmin([((features - mean) ** 2).sum(axis=1) for mean in means], axis=0)
    assert _accuracy(judge, features, categories) > (nearest == categories).mean() + 0.1


def test_shrinkage_equals_the_definition():
    rng = np.random.default_rng(3)
    features, categories = rng.normal(size=[15, 4]) * [1, 2, 3, 4], np.repeat([0, 1, 2], 5)
    judge = fit_discriminant(features, categories)
    means = np.stack([features[categories == c].mean(axis=0) for c in categories])
    rows = (features - means) / np.sqrt(((features - means) ** 2).mean(axis=0))
    covariance = rows.T @ rows / 15
    target = np.trace(covariance) / 4 * np.eye(4)
    error = sum(((np.outer(row, row) - covariance) ** 2).sum() for row in rows) / 15**2
    distance = ((covariance - target) ** 2).sum()
    assert judge.shrinkage == pytest.approx(min(error / distance, 1.0))


def test_shrinkage_vanishes_where_there_is_enough_to_learn_the_covariance_from():
    mixing = np.random.default_rng(4).normal(size=[12, 12])
    few, many = (
        fit_discriminant(features @ mixing, categories).shrinkage
        for features, categories in (_patches(4, per_category=n) for n in (5, 5000))
    )
    assert many < 0.01 < 0.1 < few
    white = fit_discriminant(*_patches(4, per_category=5000)).shrinkage
    assert white > 0.3  # there the target is the truth


def test_fewer_patches_than_dimensions_are_enough():
    train, test = (_patches(seed, per_category=8, size=100) for seed in (5, 6))
    assert _accuracy(fit_discriminant(*train), *test) > 0.9


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_neither_order_nor_names_nor_units_matter(seed):
    rng = np.random.default_rng(seed)
    features, categories = _patches(seed, per_category=20, distance=2.0)
    crops, said = _patches(seed + 1, per_category=20, distance=2.0)
    expected = _accuracy(fit_discriminant(features, categories), crops, said)
    order = rng.permutation(len(features))
    assert _accuracy(fit_discriminant(features[order], categories[order]), crops, said) == expected
    names = np.zeros(21, int)
    names[[3, 7, 20]] = rng.permutation([100, 5, 60])
    renamed = fit_discriminant(features, names[categories])
    assert _accuracy(renamed, crops, names[said]) == expected
    units, origin = np.exp(rng.normal(size=12) * 3), rng.normal(size=12) * 10
    other = fit_discriminant(features * units + origin, categories)
    assert _accuracy(other, crops * units + origin, said) == expected


def test_shuffled_labels_leave_chance():
    features, categories = _patches(7, per_category=200)
    crops, said = _patches(8, per_category=200)
    assert _accuracy(fit_discriminant(features, categories), crops, said) > 0.9
    # One judge's errors are shared by all crops, so that only the mean of many is near chance.
    chances = [
        _accuracy(
            fit_discriminant(features, np.random.default_rng(seed).permutation(categories)),
            crops,
            said,
        )
        for seed in range(40)
    ]
    assert np.mean(chances) == pytest.approx(1 / 3, abs=0.1)


def test_constant_features_do_not_crash():
    for constant in (0.0, 0.1, 1e6):
        judge = fit_discriminant(np.full([9, 5], constant), np.arange(9) % 3)
        assert judge.predict(np.full([2, 5], constant)).tolist() == [0, 0]
        assert np.isfinite(judge.scores(np.ones([2, 5]))).all()
    features, categories = _patches(10)
    dead = np.concatenate([features, np.full([len(features), 3], 0.1)], axis=1)  # dead channels
    judge = fit_discriminant(dead, categories)
    assert _accuracy(judge, dead, categories) > 0.99


def test_one_patch_per_category_gives_the_nearest_mean():
    judge = fit_discriminant(np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), [5, 6, 7])
    assert judge.predict(np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 9.0]])).tolist() == [5, 6, 7]


def test_blocks_and_low_precision_change_nothing(monkeypatch):
    features, categories = _patches(11)
    half = features.astype(np.float16)
    whole = fit_discriminant(half, categories)
    monkeypatch.setattr(module, "_BLOCK_ROWS", 7)
    parts = fit_discriminant(half, categories)
    np.testing.assert_allclose(parts.weights, whole.weights, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(parts.scores(half), whole.scores(half), rtol=1e-9, atol=1e-9)
    assert parts.scores(half[:0]).shape == (0, 3) and parts.predict(half[:0]).shape == (0,)


def test_accuracy_by_hand_with_categories_the_judge_does_not_know():
    predicted = np.array([3, 3, 7, 7, 3, 7])
    said = np.array([3, 3, 3, 7, 99, 42])
    assert crop_accuracy(predicted, said, np.array([3, 7, 20])) == {
        "crop_accuracy": 0.75,
        "crop_balanced_accuracy": pytest.approx((2 / 3 + 1) / 2),
        "crop_chance": pytest.approx(1 / 3),
        "crop_count": 4,
        "crop_unknown_count": 2,
        "crop_unknown_categories": [42, 99],
        "crop_accuracy_by_category": {3: pytest.approx(2 / 3), 7: 1.0},
    }
    nothing = crop_accuracy(predicted[:1], said[4:5], np.array([3, 7]))
    assert nothing["crop_accuracy"] is None and nothing["crop_balanced_accuracy"] is None
    assert nothing["crop_count"] == 0 and nothing["crop_unknown_count"] == 1


def test_what_cannot_be_used_is_refused():
    features, categories = _patches(12)
    judge = fit_discriminant(features, categories)
    with pytest.raises(ValueError, match=r"\[N, 12\], got \[4, 11\]"):
        judge.predict(np.zeros([4, 11]))
    with pytest.raises(ValueError, match="from row 0 on must be finite"):
        judge.predict(np.full([4, 12], np.nan))
    with pytest.raises(ValueError, match="at least 2 categories, got 1"):
        fit_discriminant(features, np.zeros(len(features), int))
    with pytest.raises(ValueError, match=r"\[180, 12\] and categories \[3\]"):
        fit_discriminant(features, categories[:3])
    with pytest.raises(ValueError, match=r"shrinkage must be in \(0, 1\], got 0"):
        fit_discriminant(features, categories, shrinkage=0)
    with pytest.raises(ValueError, match="finite"):
        fit_discriminant(np.where(features > 5, np.inf, features), categories)
    with pytest.raises(ValueError, match=r"must both be \[N\]"):
        crop_accuracy(categories, categories[:4], judge.categories)
