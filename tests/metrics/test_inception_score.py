from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.adapters import tfgan
from rgan_tf.metrics.inception_score import ScoreStatistics, score_name


def _score(rows, splits=1, batch=None):
    rows = np.asarray(rows)
    statistics = ScoreStatistics(rows.shape[1], splits, len(rows))
    for start in range(0, len(rows), batch or len(rows)):
        statistics.add(rows[start : start + (batch or len(rows))])
    return statistics.score()


def _direct(rows):
    """The definition, term by term, for rows without zeros."""
    marginal = rows.mean(axis=0)
    return np.exp(np.mean([sum(p * np.log(p / q) for p, q in zip(r, marginal)) for r in rows]))  # noqa: B905


def _random_rows(seed, count, classes, sharpness=3.0):
    logits = np.random.default_rng(seed).normal(size=[count, classes]) * sharpness
    rows = np.exp(logits - logits.max(axis=1, keepdims=True))
    return logits, rows / rows.sum(axis=1, keepdims=True)


def test_uniform_answers_score_one_and_sure_and_varied_ones_score_the_number_of_classes():
    assert _score(np.full([12, 4], 0.25)) == (pytest.approx(1.0, abs=1e-12), 0.0)
    assert _score(np.eye(5)[np.arange(20) % 5])[0] == pytest.approx(5.0)
    # Sure but always the same: not varied.
    assert _score(np.eye(5)[np.zeros(20, int)])[0] == pytest.approx(1.0)


def test_hand_worked_pair():
    # Rows (1, 0) and (1/2, 1/2), mean (3/4, 1/4): the divergences are log 4/3 and
    # (log 2/3 + log 2) / 2; their mean's exponential is (4/3)^½ (4/3)^¼ = (4/3)^¾.
    assert _score([[1.0, 0.0], [0.5, 0.5]])[0] == pytest.approx((4 / 3) ** 0.75)


def test_splits_are_contiguous_and_hand_worked():
    rows = np.concatenate([np.eye(2), np.full([2, 2], 0.5)])  # scores 2 and 1
    assert _score(rows, splits=2) == (pytest.approx(1.5), pytest.approx(0.5))
    interleaved = rows[[0, 2, 1, 3]]
    assert _score(interleaved, splits=2)[1] == pytest.approx(0.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(1, 3), st.integers(1, 13))
def test_streamed_equals_the_definition_whatever_the_batches(seed, count, splits, batch):
    _, rows = _random_rows(seed, count, 4)
    parts = [rows[i * count // splits : (i + 1) * count // splits] for i in range(splits)]
    expected = [_direct(part) for part in parts]
    mean, deviation = _score(rows, splits, batch)
    assert mean == pytest.approx(np.mean(expected), rel=1e-9)
    assert deviation == pytest.approx(np.std(expected), abs=1e-9)
    assert 1.0 <= mean <= 4.0 + 1e-9


def test_agrees_with_tfgan():
    logits, rows = _random_rows(1, 200, 30)
    theirs = float(tfgan.tfgan.eval.classifier_score_from_logits(logits.astype(np.float32)))
    assert theirs > 2
    assert _score(rows)[0] == pytest.approx(theirs, rel=1e-4)


def test_probabilities_of_low_precision_are_normalised():
    _, rows = _random_rows(2, 50, 20)
    low = rows.astype(np.float16)
    assert low.astype(np.float64).sum(axis=1).std() > 0
    assert _score(low)[0] == pytest.approx(_score(rows)[0], rel=5e-3)
    sums = np.random.default_rng(3).uniform(0.9995, 1.0005, [50, 1])
    assert _score(rows * sums)[0] == pytest.approx(_score(rows)[0], rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.full([2, 2], 0.4), "add up to 1, got 0.8"),
        ([[1.5, -0.5]], "finite and not negative"),
        ([[np.nan, 1.0]], "finite and not negative"),
        (np.full([2, 3], 1 / 3), r"\[N, 2\], got \[2, 3\]"),
        (np.full([4, 2], 0.5), "3 samples were announced, 4 were given"),
    ],
)
def test_what_cannot_be_used_is_refused_and_changes_nothing(rows, message):
    statistics = ScoreStatistics(2, 1, 3)
    with pytest.raises(ValueError, match=message):
        statistics.add(rows)
    statistics.add(np.eye(2))
    with pytest.raises(ValueError, match="3 samples were announced, 2 were added"):
        statistics.score()
    statistics.add([[0.5, 0.5]])
    assert statistics.score()[0] == pytest.approx(2 ** (2 / 3))  # mean divergence: two of log 2


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="total must be at least splits = 10, got 9"):
        ScoreStatistics(5, 10, 9)
    with pytest.raises(ValueError, match="got 0 and 1"):
        ScoreStatistics(0, 1, 9)


def test_names_carry_the_protocol():
    assert score_name("inception_v3", 5000, 10, "val") == "is5k_10splits_val"
    assert score_name("mobilenet_v2", 1024, 3, "test") == "cs_mobilenet_v2_1024_3splits_test"
