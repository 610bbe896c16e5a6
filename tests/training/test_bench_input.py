"""`rgan bench input`: the input pipeline alone."""

from __future__ import annotations

import json

import pytest


def test_a_rate_and_the_size_of_a_batch(rgan, config_file, tiny_world):
    words = ("--data", tiny_world.folder, "--batches", 2, "--repetitions", 1)
    reply = rgan("bench", "input", config_file, *words)
    assert reply.code == 0, reply.err
    result = json.loads(reply.out)
    size = result["batch_size"]
    # Image 32 x 32 x 3 x 4 bytes; 6 objects x 5 crops of 16 x 16 x 3 bytes; 6 x 5 features of 1,008
    # numbers; 6 x 4 co-occurrence vectors of 8; the rest is below 2 kB.
    by_hand = size * (12_288 + 30 * 768 + 30 * 1008 * 4 + 24 * 8 * 4)
    assert result["batch_mb"] * 2**20 == pytest.approx(by_hand, abs=size * 2048 + 2**20 / 20)
    assert result["scenes_per_second"] > 0 and result["processor_ms"] > 0
