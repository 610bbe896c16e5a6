"""Seeds for stateless random operations.

Every random number in the project is a function of (run seed, step, row of the batch, purpose)
alone: a run can stop at any step, resume and still draw the same numbers, and a batch can be split
over replicas in any way.
"""

from __future__ import annotations

import enum

import tensorflow as tf


class Purpose(enum.IntEnum):
    """The use of a random number; two purposes never share a stream.

    A value is never reused for another purpose, so that old runs can be repeated.
    """

    GUMBEL_NOISE = 1
    SEED_PATCH = 2
    SELECTION_ANCHOR = 3
    SHUFFLE = 6
    AUGMENTATION = 7
    IMAGE_AUGMENTATION = 8
    CROP_AUGMENTATION = 9
    PREDICTED_BOXES = 10
    RELIT_PATCHES = 11
    EXCHANGED_PATCHES = 12
    INCOMPLETE_SCENES = 13
    FEATURE_MIXING = 16
    LAYOUT_NOISE = 17
    PRIOR_CODE = 18
    POSTERIOR_CODE = 19
    OBJECT_ORDER = 20
    PATCH_CHOICE = 30
    TRIPLE_ORDER = 31
    WORD_DROPOUT = 32
    CONDITION_NOISE = 33
    IMAGE_NOISE = 34
    WRONG_TEXT = 35
    RELATIONS = 36
    HALF_SIZE_PATCHES = 37


def derive_seed(run_seed, step, replica, purpose: Purpose) -> tf.Tensor:
    """Mixes four integers into one stateless seed.

    Args:
      run_seed: integer scalar, the seed of the run or of one request row.
      step: integer scalar, the training step; 0 outside training.
      replica: integer scalar, the replica within the strategy; 0 outside training.
      purpose: the stream to draw from.

    Returns:
      [2] int32, usable as the `seed` of any `tf.random.stateless_*` function.
    """
    run_seed = tf.cast(run_seed, tf.int32)
    seed = tf.stack([run_seed, tf.constant(int(purpose), tf.int32)])  # [2]
    for part in (step, replica):
        seed = tf.random.experimental.stateless_fold_in(
            seed, tf.cast(part, tf.int32), alg="philox"
        )  # [2]; the generator is named, for the default one depends on the device
    return seed


def derive_batch_seeds(run_seed, step, purpose: Purpose, *, rows, first_row=0) -> tf.Tensor:
    """One seed for every row of a training batch, however it is split over replicas and parts.

    Args:
      run_seed, step: see `derive_seed`.
      purpose: the stream to draw from.
      rows: integer or int32 scalar, number of rows.
      first_row: index of the first row in the batch of all replicas.

    Returns:
      [rows, 2] int32. Row i has the same seed in batches of every size.
    """
    seeds = tf.random.stateless_uniform(
        [first_row + rows, 2],  # Philox draws a prefix of a longer sequence
        derive_seed(run_seed, step, 0, purpose),
        minval=None,
        maxval=None,
        dtype=tf.int32,
        alg="philox",
    )
    return seeds[first_row:]


def derive_row_seeds(row_seeds, purpose: Purpose) -> tf.Tensor:
    """One independent seed per row, so that a row never depends on its neighbours.

    Args:
      row_seeds: [B] int32.
      purpose: the stream to draw from.

    Returns:
      [B, 2] int32.
    """
    row_seeds = tf.cast(row_seeds, tf.int32)  # [B]
    return tf.stack([row_seeds, tf.fill(tf.shape(row_seeds), int(purpose))], axis=-1)  # [B, 2]
