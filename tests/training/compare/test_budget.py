"""Steps of equal cost, by counts that are given."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from rgan_tf.config import Config, changed
from rgan_tf.config_files import config_from_dict
from rgan_tf.registered_names import RIVALS
from training.bench import step_flops
from training.compare.budget import damsm_gflop, embedding_gflop, step_gflops, steps_of_equal_cost
from training.compare.entries import entries_of


def test_a_rival_of_half_the_cost_has_twice_the_steps(monkeypatch, tmp_path):
    counted = []

    def gflop(config, data, *, weights_dir):
        counted.append(config.training.system)
        return {"retrievegan": 100.0, "sg2im": 50.0, "layout2im": 80.0}[config.training.system]

    monkeypatch.setattr(step_flops, "training_gflop", gflop)
    data, path = SimpleNamespace(fingerprint="f"), tmp_path / "out" / "counts.json"

    def steps(count, *overrides):
        systems = ["retrievegan", "sg2im", "layout2im", "graph_nearest", "pasted_canvas"]
        settings = [f"training.steps={count}", *overrides]
        found = step_gflops("procedural_64", settings, systems, data, path, weights_dir=None)
        assert steps_of_equal_cost({}, count) == {}
        return steps_of_equal_cost(found, count)

    assert steps(200) == {"sg2im": 400, "layout2im": 250}
    assert counted == ["retrievegan", "sg2im", "layout2im"]
    # Another length costs as much a step, and what is counted stays counted.
    assert steps(1) == {"sg2im": 2, "layout2im": 1}
    assert steps(300) == {"sg2im": 600, "layout2im": 375}
    assert len(counted) == 3 and len(json.loads(path.read_text())) == 3
    steps(200, "retrieval.embedding_steps=9", "retrieval.embedding_scenes=4")  # no joint ones
    assert len(counted) == 3
    steps(200, "training.batch_size=4")
    assert len(counted) == 6


def test_the_stage_of_phi_counts_for_the_rivals(tiny_config):
    config = changed(
        tiny_config,
        data={"max_objects": 2},
        retrieval={
            "candidates": 3,
            "embedding_sizes": (3, 2),
            "embedding_steps": 10,
            "embedding_scenes": 5,
        },
    )
    # 10 steps of 5 * 2 * (1 + 3) patches, 4 * 3 + 3 * 2 weights of 6 operations each.
    assert embedding_gflop(config, 4) == pytest.approx(10 * 40 * 18 * 6 / 1e9)
    frozen = changed(config, retrieval={"embedding_start": "frozen"})
    # The 4 * 2 components are not learned.
    assert embedding_gflop(frozen, 4) == pytest.approx(10 * 40 * (18 * 6 + 8 * 2) / 1e9)
    assert embedding_gflop(changed(config, retrieval={"embedding_steps": 0}), 4) == 0
    gflops = {"retrievegan": 100.0, "sg2im": 50.0}
    assert steps_of_equal_cost(gflops, 10, besides=500.0) == {"sg2im": 30}


def test_the_images_that_attngans_encoders_read_are_counted(tiny_config, monkeypatch):
    monkeypatch.setattr(  # a network of one operation per number
        "training.compare.budget.frozen_features", lambda: lambda image: image * 2.0
    )
    of_attngan = changed(
        tiny_config,
        training={"system": "attngan"},
        data={"image_size": 16},
        attngan={"damsm_steps": 5, "damsm_batch_size": 3},
    )
    assert damsm_gflop(of_attngan) == pytest.approx(5 * 3 * 16 * 16 * 3 / 1e9)
    assert damsm_gflop(tiny_config) == 0


@pytest.mark.thorough
@pytest.mark.parametrize("system", RIVALS)
def test_operations_of_a_rivals_step_are_counted(system, tiny_settings, tiny_world):
    def gflop(rows):
        settings = tiny_settings["training"] | {"system": system, "batch_size": rows}
        config = config_from_dict(tiny_settings | {"training": settings})
        return step_flops.training_gflop(config, tiny_world, weights_dir=None)

    few, many = gflop(2), gflop(4)
    assert 0 < few < many < 2.2 * few


def test_an_entry_has_the_steps_of_its_system():
    entries = entries_of(
        {"c": Config()}, ["retrievegan", "sg2im"], joint_steps={"c": {"sg2im": 99}}
    )
    assert entries[0].steps == Config().training.steps and entries[1].steps == 99
    assert "training.steps=99" in entries[1].settings
