"""Patches read inside a graph are those of the bank."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.bank.patch_reader import PatchReader


@pytest.fixture
def reader(prepared):
    related = np.random.default_rng(0).normal(size=[len(prepared.bank), 3]).astype(np.float32)
    return PatchReader(prepared.bank, related, crop_size=8), related


def test_reads_what_the_bank_holds_also_in_a_graph(prepared, reader):
    reader, related = reader
    ids = np.array([[3, -1, 0], [5, 3, -1]], np.int32)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.int32)])
    def read(ids):
        patches, features = reader.load(ids), reader.features(ids)
        assert patches.crops.shape.as_list() == [None, 3, 8, 8, 3]
        assert features.shape.as_list() == [None, 3, 4]
        return patches, features

    patches, features = read(ids)
    np.testing.assert_array_equal(patches.crops, prepared.bank.crops_at(ids, 8))
    np.testing.assert_array_equal(features, prepared.bank.features_at(ids))
    np.testing.assert_array_equal(patches.cooccurrence[0, 0], related[3])
    for part in (patches.crops, patches.cooccurrence, features):
        assert not part.numpy()[ids < 0].any()
    assert len(reader) == len(prepared.bank)


def test_two_replicas_read_alike(prepared, reader, two_replicas):
    reader, _ = reader

    @tf.function
    def step():
        return two_replicas.run(lambda: reader.features(tf.range(4)))

    for values in two_replicas.experimental_local_results(step()):
        np.testing.assert_array_equal(values, prepared.bank.features_at(np.arange(4)))


def test_refuses_vectors_of_another_bank(prepared):
    with pytest.raises(ValueError, match="co-occurrence rows"):
        PatchReader(prepared.bank, np.zeros([2, 3]), crop_size=8)
