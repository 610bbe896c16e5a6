"""The cache of embeddings: what is refreshed when, its age, replicas and checkpoints."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.retrieval.cache import EmbeddingCache


def stamped(cache: EmbeddingCache, steps: int) -> list[np.ndarray]:
    """Cached values before each step, where an embedding is the number of updates at that time."""
    updates = tf.Variable(0.0)
    cache.fill(lambda ids: tf.fill([tf.size(ids), 2], updates), block=3)
    seen = []
    for step in range(steps):
        seen.append(cache.vectors.numpy()[:, 0])
        updates.assign_add(1.0)  # the optimiser
        cache.refresh(tf.constant(step), lambda ids: tf.fill([tf.size(ids), 2], updates))
    return seen


@given(st.integers(1, 40), st.integers(1, 15))
@settings(max_examples=25)
def test_no_vector_is_ever_older_than_allowed_and_age_says_how_old(rows, max_age):
    cache = EmbeddingCache(rows=rows, width=2, max_age_steps=max_age)
    oldest = 0
    for step, values in enumerate(stamped(cache, 2 * max_age + 3)):
        age = step - values
        np.testing.assert_array_equal(cache.age(tf.range(rows), tf.constant(step)), age)
        assert age.max() < max_age
        oldest = max(oldest, age.max())
    assert oldest == -(-rows // cache.rows_per_step) - 1  # and no more is refreshed than needed


def test_rows_are_a_function_of_the_step_and_wrap_around():
    cache = EmbeddingCache(rows=10, width=2, max_age_steps=3)
    rows = [cache.rows_of_step(tf.constant(step, tf.int64)).numpy().tolist() for step in range(4)]
    assert rows == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1], [2, 3, 4, 5]]
    far = cache.rows_of_step(tf.constant(2**40, tf.int64)).numpy()
    assert far.tolist() == [(4 * 2**40 + i) % 10 for i in range(4)]


def test_only_the_rows_of_the_step_change():
    cache = EmbeddingCache(rows=10, width=2, max_age_steps=3)
    cache.fill(lambda ids: tf.zeros([tf.size(ids), 2]))
    cache.refresh(tf.constant(2), lambda ids: tf.cast(tf.stack([ids, ids], 1), tf.float16) + 1)
    assert cache.vectors.numpy()[:, 0].tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 9, 10]


def test_lookup_has_no_gradient_and_takes_padding():
    cache = EmbeddingCache(rows=3, width=1, max_age_steps=3)
    cache.fill(lambda ids: tf.cast(ids, tf.float32)[:, None])
    with tf.GradientTape() as tape:
        tape.watch(cache.vectors)
        found = cache.lookup(tf.constant([[2, -1], [1, 0]]))
        loss = tf.reduce_sum(found)
    assert found.numpy()[..., 0].tolist() == [[2, 0], [1, 0]]
    assert tape.gradient(loss, cache.vectors) is None
    assert cache.trainable_variables == ()


def test_every_replica_holds_the_same_vectors(two_replicas):
    with two_replicas.scope():
        kernel = tf.Variable(2.0)
        cache = EmbeddingCache(rows=5, width=1, max_age_steps=2)

    asked = []

    def embed(ids):
        asked.append(ids.shape[0])
        return kernel * tf.cast(ids, tf.float32)[:, None]

    cache.fill(embed)
    asked.clear()

    @tf.function
    def step(number):
        def replica_step():
            cache.refresh(number, embed)
            return cache.lookup(tf.range(5))

        return two_replicas.run(replica_step)

    kernel.assign(3.0)
    expected = [[0, 3, 6, 6, 8], [0, 3, 6, 9, 12]]
    for number in range(2):
        for values in two_replicas.experimental_local_results(step(tf.constant(number))):
            assert values.numpy()[:, 0].tolist() == expected[number]
    assert asked == [2, 2]  # of three rows a step; the second replica asks for the last one twice


_EIGHT = """
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 8)
from rgan_tf.retrieval.cache import EmbeddingCache

def vectors(strategy):
    with strategy.scope():
        kernel = tf.Variable(1.0)
        cache = EmbeddingCache(rows=50, width=3, max_age_steps=5)
    asked = []

    def embed(ids):
        asked.append(ids.shape[0])
        columns = [tf.cast(ids + shift + 1, tf.float32) for shift in range(3)]
        return kernel * tf.stack(columns, axis=1)

    @tf.function
    def step(number):
        strategy.run(lambda: cache.refresh(number, embed))

    for number in range(7):
        kernel.assign(2.0 + number)
        step(tf.constant(number))
    copies = [copy.numpy() for copy in strategy.experimental_local_results(cache.vectors)]
    return copies, asked

eight, asked = vectors(tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(8)]))
(one,), whole = vectors(tf.distribute.get_strategy())
assert len(eight) == 8 and all((copy == one).all() for copy in eight) and one.all()
assert set(asked) == {2} and set(whole) == {10}, (asked, whole)  # of ten rows a step
"""


@pytest.mark.thorough
def test_eight_replicas_refresh_an_eighth_each_and_hold_what_one_does():
    subprocess.run([sys.executable, "-c", _EIGHT], check=True, timeout=250)


def test_more_replicas_than_rows(two_replicas):
    with two_replicas.scope():
        cache = EmbeddingCache(rows=3, width=1, max_age_steps=3)

    @tf.function
    def step(number):
        def replica_step():
            cache.refresh(number, lambda ids: tf.cast(ids, tf.float32)[:, None] + 5)
            return cache.lookup(tf.range(3))

        return two_replicas.run(replica_step)

    for values in two_replicas.experimental_local_results(step(tf.constant(1))):
        assert values.numpy()[:, 0].tolist() == [0, 6, 0]


def test_checkpoint_brings_the_vectors_back(tmp_path):
    def make():
        return EmbeddingCache(rows=4, width=2, max_age_steps=2)

    cache = make()
    cache.fill(lambda ids: tf.random.stateless_normal([tf.size(ids), 2], [1, 2]))
    path = tf.train.Checkpoint(cache=cache).save(str(tmp_path / "state"))
    other = make()
    tf.train.Checkpoint(cache=other).restore(path).assert_consumed()
    np.testing.assert_array_equal(other.vectors, cache.vectors)


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"width": 0}, {"max_age_steps": 0}])
def test_sizes_must_be_positive(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        EmbeddingCache(**{"rows": 4, "width": 2, "max_age_steps": 2, **wrong})
