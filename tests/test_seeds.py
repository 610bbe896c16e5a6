"""Random streams: a function of seed, step, replica and purpose, and of nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.seeds import Purpose, derive_row_seeds, derive_seed


def test_every_argument_changes_the_seed():
    seeds = {
        arguments: tuple(derive_seed(*arguments).numpy())
        for arguments in itertools.product((0, 1, 7), (0, 1, 2), (0, 1), Purpose)
    }
    assert len(set(seeds.values())) == len(seeds)


def test_step_and_replica_do_not_trade_places():
    a = derive_seed(3, 1, 2, Purpose.SHUFFLE).numpy()
    b = derive_seed(3, 2, 1, Purpose.SHUFFLE).numpy()
    assert (a != b).any()


@pytest.mark.parametrize("kind", [tf.int32, tf.int64])
def test_same_in_a_graph_with_variables_and_as_numbers(kind):
    step = tf.Variable(5, dtype=tf.int64)

    @tf.function
    def traced(replica):
        return derive_seed(tf.constant(9, kind), step, replica, Purpose.GUMBEL_NOISE)

    plain = derive_seed(9, 5, 1, Purpose.GUMBEL_NOISE)
    assert plain.dtype == tf.int32 and plain.shape == [2]
    np.testing.assert_array_equal(traced(tf.constant(1)), plain)


def test_is_the_same_on_every_machine_and_in_every_version():
    # A released run would draw other patches if these numbers moved.
    seed = derive_seed(0, 0, 0, Purpose.GUMBEL_NOISE)
    np.testing.assert_array_equal(seed, [-1608068325, 0])


def test_streams_of_two_purposes_are_unrelated():
    draws = [
        tf.random.stateless_normal([4096], derive_seed(0, 0, 0, purpose)).numpy()
        for purpose in (Purpose.GUMBEL_NOISE, Purpose.SEED_PATCH)
    ]
    assert abs(np.corrcoef(*draws)[0, 1]) < 0.06


def test_a_row_depends_on_itself_only():
    rows = np.array([3, 1, 3, -5, 2**31 - 1], np.int64)
    seeds = derive_row_seeds(rows, Purpose.GUMBEL_NOISE)
    assert seeds.dtype == tf.int32 and seeds.shape == [5, 2]
    order = [4, 2, 0, 1, 3]
    shuffled = derive_row_seeds(rows[order], Purpose.GUMBEL_NOISE)
    np.testing.assert_array_equal(shuffled, seeds.numpy()[order])
    assert len({tuple(row) for row in seeds.numpy()}) == 4  # the two equal rows are equal
    other = derive_row_seeds(rows, Purpose.SEED_PATCH)
    assert (seeds.numpy() != other.numpy()).any(axis=1).all()


def test_purposes_are_distinct_and_keep_their_numbers():
    numbers = {purpose.name: purpose.value for purpose in Purpose}
    assert len(set(numbers.values())) == len(numbers)
    # Another number would give another run for the same seed.
    assert numbers == {
        "GUMBEL_NOISE": 1,
        "SEED_PATCH": 2,
        "SELECTION_ANCHOR": 3,
        "SHUFFLE": 6,
        "AUGMENTATION": 7,
        "IMAGE_AUGMENTATION": 8,
        "CROP_AUGMENTATION": 9,
        "PREDICTED_BOXES": 10,
        "RELIT_PATCHES": 11,
        "EXCHANGED_PATCHES": 12,
        "INCOMPLETE_SCENES": 13,
        "FEATURE_MIXING": 16,
        "LAYOUT_NOISE": 17,
        "PRIOR_CODE": 18,
        "POSTERIOR_CODE": 19,
        "OBJECT_ORDER": 20,
        "PATCH_CHOICE": 30,
        "TRIPLE_ORDER": 31,
        "WORD_DROPOUT": 32,
        "CONDITION_NOISE": 33,
        "IMAGE_NOISE": 34,
        "WRONG_TEXT": 35,
        "RELATIONS": 36,
        "HALF_SIZE_PATCHES": 37,
    }
