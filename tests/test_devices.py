"""Memory of GPUs and what is compiled for them, with a `tf.config` that pretends to have some."""

from __future__ import annotations

import dataclasses
import logging

import pytest
import tensorflow as tf

import rgan_tf
from export import saved_model, saved_model_loading
from rgan_tf.backbones import load_backbone
from rgan_tf.config_files import config_from_dict
from rgan_tf.devices import compiles, grow_gpu_memory
from training import workers


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs, by name: whether their memory grows."""
    grows = {f"/physical_device:GPU:{number}": False for number in range(2)}
    devices = [tf.config.PhysicalDevice(name, "GPU") for name in grows]
    listed = tf.config.list_physical_devices

    def listed_with_gpus(kind=None):
        return devices if kind == "GPU" else listed(kind)

    config = tf.config.experimental
    monkeypatch.setattr(tf.config, "list_physical_devices", listed_with_gpus)
    monkeypatch.setattr(tf.config, "get_visible_devices", listed_with_gpus)
    monkeypatch.setattr(config, "get_memory_growth", lambda gpu: grows[gpu.name])
    monkeypatch.setattr(config, "set_memory_growth", lambda gpu, on: grows.update({gpu.name: on}))
    return grows


def test_memory_of_every_gpu_grows(gpus):
    grow_gpu_memory()
    assert list(gpus.values()) == [True, True]


def test_without_a_gpu_nothing_is_set(monkeypatch):
    def refuse(*_):
        raise AssertionError("memory growth of a CPU")

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    grow_gpu_memory()


@pytest.mark.parametrize("error", [RuntimeError("initialized"), ValueError("virtual devices")])
def test_a_gpu_that_is_in_use_or_divided_stays_as_it_is(gpus, error, monkeypatch, caplog):
    def refuse(gpu, on):
        raise error

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    with caplog.at_level(logging.INFO):
        grow_gpu_memory()
    assert [str(error) in message for message in caplog.messages] == [True, True]


def test_what_is_set_already_is_not_set_again(gpus, monkeypatch):
    gpus.update(dict.fromkeys(gpus, True))
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", None)  # a call would fail
    grow_gpu_memory()


class _FirstUse(Exception):
    """Raised by what would touch a GPU first."""


def _train(patch, folder):
    patch.setattr(tf.distribute, "MirroredStrategy", _first_use)
    workers.start_workers()


def _evaluate(patch, folder):
    patch.setattr("training.evaluation.evaluate.open_run", _first_use)
    rgan_tf.evaluate("RUN")


def _export(patch, folder):
    patch.setattr(saved_model, "build_sg2im_networks", _first_use)
    run = type("Run", (), {"config": None, "vocabulary": None})
    saved_model.build_served_model(run, None, None)


def _serve(patch, folder):
    patch.setattr(tf.saved_model, "load", _first_use)
    model = type("Model", (), {"manifest": {}, "folder": folder})
    saved_model_loading.load_saved_model(model)


def _prepare(patch, folder):
    patch.setattr("rgan_tf.backbones.backbone.Backbone", _first_use)
    load_backbone("mobilenet_v2")


def _first_use(*_, **__):
    raise _FirstUse


@pytest.mark.parametrize("entry", [_train, _evaluate, _export, _serve, _prepare])
def test_every_way_in_sets_it_before_a_gpu_is_used(gpus, entry, monkeypatch, tmp_path):
    with pytest.raises(_FirstUse):
        entry(monkeypatch, tmp_path)
    assert list(gpus.values()) == [True, True]


def config_with(**sections):
    return config_from_dict(sections)


def test_steps_are_compiled_where_a_gpu_is(gpus, monkeypatch):
    assert config_with().training.jit_compile == "auto"
    assert compiles(config_with())
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [])
    assert not compiles(config_with())


@pytest.mark.parametrize("wish", [True, False])
@pytest.mark.parametrize("has_gpu", [True, False])
def test_what_the_user_says_is_done(gpus, monkeypatch, wish, has_gpu):
    if not has_gpu:
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [])
    assert compiles(config_with(training={"jit_compile": wish})) is wish


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"training": {"system": "layout2im"}}, False),  # no test compiles its whole step
        ({"training": {"deterministic": True}}, False),
        ({"retrieval": {"choice": "nearest"}}, False),
        ({"retrieval": {"candidates": 33}}, False),  # reads the host's memory
        ({"retrieval": {"candidates": 33}, "data": {"bank_on_device": True}}, True),
        ({"training": {"precision": "bfloat16", "recompute": True}}, True),
    ],
    ids=str,
)
def test_steps_that_no_test_compiles_are_left_alone(gpus, sections, expected):
    assert compiles(config_with(**sections)) is expected


def test_a_perceptual_network_of_ones_own_is_left_alone(gpus):
    config = config_with()
    losses = dataclasses.replace(config.losses, perceptual_backbone="registered_by_a_plugin")
    assert compiles(config)
    assert not compiles(dataclasses.replace(config, losses=losses))
