"""Sums and gradients of equal terms, while other readers of the terms end early or late.

A program of its own, because the order is fixed for a whole process: `repeated_sums.py fixed|free`
prints how many different results came of it, as JSON.
"""

from __future__ import annotations

import collections
import json
import sys
import threading

import numpy as np
import tensorflow as tf

from rgan_tf.fixed_order import FixedOrderTape, fix_order_of_process, sum_of

TERMS, TURNS = 5, 12


def main(mode: str) -> None:
    """Runs all sums with the first readers done, and held up, in turns."""
    is_fixed = mode == "fixed"
    if is_fixed:
        fix_order_of_process()
    else:
        tf.config.experimental.enable_op_determinism()
    tape_of = FixedOrderTape if is_fixed else tf.GradientTape
    add = sum_of if is_fixed else tf.add_n
    tf.config.threading.set_inter_op_parallelism_threads(2 * TERMS)
    is_held, may_go_on = threading.Event(), threading.Event()

    def one(value, is_reader):
        if is_reader and is_held.is_set():
            may_go_on.wait(1.0)
        elif not is_reader and not is_held.is_set():
            may_go_on.wait(0.05)  # the readers are done by then
        return np.float32(1) + np.float32(0) * value

    def waits(value, *, is_reader):
        result = tf.numpy_function(one, [value[0], is_reader], tf.float32, stateful=False)
        return tf.ensure_shape(result, [])

    def with_readers(terms):
        """The terms, the last of which comes late, and what else reads the others."""
        readers = [tf.reduce_sum(waits(term, is_reader=True) * term) for term in terms[:-1]]
        return [*terms[:-1], terms[-1] * waits(terms[-1], is_reader=False)], readers

    factors = np.random.default_rng(0).normal(size=[TERMS, 400]).astype(np.float32)

    @tf.function
    def added(x):
        terms, readers = with_readers([tf.exp(x) * factor for factor in factors])
        return add(terms), readers

    @tf.function
    def written_out(x):
        terms, readers = with_readers([tf.exp(x) * factor for factor in factors])
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total, readers

    @tf.function
    def differentiated(x):
        readers = []

        def user(factor, is_late):
            @tf.custom_gradient
            def use(y):
                def gradient(upstream):
                    term = tf.sin(upstream * factor)
                    if is_late:
                        return term * waits(term, is_reader=False)
                    readers.append(tf.reduce_sum(waits(term, is_reader=True) * term))
                    return term

                return tf.sin(y), gradient

            return use

        with tape_of() as tape:
            tape.watch(x)
            y = tf.exp(x)
            uses = [user(f, index == TERMS // 2)(y) for index, f in enumerate(factors)]
            total = tf.reduce_sum(x * tf.stack(uses))
        return tape.gradient(total, x), readers

    x = tf.constant(np.random.default_rng(1).normal(size=400), tf.float32)
    found: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for function in (added, written_out, differentiated):
        name = function.python_function.__name__
        function(x)
        for turn in range(TURNS):
            may_go_on.clear()
            (is_held.set if turn % 2 else is_held.clear)()
            timer = threading.Timer(0.1, may_go_on.set)
            timer.start()
            result, _ = function(x)
            timer.join()
            found[name][result.numpy().tobytes()] += 1
    print(json.dumps({name: len(counts) for name, counts in found.items()}))


if __name__ == "__main__":
    main(sys.argv[1])
