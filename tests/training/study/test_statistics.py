"""Intervals and p-values: worked by hand, and by how often they are right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.study.statistics import binomial_p_value, cluster_interval, wilson_interval


def test_wilson_by_hand():
    # z² = 3.8415: centre (0.8 + 0.19207) / 1.38415, half sqrt(0.38415 * (0.16 + 0.09604)) / 1.38415
    assert wilson_interval(8, 10) == pytest.approx((0.71674 - 0.22658, 0.71674 + 0.22658), abs=1e-4)
    # Without a success the upper end is z² / (n + z²).
    assert wilson_interval(0, 10) == (0.0, pytest.approx(3.8415 / 13.8415, abs=1e-5))
    assert wilson_interval(10, 10) == (pytest.approx(10 / 13.8415, abs=1e-5), 1.0)
    assert wilson_interval(0, 0) is None


@given(st.integers(1, 400), st.data())
def test_wilson_holds_the_share_and_mirrors(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
def test_wilson_covers_the_truth_as_often_as_it_says(share):
    draws = np.random.default_rng(0).binomial(30, share, size=2000)
    ends = np.array([wilson_interval(int(hits), 30) for hits in draws])
    covered = np.mean((ends[:, 0] <= share) & (share <= ends[:, 1]))
    assert 0.92 < covered < 0.98
    # A control: half the width covers far less.
    middle, half = ends.mean(axis=1), np.ptp(ends, axis=1) / 4
    assert np.mean(np.abs(middle - share) <= half) < 0.85


def test_binomial_by_hand():
    assert binomial_p_value(8, 10) == 2 * (1 + 10 + 45) / 1024
    assert binomial_p_value(2, 10) == binomial_p_value(8, 10)
    assert binomial_p_value(10, 10) == 2 / 1024
    assert binomial_p_value(5, 10) == 1.0
    assert binomial_p_value(1, 1) == 1.0
    assert binomial_p_value(0, 0) is None


@given(st.integers(1, 60), st.data())
def test_binomial_adds_up_all_that_is_as_unlikely(trials, data):
    successes = data.draw(st.integers(0, trials))
    chances = [math.comb(trials, i) for i in range(trials + 1)]
    wanted = sum(c for c in chances if c <= chances[successes]) / 2**trials
    assert binomial_p_value(successes, trials) == pytest.approx(wanted)


def test_binomial_of_many_trials_is_quick_and_finite():
    assert binomial_p_value(5000, 10_000) == 1.0
    # The normal approximation: 2.01 deviations with the half that a whole number adds.
    assert binomial_p_value(4899, 10_000) == pytest.approx(math.erfc(2.01 / 2**0.5), rel=0.01)


def test_a_coin_is_called_unfair_no_more_often_than_it_should():
    draws = np.random.default_rng(1).binomial(30, 0.5, size=2000)
    assert np.mean([binomial_p_value(int(hits), 30) < 0.05 for hits in draws]) < 0.06


def test_bootstrap_by_hand():
    assert cluster_interval([7], [10]) is None
    # Whoever is drawn, the share is the same.
    assert cluster_interval([7, 7, 14], [10, 10, 20]) == (0.7, 0.7)
    # Two people who never agree: a quarter of all draws is one of them alone.
    assert cluster_interval([10, 0], [10, 10]) == (0.0, 1.0)
    assert cluster_interval([3, 5, 9], [10, 10, 10]) == cluster_interval([3, 5, 9], [10, 10, 10])


def test_bootstrap_allows_for_people_who_differ_and_wilson_does_not():
    generator = np.random.default_rng(2)
    covered = {"bootstrap": 0, "wilson": 0}
    for _ in range(80):
        shares = generator.beta(1.4, 0.6, size=25)  # mean 0.7
        hits = generator.binomial(20, shares)
        for name, (low, high) in {
            "bootstrap": cluster_interval(hits, [20] * 25),
            "wilson": wilson_interval(int(hits.sum()), 500),
        }.items():
            covered[name] += low <= 0.7 <= high
    assert covered["bootstrap"] / 80 > 0.88
    assert covered["wilson"] / 80 < 0.75
