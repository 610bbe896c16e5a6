"""Sums come out the same to the bit, whatever else a machine does beside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.fixed_order import FixedOrderTape, sum_of
from tests.sums import widest_sum


@pytest.fixture(scope="module")
def different_results():
    """How many results each kind of sum had: mode -> name -> number.

    Both programs run at once: they wait most of the time, and not for one another.
    """
    program = Path(__file__).parent / "repeated_sums.py"
    running = {
        mode: subprocess.Popen(
            [sys.executable, str(program), mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for mode in ("fixed", "free")
    }
    found = {}
    for mode, process in running.items():
        out, err = process.communicate()
        assert process.returncode == 0, err.decode()
        found[mode] = json.loads(out)
    return found


def test_sums_are_the_same_while_other_readers_are_early_or_late(different_results):
    assert set(different_results["fixed"].values()) == {1}


def test_without_a_fixed_order_they_are_not(different_results):
    """All three kinds: `tf.add_n`, a sum that TensorFlow makes one of, and a plain tape."""
    assert min(different_results["free"].values()) > 1


def test_sum_is_that_of_the_terms():
    terms = [tf.constant([1.0, 2.0]), tf.constant([10.0, 20.0]), tf.constant([100.0, 200.0])]
    np.testing.assert_array_equal(sum_of(terms), [111.0, 222.0])


def gradients_of(tape_of, **options):
    """Of a product that uses one number three times, another twice, and a third not at all."""
    x, unused = tf.Variable(2.0), tf.Variable(5.0)
    y = tf.constant(3.0)

    @tf.function
    def work():
        with tape_of(persistent=True) as tape:
            tape.watch(y)
            z = x * x * x * y + y
        return [*tape.gradient(z, [x, unused], **options), tape.gradient(z, y)]

    return work


@pytest.mark.parametrize("tape_of", [tf.GradientTape, FixedOrderTape])
def test_gradients_are_those_of_the_plain_tape(tape_of):
    work = gradients_of(tape_of, unconnected_gradients="zero")
    np.testing.assert_allclose(work(), [3 * 2.0**2 * 3.0, 0.0, 2.0**3 + 1])
    with FixedOrderTape() as tape:
        x = tf.Variable(2.0)
        z = x**3  # without a function around it
    assert float(tape.gradient(z, x)) == pytest.approx(12.0)


def test_a_source_without_influence_has_none():
    x, unused = tf.Variable(2.0), tf.Variable(5.0)

    @tf.function
    def work():
        with FixedOrderTape() as tape:
            z = x * x
        gradient, nothing = tape.gradient(z, [x, unused])
        assert nothing is None
        return gradient

    assert float(work()) == 4.0


def test_only_the_fixed_tape_has_no_wide_sums():
    def traced(tape_of):
        def work(x):
            with tape_of() as tape:
                tape.watch(x)
                y = tf.exp(x)
                z = y * tf.sin(y) + tf.cos(y) * tf.tanh(y)
            return tape.gradient(z, x)

        return tf.function(work).get_concrete_function(tf.TensorSpec([3]))

    assert widest_sum(traced(FixedOrderTape)) == 2
    assert widest_sum(traced(tf.GradientTape)) > 2
