"""Retrieval metrics on hand-worked scenes."""

from __future__ import annotations

import numpy as np
import pytest

from rgan_tf.metrics.retrieval import (
    cooccurrence_distance,
    ground_truth_recall_at_1,
    locked_style_match,
    style_agreement,
)

STYLES = np.array([["dawn", "dawn", "snow"], ["fog", "fog", "dawn"]])
MASK = np.array([[True, True, True], [True, True, False]])


def test_style_agreement():
    assert style_agreement(STYLES, MASK) == pytest.approx(2 / 4)  # 1 of 3 pairs, 1 of 1
    assert style_agreement(STYLES, np.ones_like(MASK)) == pytest.approx(2 / 6)
    assert np.isnan(style_agreement(STYLES, MASK & (np.arange(3) == 0)))


def test_style_agreement_of_random_choice_is_chance():
    styles = np.random.default_rng(0).integers(6, size=(4000, 5))
    assert style_agreement(styles, np.ones_like(styles, bool)) == pytest.approx(1 / 6, abs=0.01)


def test_locked_style_match():
    assert locked_style_match(STYLES, MASK, np.array([0, 1])) == pytest.approx(2 / 3)
    assert locked_style_match(STYLES, MASK, np.array([2, -1])) == 0.0
    assert np.isnan(locked_style_match(STYLES, MASK, np.array([-1, -1])))


def test_styles_and_mask_must_fit():
    with pytest.raises(ValueError, match=r"\[G, O\]"):
        style_agreement(STYLES, MASK[:1])


def test_ground_truth_recall_at_1():
    scores = np.array([[[3.0, 1.0, 9.0], [5.0, 6.0, 1.0], [2.0, 2.0, 0.0], [9.0, 0.0, 0.0]]])
    valid = np.array([[[1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 1, 1]]], bool)
    own = np.array([[0, 0, 0, -1]])
    # Object 0 wins, since its rival of 9 is not valid; object 1 loses; object 2 ties, so loses.
    mask = np.array([[True, True, True, False]])
    assert ground_truth_recall_at_1(scores, valid, own, mask) == pytest.approx(1 / 3)
    assert ground_truth_recall_at_1(scores, valid, own, mask & (own > 0)) != pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="object 3"):
        ground_truth_recall_at_1(scores, valid, own, np.ones((1, 4), bool))


def test_recall_of_constant_scores_is_zero():
    zeros = np.zeros((2, 3, 4))
    mask = np.ones((2, 3), bool)
    assert ground_truth_recall_at_1(zeros, zeros == 0, np.zeros((2, 3), int), mask) == 0.0


def test_cooccurrence_distance():
    vectors = np.array([[[0.0, 0.0], [3.0, 4.0], [0.0, 8.0]], [[1.0, 1.0], [1.0, 1.0], [7, 7]]])
    assert cooccurrence_distance(vectors, MASK) == pytest.approx((5 + 8 + 5 + 0) / 4)
