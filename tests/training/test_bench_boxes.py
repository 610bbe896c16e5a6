"""The bench of the box predictor."""

from __future__ import annotations

import json

import numpy as np
import pytest

from training.bench.box_training import drop_relations
from training.bench.boxes import VARIANTS


@pytest.mark.thorough
def test_every_variant_is_judged(config_file, tiny_world, rgan):
    words = ("bench", "boxes", config_file, "--data", tiny_world.folder, "--steps", 3)
    reply = rgan(*words, "--batch-size", 4)
    assert reply.code == 0, reply.err
    result = json.loads(reply.out)
    for name in VARIANTS:
        assert 0 <= result[name]["box_iou"] <= 1
        assert result[name]["box_count"] == result["plain"]["box_count"]
    # The same seed, and yet not the same predictor.
    assert result["plain"]["box_iou"] != result["overlap"]["box_iou"]
    assert rgan(*words, "--keep", 0).code == 2


def test_an_object_loses_all_of_its_relations_or_none():
    triples = np.array([[[0, 1, 1], [1, 2, 2], [2, 3, 3], [-1, -1, -1]]] * 200, np.int32)
    dropped = drop_relations(triples, 0.5, np.random.default_rng(0))
    assert (dropped[:, 3] == -1).all()
    kept = (dropped[:, :3, 0] >= 0).mean(axis=0)
    np.testing.assert_allclose(kept, 0.25, atol=0.08)  # both ends have to keep theirs
    np.testing.assert_array_equal(dropped[dropped >= 0], triples[dropped >= 0])
    same = drop_relations(triples, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(same, triples)
