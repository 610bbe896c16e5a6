"""A bank in the device's memory reads the same bits as one on the host."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.bank.resident_reader import ResidentReader, resident_bytes
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.vocabulary import Vocabulary

ROWS, SIZE, WIDTH, RELATED = 7, 16, 5, 3


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("bank") / "bank"
    shape = {"crop_size": SIZE, "feature_size": WIDTH}
    vocabulary = Vocabulary.from_categories(["thing"])
    with PatchBankWriter(folder, **shape, backbone="random", vocabulary=vocabulary) as writer:
        writer.append(
            rng.integers(0, 256, [ROWS, SIZE, SIZE, 3], np.uint8),
            rng.normal(size=[ROWS, WIDTH]),
            [{"category_id": 2, "image_id": row, "style": ""} for row in range(ROWS)],
        )
    bank = PatchBank.open(folder)
    related = rng.normal(size=[ROWS, RELATED]).astype(np.float32)
    return [kind(bank, related, crop_size=8) for kind in (PatchReader, ResidentReader)]


@pytest.mark.parametrize("compiled", [False, True])
def test_equal_bits_and_zeros_without_a_patch(readers, compiled):
    host, resident = readers
    ids = tf.constant([[0, 6, -1], [3, 3, -1]])
    read = tf.function(
        lambda rows: (*resident.load(rows), resident.features(rows)), jit_compile=compiled
    )
    expected = (*host.load(ids), host.features(ids))
    for ours, theirs in zip(read(ids), expected, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        np.testing.assert_array_equal(ours, theirs)
        assert not ours.numpy()[:, 2].any() and ours.numpy()[:, 0].any()


def test_the_host_reader_cannot_be_compiled(readers):
    with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)):
        tf.function(readers[0].features, jit_compile=True)(tf.constant([0]))


def test_memory_by_hand(readers):
    # 8 x 8 x 3 bytes of pixels, 5 features of 2 bytes, 3 numbers of 4 bytes: 214 a patch.
    assert resident_bytes(readers[1].bank, RELATED, crop_size=8) == 7 * 214
