"""A rival is a config: it trains, resumes and is judged by the commands of every system."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rgan_tf.config_files import config_from_dict
from rgan_tf.errors import BadInput
from rgan_tf.rivals.registry import rival_networks
from rgan_tf.runs import create_run, load_weights, open_run, save_weights
from tests.conftest import TINY
from training.api import train
from training.compare.systems import trainable_weights


def weights_of(folder) -> list[np.ndarray]:
    run = open_run(str(folder))
    networks = rival_networks(run.config, run.vocabulary)
    load_weights(run, "retrievegan", networks, system=run.config.training.system)
    return [variable.numpy() for variable in networks.variables]


def told_by_names(data, split: str) -> int:
    """How many scenes of the tiny config's size have no relationship, one after another."""
    triples = data.scenes(split, config_from_dict(TINY).data).triples
    return sum(not any(subject >= 0 for subject, _, _ in scene) for scene in triples)


@pytest.fixture
def rival_folder(tiny_settings, tiny_world, tmp_path):
    """Makes a run of a rival with random weights."""

    def make(system: str):
        tiny_settings["training"]["system"] = system
        config = config_from_dict(tiny_settings)
        run = create_run(tmp_path / system, config, tiny_world)
        save_weights(run, "retrievegan", rival_networks(config, run.vocabulary), steps=0)
        return run.folder

    return make


@pytest.mark.timeout(300)
def test_what_a_rival_is_not_judged_by_is_refused(rival_folder, rgan):
    folder = rival_folder("attngan")
    assert trainable_weights(open_run(str(folder))) == 1_510_040  # of its generators, 8 to 32 px
    for words, reason in (
        (("--only", "layout"), "has diversity, images"),
        (("--only", "retrieval"), "has diversity, images"),
        (("--without-repeats",), "--without-repeats: --run"),
        (("--without-noise",), "--without-noise: --run"),
        (("--choice", "nearest"), "--choice: --run"),
        (("--system", "sg2im"), "--system sg2im: a run with training.system=attngan has attngan"),
    ):
        before = sorted(folder.rglob("*"))
        reply = rgan("eval", "--run", folder, "--split", "val", *words)
        assert reply.code == 2 and reason in reply.err and reply.err.count("\n") == 1, reply.err
        assert sorted(folder.rglob("*")) == before


@pytest.mark.thorough
@pytest.mark.timeout(900)  # three trainings, on a loaded machine
@pytest.mark.parametrize("system", ["sg2im", "layout2im", "pastegan", "attngan"])
def test_a_rival_trains_resumes_and_is_judged(
    trained_folder, tmp_path, config_file, tiny_world, rgan, system
):
    def train(folder, steps: int):
        settings = [f"training.system={system}", f"training.steps={steps}"]
        words = ["--data", tiny_world.folder, "--run", folder, "--stages-from", trained_folder]
        words += [word for setting in settings for word in ("--set", setting)]
        words += ["--set", "sg2im.steps=3", "--set", "cooccurrence.steps=3"]
        return rgan("train", config_file, *words)

    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for folder, steps in ((straight, 3), (stopped, 1), (stopped, 3)):
        reply = train(folder, steps)
        assert reply.code == 0, reply.err
        assert json.loads(reply.out)["retrievegan"]["steps"] == steps
    assert "resuming from" in reply.err
    for a, b in zip(weights_of(straight), weights_of(stopped), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert {path.stem for path in (straight / "pictures").iterdir()} == {f"{system}-0000003"}

    reply = rgan("eval", "--run", straight, "--only", "diversity", "--split", "val")
    assert reply.code == 0, reply.err
    metrics = json.loads(reply.out)["val"]
    for layout in ("predicted", "true"):
        (name,) = (
            name
            for name in metrics
            if name.startswith(f"{system}/{layout}_boxes/") and "interval" not in name
        )
        assert metrics[name] > 0  # the samples differ: by noise, by code or by patch
    if system == "attngan":  # which reads no boxes
        first, second = (
            {key.split("/")[2]: value for key, value in metrics.items() if f"/{layout}_" in key}
            for layout in ("predicted", "true")
        )
        assert first == second
    reply = rgan("bench", "rival", "--run", straight, "--data", tiny_world.folder)
    if system == "sg2im":  # nothing but what its losses say
        assert reply.code == 2 and "training.system=sg2im; these checks are for" in reply.err
    else:
        assert reply.code == 0, reply.err
        figures = {k: v for k, v in json.loads(reply.out).items() if k.endswith("_count")}
        assert figures and min(figures.values()) > 0

    reply = rgan("eval", "--run", straight, "--only", "retrieval", "--split", "val")
    assert reply.code == 2 and "a run with training.system" in reply.err
    assert metrics.get("scenes_told_by_names") == (
        told_by_names(tiny_world, "val") if system == "attngan" else None
    )
    reply = rgan("eval", "--run", straight, "--only", "layout", "--split", "val")
    if system in ("sg2im", "pastegan"):
        assert "layout/box_iou" in json.loads(reply.out)["val"]
    else:  # which predict no boxes
        assert (
            reply.code == 2 and f"--only layout: a run with training.system={system}" in reply.err
        )


def test_weights_of_another_system_are_refused(trained):
    with pytest.raises(BadInput, match="training.system=retrievegan, and this needs layout2im"):
        load_weights(trained, "retrievegan", None, system="layout2im")


def test_what_a_rival_cannot_use_is_refused(tiny_settings, tiny_world, tmp_path):
    tiny_settings["training"]["system"] = "layout2im"
    config = config_from_dict(tiny_settings)
    with pytest.raises(BadInput, match="has its own losses and takes no retriever"):
        train(config, tiny_world, tmp_path / "run", retriever=object())
    assert not (tmp_path / "run").exists()
    tiny_settings["training"]["precision"] = "bfloat16"
    with pytest.raises(BadInput, match="layout2im is computed in float32"):
        config_from_dict(tiny_settings)
    tiny_settings["training"] |= {"precision": "float32", "system": "sg2im"}
    tiny_settings["data"]["image_size"] = 48
    with pytest.raises(BadInput, match="training.system=sg2im needs data.image_size"):
        config_from_dict(tiny_settings)
    tiny_settings["training"]["system"] = "pastegan"
    tiny_settings["data"]["image_size"] = 32
    tiny_settings["retrieval"] |= {"candidates": 2}
    with pytest.raises(BadInput, match="pastegan draws from 3 candidates.* got 2 and 32"):
        config_from_dict(tiny_settings)
    tiny_settings["retrieval"] |= {"candidates": 3, "exact_candidates": 2, "loaded_candidates": 2}
    with pytest.raises(BadInput, match="pastegan draws from 3 candidates.* got 3 and 2"):
        config_from_dict(tiny_settings)
    tiny_settings["training"]["system"] = "layout2im_style"
    with pytest.raises(BadInput, match="must be one of retrievegan, sg2im, layout2im"):
        config_from_dict(tiny_settings)
