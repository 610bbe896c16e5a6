"""`rgan bench cost`: what a step computes, from a config alone."""

from __future__ import annotations

import json

import pytest


@pytest.mark.thorough
def test_the_counts_of_a_tiny_config(rgan, config_file):
    reply = rgan("bench", "cost", config_file, "--categories", 5)
    assert reply.code == 0, reply.err
    result = json.loads(reply.out)
    # The first stage draws one image of a scene, the joint stage two.
    assert result["gflop_per_scene"] > result["sg2im_gflop_per_scene"] > 0.001
    # Image 32 x 32 x 3 x 4 bytes; 6 objects x 5 crops of 16 x 16 x 3 bytes; 6 x 5 features of 1,008
    # numbers; 6 x 4 co-occurrence vectors of 8; the rest is below 2 kB.
    by_hand = 12_288 + 30 * 768 + 30 * 1008 * 4 + 24 * 8 * 4
    assert result["input_megabytes_per_scene"] * 1e6 == pytest.approx(by_hand, abs=6000)
    weights = result["million_weights"]
    state = 4 * (4 * weights["generator_side"] + 3 * weights["discriminators"])
    assert result["state_megabytes"] == pytest.approx(state, abs=1)


def test_refusals(rgan, config_file):
    reply = rgan("bench", "cost", config_file, "--categories", 0)
    assert reply.code == 2 and "--categories" in reply.err
    reply = rgan("bench", "cost", config_file, "--set", "retrieval.candidates=64")
    assert reply.code == 2 and "exact_candidates" in reply.err
    reply = rgan("bench", "cost", config_file, "--set", "training.system=sg2im")
    assert reply.code == 2 and "training.system=sg2im: only RetrieveGAN's step" in reply.err
