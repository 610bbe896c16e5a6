"""The bench of the training step: its parts, its arithmetic and what it is measured against."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import tensorflow as tf

from training.bench import step_parts
from training.bench.ceiling import measured_ceilings, seconds_of
from training.bench.joint_step import build_joint_step, random_table


@pytest.mark.thorough
def test_every_figure_is_there_and_consistent(config_file, tiny_world, rgan):
    words = ("bench", "train", config_file, "--data", tiny_world.folder)
    reply = rgan(*words, "--steps", 1, "--repetitions", 2)
    assert reply.code == 0, reply.err
    result = json.loads(reply.out)
    parts = result["part_milliseconds"]
    assert set(parts) == {
        "retrieval",
        "generator",
        "discriminators",
        "optimizer",
        "guard",
        "input",
        "checkpoint",
    }
    assert all(value > 0 for value in parts.values())
    seconds, batch = result["step_seconds"], result["batch_size"]
    assert result["images_per_second"] == pytest.approx(batch / seconds, rel=0.01)
    assert result["achieved_gflops"] == pytest.approx(result["step_gflop"] / seconds, rel=0.3)
    # A step differentiates two generated images of each scene, and judges them beside the real one.
    assert result["step_gflop"] > 4 * batch * result["generator_gflop_per_image"]
    assert 0 < result["share_of_ceiling"] < 1
    assert result["guard_share"] == pytest.approx(parts["guard"] / 1e3 / seconds, rel=0.05)
    every = 500  # training.checkpoint_every_steps
    share = parts["checkpoint"] / 1e3 / (every * seconds)
    assert result["checkpoint_share"] == pytest.approx(share, rel=0.05, abs=1e-5)


def test_every_part_runs(tiny_config, tiny_world, eagerly, monkeypatch):
    """Each reaches into the model, whose parts move: all of them once, as they stand today."""
    results = {}

    def once(work, repetitions):
        results[len(results)] = float(work())
        return 1.0

    monkeypatch.setattr(step_parts, "seconds_of", once)
    model, batches, _ = build_joint_step(
        tiny_config, tiny_world, random_table(tiny_config, tiny_world), weights_dir=None
    )
    average = [variable.numpy() for variable in model.average.trainable_variables]
    parts = step_parts.part_seconds(model, next(iter(batches)), 1)
    assert list(parts) == ["retrieval", "generator", "discriminators", "optimizer", "guard"]
    assert np.isfinite(list(results.values())).all()
    assert all(results[part] for part in range(3))  # sums of gradients
    pairs = zip(average, model.average.trainable_variables, strict=True)
    assert any((before != after.numpy()).any() for before, after in pairs)


def test_a_known_duration_is_measured():
    def work():
        time.sleep(0.02)
        return tf.constant(1.0)

    assert 0.02 <= seconds_of(work, repetitions=3) < 0.2


def test_ceilings_are_numbers_of_this_machine():
    ceilings = measured_ceilings()
    assert set(ceilings) == {"matmul", "convolution"}
    assert all(1 < value < 1e7 for value in ceilings.values())
