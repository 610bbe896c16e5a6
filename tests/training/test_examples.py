"""The docstrings' examples that train, draw with a whole model, or need files, on small ones."""

from __future__ import annotations

import dataclasses
import inspect
import re

import numpy as np
import pytest
import yaml
from PIL import Image

import rgan_tf
from rgan_tf import registered_names
from rgan_tf.annotations.visual_genome import GenomeFilter
from rgan_tf.backbones import networks
from rgan_tf.model.networks import build_cooccurrence_embedding
from rgan_tf.runs import save_weights
from rgan_tf.storage.image import encode_png
from tests.annotations.test_visual_genome import HEIGHT, SMALL, WIDTH, GenomeWriter
from tests.export.conftest import make_run
from tests.test_front_door import LONG


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_world, tiny_settings):
    """A working folder in which every name of the examples is something small."""
    (tmp_path / "DATA").symlink_to(tiny_world.folder)
    for section in ("sg2im", "cooccurrence", "training"):
        tiny_settings[section]["steps"] = 1
    # A file comes before the shipped config of its name.
    (tmp_path / "procedural_64").write_text(yaml.safe_dump(tiny_settings))
    (tmp_path / "MY_PATCHES" / "tree").mkdir(parents=True)
    own = 255 - tiny_world.bank.crops[0]
    (tmp_path / "MY_PATCHES" / "tree" / "1.png").write_bytes(encode_png(own))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def genome(place, monkeypatch):
    """Five images, and a filter that keeps their names: each has to be there thousands of times."""
    writer = GenomeWriter(place / "VG")
    for split, number in (("train", 5), ("train", 3), ("train", 4), ("val", 20), ("test", 30)):
        writer.add(split, number)
    for entry in writer.images:
        path = writer.root / "images" / "/".join(entry["url"].split("/")[-2:])
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(entry["image_id"]).integers(0, 256, (HEIGHT, WIDTH, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    writer.close()
    monkeypatch.setattr(GenomeFilter.__init__, "__defaults__", dataclasses.astuple(SMALL))


@pytest.fixture
def registered(monkeypatch):
    """What is registered is forgotten at the end."""
    monkeypatch.setattr(networks, "SPECS", dict(networks.SPECS))
    for name in ("FEATURE_BACKBONES", "PERCEPTUAL_BACKBONES"):
        monkeypatch.setattr(registered_names, name, list(getattr(registered_names, name)))


@pytest.fixture
def run(place, tiny_config, tiny_world):
    """Of random weights: the stages of the example of `train` would take longer than it."""
    made = make_run(place / "RUN", tiny_config, tiny_world)
    cooccurrence = build_cooccurrence_embedding(tiny_config, made.feature_size)
    save_weights(made, "cooccurrence", cooccurrence, steps=0)


NEEDS = {
    "RetrieveGAN": (),
    "RetrieveGAN.from_released": (),
    "add_to_bank": (),
    "compare": ("eagerly", "calls"),
    "evaluate": ("run",),
    "read_visual_genome": ("genome",),
    "register_backbone": ("registered",),
    "train": ("eagerly",),
    "rgan_tf": (),
}
"""Fixtures of an example; `rgan_tf` is that of the package itself."""


@pytest.mark.thorough
@pytest.mark.parametrize("name", NEEDS)
def test_the_example_runs(name, place, request):
    for fixture in NEEDS[name]:
        request.getfixturevalue(fixture)
    value = rgan_tf
    for part in name.split(".") if name != "rgan_tf" else ():
        value = getattr(value, part)
    (example,) = re.findall(r"```python\n(.*?)```", inspect.getdoc(value), flags=re.S)
    exec(compile(inspect.cleandoc(example), name, "exec"), {"__name__": "example"})


def test_no_example_is_left_out():
    assert LONG <= set(NEEDS)
