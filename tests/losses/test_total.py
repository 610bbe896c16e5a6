from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.losses.total import weighted_sum


def test_hand_worked_sum_per_example():
    terms = {"box": tf.constant([1.0, 2.0]), "selection": tf.constant([10.0, 20.0])}
    total = weighted_sum(terms, {"box": 10.0, "selection": 0.1, "unused": 5.0})
    np.testing.assert_allclose(total, [11.0, 22.0], rtol=1e-6)


def test_weight_zero_switches_a_term_off_even_if_it_is_nan():
    terms = {"box": tf.constant([1.0]), "broken": tf.constant([np.nan])}
    np.testing.assert_array_equal(weighted_sum(terms, {"box": 2.0, "broken": 0.0}), [2.0])
    assert np.isnan(weighted_sum(terms, {"box": 2.0, "broken": 1.0}).numpy()).all()


def test_a_term_without_weight_and_no_term_at_all_are_refused():
    with pytest.raises(ValueError, match="no weight for bxo"):
        weighted_sum({"bxo": tf.zeros([1])}, {"box": 1.0})
    with pytest.raises(ValueError, match="every weight is 0 among box"):
        weighted_sum({"box": tf.zeros([1])}, {"box": 0.0})
