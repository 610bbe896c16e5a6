from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.metrics import precision_recall as module
from rgan_tf.metrics.precision_recall import precision_name, precision_recall, recall_name


def _line(*values):
    return np.array(values, np.float64)[:, None]


def _direct(generated, real, k):
    """The definition with loops."""

    def share_inside(points, owners):
        inside = 0
        for point in points:
            for index, owner in enumerate(owners):
                others = np.delete(owners, index, axis=0)
                radius = np.sort(np.linalg.norm(others - owner, axis=1))[k - 1]
                if np.linalg.norm(point - owner) <= radius:
                    inside += 1
                    break
        return inside / len(points)

    return share_inside(generated, real), share_inside(real, generated)


def test_hand_worked_on_a_line():
    # k = 1. Real 0, 1, 3 have the radii 1, 1, 2: together [-1, 5] is covered.
    # Generated 2, 6, 6.5 have the radii 4, 0.5, 0.5: [-2, 6] and [5.5, 7].
    precision, recall = precision_recall(_line(2, 6, 6.5), _line(0, 1, 3), neighbours=1)
    assert (precision, recall) == (pytest.approx(1 / 3), 1.0)
    # k = 2: the real radii are 3, 2, 3, so that 6 lies exactly on the rim of the ball about 3.
    precision, _ = precision_recall(_line(2, 6, 6.5), _line(0, 1, 3), neighbours=2)
    assert precision == pytest.approx(2 / 3)


def test_a_collapsed_generator_is_precise_and_covers_little():
    real = np.random.default_rng(0).normal(size=[100, 2])
    collapsed = real[:1] + np.random.default_rng(1).normal(size=[100, 2]) * 1e-3
    precision, recall = precision_recall(collapsed, real)
    assert precision > 0.95 and recall < 0.1
    assert precision_recall(real, collapsed) == (recall, precision)  # the roles swap


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_equal_sets_reach_one_and_distant_sets_zero(offset):
    features = np.random.default_rng(2).normal(size=[300, 16]) + offset
    assert precision_recall(features, features) == (1.0, 1.0)
    assert precision_recall(np.random.default_rng(3).permutation(features), features) == (1.0, 1.0)
    assert precision_recall(features + 100, features) == (0.0, 0.0)


def test_balls_of_radius_zero_hold_equal_features_only():
    rows = np.random.default_rng(4).normal(size=[9, 64]) * 100  # each often enough to have no ball
    generated, real = np.repeat(rows, 5, axis=0), np.tile(rows, [4, 1])
    assert precision_recall(generated, real) == (1.0, 1.0)
    assert precision_recall(generated + 1e-3, real) == (0.0, 0.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(5, 12), st.integers(5, 12), st.integers(1, 4))
def test_blocks_equal_the_definition(seed, count, real_count, k):
    rng = np.random.default_rng(seed)
    generated = rng.integers(0, 6, [count, 2]).astype(np.float64)  # many ties and duplicates
    real = rng.integers(0, 6, [real_count, 2]) + 0.5 * rng.integers(0, 2)
    expected = _direct(generated, real, k)
    whole_block = module._BLOCK_ROWS
    try:
        for rows in (3, whole_block):
            module._BLOCK_ROWS = rows
            assert precision_recall(generated, real, k) == pytest.approx(expected)
    finally:
        module._BLOCK_ROWS = whole_block


def test_memory_grows_with_the_features_and_not_with_their_pairs():
    features = np.random.default_rng(5).normal(size=[4000, 4])
    tracemalloc.start()
    precision_recall(features, features[::-1])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4000 * 4000 * 8 / 3  # a third of one matrix of distances


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ValueError, match="the 3 generated and 9 real features, got 3"):
        precision_recall(np.zeros([3, 2]), np.zeros([9, 2]))
    with pytest.raises(ValueError, match="got 0"):
        precision_recall(np.zeros([3, 2]), np.zeros([9, 2]), neighbours=0)
    with pytest.raises(ValueError, match=r"\[N, 2\], got \[9, 3\]"):
        precision_recall(np.zeros([9, 2]), np.zeros([9, 3]))
    with pytest.raises(ValueError, match="finite"):
        precision_recall(np.full([9, 2], np.inf), np.zeros([9, 2]))


def test_names_carry_the_protocol():
    assert precision_name("mobilenet_v2", 1000, 3, "val") == "precision_k3_mobilenet_v2_1k_val"
    assert recall_name("inception_v3", 1024, 3, "val") == "recall_k3_inception_v3_1024_val"
