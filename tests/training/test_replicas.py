"""Batch and rates that grow with the replicas."""

from __future__ import annotations

import dataclasses

import pytest
import tensorflow as tf

from rgan_tf.config_files import config_from_dict, load_config
from rgan_tf.errors import BadInput
from training.api import train
from training.configuration import at_most
from training.replicas import grown_with_replicas
from training.workers import Workers


@pytest.fixture(autouse=True)
def quick_backbone(monkeypatch, pooled_backbone):
    monkeypatch.setattr("training.api.load_backbone", lambda name, folder: pooled_backbone)


def scaling(config, rule, **others):
    training = dataclasses.replace(config.training, scale_with_replicas=rule, **others)
    return dataclasses.replace(config, training=training)


@pytest.mark.parametrize(
    ("rule", "replicas", "batch", "generator", "discriminator"),
    [
        ("none", 4, 4, 1e-3, 2e-3),
        ("linear", 1, 4, 1e-3, 2e-3),
        ("linear", 4, 16, 4e-3, 8e-3),
        ("sqrt", 4, 16, 2e-3, 4e-3),
        ("sqrt", 2, 8, 1.41421356e-3, 2.82842712e-3),
    ],
)
def test_the_rules(tiny_config, rule, replicas, batch, generator, discriminator):
    config = scaling(
        tiny_config, rule, generator_learning_rate=1e-3, discriminator_learning_rate=2e-3
    )
    grown = grown_with_replicas(config, replicas).training
    assert grown.batch_size == batch
    assert grown.generator_learning_rate == pytest.approx(generator)
    assert grown.discriminator_learning_rate == pytest.approx(discriminator)
    kept = dataclasses.replace(
        grown,
        scale_with_replicas=rule,
        batch_size=config.training.batch_size,
        generator_learning_rate=1e-3,
        discriminator_learning_rate=2e-3,
    )
    assert kept == config.training
    again = grown_with_replicas(dataclasses.replace(config, training=grown), 8)
    assert again.training == grown or rule == "none"  # once grown, the numbers are final


@pytest.fixture
def untrained(tiny_config):
    """Two replicas, no steps."""
    config = at_most(tiny_config, 1)
    sections = {
        name: dataclasses.replace(getattr(config, name), steps=0)
        for name in ("sg2im", "cooccurrence", "training")
    }
    return scaling(dataclasses.replace(config, **sections), "linear")


def with_replicas(monkeypatch, strategy):
    monkeypatch.setattr("training.api.start_workers", lambda: Workers(strategy, count=1, index=0))


def test_a_run_keeps_the_numbers_that_it_began_with(
    untrained, tiny_world, tmp_path, monkeypatch, two_replicas, capsys
):
    with_replicas(monkeypatch, two_replicas)
    train(untrained, tiny_world, tmp_path / "run")
    assert "2 replicas: training.batch_size is 8" in capsys.readouterr().err
    stored = load_config(tmp_path / "run" / "config.yaml")
    assert stored == grown_with_replicas(untrained, 2)
    assert stored.training.scale_with_replicas == "none"
    train(untrained, tiny_world, tmp_path / "run")  # the same command continues
    with_replicas(monkeypatch, tf.distribute.get_strategy())
    train(stored, tiny_world, tmp_path / "run")  # and so do its numbers on any machine
    with pytest.raises(BadInput, match="started with training.batch_size = 8, asked for now 4"):
        train(untrained, tiny_world, tmp_path / "run")


def test_what_makes_no_sense_is_refused(
    untrained, tiny_world, tiny_settings, tmp_path, monkeypatch, two_replicas
):
    with_replicas(monkeypatch, two_replicas)
    scenes = tiny_world.record_count("train")
    with pytest.raises(BadInput, match=f"fewer than one batch of {2 * scenes}"):
        train(scaling(untrained, "sqrt", batch_size=scenes), tiny_world, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    tiny_settings["training"] |= {"scale_with_replicas": "sqrt", "deterministic": True}
    with pytest.raises(BadInput, match="follow the machine.* set one of the two"):
        config_from_dict(tiny_settings)
