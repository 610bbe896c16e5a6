"""`rgan train` from the command line: three stages, stops, resumes, refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml

from rgan_tf.backbones import load_backbone
from rgan_tf.config_files import config_from_dict, config_to_dict, load_config
from rgan_tf.data.pipeline import WHOLE
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.model.networks import build_retrieval_networks
from rgan_tf.runs import STAGES, load_weights, open_run, training_lock
from training.configuration import CONFIG_FOLDER
from training.stages import retrievegan
from training.stages.sg2im import Sg2imTask

SHIPPED = sorted(path.stem for path in CONFIG_FOLDER.glob("*.yaml"))


def weights_of(folder: Path) -> list[np.ndarray]:
    run = open_run(str(folder))
    networks = build_retrieval_networks(run.config, run.vocabulary, run.feature_size)
    load_weights(run, "retrievegan", networks)
    return [variable.numpy() for variable in networks.variables]


def test_three_stages_leave_weights_figures_and_pictures(trained, tiny_world):
    for stage in STAGES:
        record = trained.stage_record(stage)
        assert record["steps"] == 3
        assert record["seconds"] > 0
        assert list((trained.folder / "logs" / stage).glob("events*"))
    assert 0 <= trained.stage_record("cooccurrence")["same_image_auc_train"] <= 1
    pictures = {path.name for path in (trained.folder / "pictures").iterdir()}
    drawn = ("sg2im", "retrievegan", "sources")
    assert pictures == {f"{name}-0000003.png" for name in drawn}
    assert trained.config.training.steps == 3  # --max-steps is part of the resolved config
    assert trained.data == tiny_world.folder.resolve()
    assert all(np.isfinite(value).all() for value in weights_of(trained.folder))


def test_tensorboard_has_every_loss_by_name(trained):
    tags = {
        value.tag
        for path in (trained.folder / "logs" / "retrievegan").glob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    nine = "selection cooccurrence adversarial_image adversarial_object reconstruction box"
    nine += " auxiliary perceptual_image perceptual_object"
    assert {f"loss/generator/{name}" for name in nine.split()} <= tags
    assert {"retrieval/temperature", "retrieval/scale", "retrievegan"} <= tags


def test_a_finished_run_is_left_as_it_is(trained, copied, tiny_world, rgan):
    config = copied / "config.yaml"
    before = {stage: trained.stage_record(stage) for stage in STAGES}
    files = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    for words in ((), ("--max-steps", 2)):
        reply = rgan("train", config, "--data", tiny_world.folder, "--run", copied, *words)
        assert reply.code == 0
        assert json.loads(reply.out) == {"run": str(copied), **before}
        assert f"--run {copied}: has the steps that are asked for; nothing to train" in reply.err
        assert {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()} == files


@pytest.mark.thorough
@pytest.mark.parametrize("redraw", [0, 2])
def test_stopped_and_continued_equals_never_stopped(
    trained_folder, tmp_path, config_file, tiny_world, rgan, monkeypatch, pooled_backbone, redraw
):
    """Stage 3 of 6 steps: at once, and stopped by SIGTERM after 3, which may be amid redraws."""
    monkeypatch.setattr("training.api.load_backbone", lambda *names: pooled_backbone)
    draws = []

    def stop_while_drawing(*arguments):
        draws.append(True)
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for folder in (straight, stopped):
        shutil.copytree(trained_folder, folder)
        shutil.rmtree(folder / "retrievegan")
        settings = yaml.safe_load((folder / "config.yaml").read_text())
        settings["retrieval"]["redraw_every_steps"] = redraw
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))

    def train(folder):
        words = ["--data", tiny_world.folder, "--run", folder]
        words += ["--set", f"retrieval.redraw_every_steps={redraw}"]
        words += ["--set", "training.steps=6", "--set", "training.picture_every_steps=2"]
        return rgan("train", config_file, *words)

    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(retrievegan, "joint_pictures", stop_while_drawing)
        reply = train(stopped)
    assert reply.code == 75
    assert draws == [True]
    assert "stopped by signal 15 at step 3 of 6" in reply.err.splitlines()[-1]
    assert reply.out == ""
    assert signal.getsignal(signal.SIGTERM) is handler
    assert open_run(str(stopped)).stage_record("retrievegan")["steps"] == 3

    if redraw:
        embeddings = stopped / "retrievegan" / "redraws" / "step-2.npy"
        kept = embeddings.read_bytes()
        embeddings.unlink()
        reply = train(stopped)
        assert reply.code == 4 and "step-2.npy: is missing" in reply.err.splitlines()[-1]
        embeddings.write_bytes(kept)
    reply = train(stopped)
    assert reply.code == 0 and "resuming from" in reply.err
    drawn = [f"drawn anew with the embedding of step {step}" in reply.err for step in (2, 4, 6)]
    assert drawn == [bool(redraw), bool(redraw), False]
    assert json.loads(reply.out)["retrievegan"]["steps"] == 6
    assert train(straight).code == 0
    three = weights_of(trained_folder)
    for once, twice, before in zip(weights_of(straight), weights_of(stopped), three, strict=True):
        np.testing.assert_allclose(twice, once, rtol=1e-5, atol=1e-6)
        assert before.shape == once.shape
    assert any((a != b).any() for a, b in zip(weights_of(straight), three, strict=True))


def test_batches_go_on_where_they_stopped(trained, tiny_world):
    def images(start):
        dataset = Sg2imTask(trained, tiny_world).batches(start, WHOLE, trained.config.training.seed)
        return [batch["image_id"].numpy().tolist() for batch in dataset.take(6 - start)]

    assert images(0)[3:] == images(3)
    assert len({tuple(ids) for ids in images(0)}) == 6


@pytest.mark.thorough
def test_divergence_is_reported_and_never_saved(tmp_path, config_file, tiny_world, rgan):
    words = ["--set", "training.generator_learning_rate=1e30", "--set", "sg2im.steps=6"]
    words += ["--set", "training.checkpoint_every_steps=1"]
    reply = rgan("train", config_file, "--data", tiny_world.folder, "--run", tmp_path / "r", *words)
    assert reply.code == 3 and reply.out == ""
    assert "not finite" in reply.err.splitlines()[-1]
    run = open_run(str(tmp_path / "r"))
    for prefix in (tmp_path / "r" / "sg2im").rglob("*.index"):
        reader = tf.train.load_checkpoint(str(prefix)[: -len(".index")])
        for name, kind in reader.get_variable_to_dtype_map().items():
            if kind.is_floating and "average" not in name:
                assert np.isfinite(reader.get_tensor(name)).all(), (prefix, name)
    assert run.stage_record("sg2im").get("steps", 0) < 6


@pytest.mark.parametrize("name", SHIPPED)
def test_dry_run_prints_the_resolved_config(name, rgan):
    reply = rgan("train", name, "--dry-run", "--set", "training.seed=5", "--max-steps", 7)
    assert reply.code == 0
    config = config_from_dict(json.loads(reply.out)["config"])
    expected = load_config(CONFIG_FOLDER / f"{name}.yaml")
    assert config.training.seed == 5
    assert config.training.steps == config.sg2im.steps == config.cooccurrence.steps == 7
    assert config.generator == expected.generator and config.name == name


@pytest.mark.parametrize("system", ["sg2im", "retrievegan"])
def test_settings_that_change_nothing_are_named(rgan, system):
    given = ("--set", f"training.system={system}", "--set", "generator.masks=true")
    reply = rgan("train", "procedural_64", "--dry-run", *given)
    line = "--set: nothing is changed by generator.masks with training.system=sg2im\n"
    assert reply.code == 0 and (line in reply.err) == (system == "sg2im")


def test_a_folder_named_as_a_shipped_config_is_not_a_config(rgan, tmp_path, monkeypatch):
    """A run is easily named after its config."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "procedural_64").mkdir()
    assert json.loads(rgan("train", "procedural_64", "--dry-run").out)["config"]


def test_max_steps_never_adds_steps(config_file, rgan):
    reply = rgan("train", config_file, "--dry-run", "--max-steps", 50)
    config = json.loads(reply.out)["config"]
    assert config["training"]["steps"] == 50  # of 100
    assert config["sg2im"]["steps"] == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["none.yaml"], "none.yaml: No such file"),
        (["procedural_65"], "faithful_64, procedural_64, street_64, vg_128; did you mean"),
        (["configs/procedural_64.yaml"], "did you mean 'procedural_64'?"),
        (["{data}"], "Is a directory"),
        (["{config}", "--set", "graph.wdth=3"], "unknown key graph.wdth"),
        (["{config}", "--set", "graph.width=wide"], "graph.width must be int"),
        (["{config}", "--max-steps", "0"], "--max-steps 0: must be at least 1"),
        (["{config}", "--max-steps", "x"], "invalid int value"),
        (["{config}", "--run", "{out}"], "--data and --run are needed"),
        (["{config}", "--data", "{data}"], "--data and --run are needed"),
        (["{config}", "--data", "{out}", "--run", "{out}"], "has no manifest.json"),
        (["{ok}", "--set", "training.batch_size=99"], "fewer than one batch of 99"),
        (["{ok}", "--set", "data.image_size=128"], "prepare with --size 128"),
        (["{ok}", "--set", "data.crop_size=128"], "data.crop_size to at most 64"),
        (["{ok}", "--set", "retrieval.backbone=squeezenet"], "--backbone squeezenet"),
        (["{ok}", "--set", "losses.perceptual_backbone=vgg19"], "--weights-dir or RGAN_WEIGHTS"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(
    words, says, config_file, tmp_path, tiny_world, rgan, offline
):
    out = tmp_path / "out"
    ok = [str(config_file), "--data", str(tiny_world.folder), "--run", str(out)]
    filled = []
    for word in words:
        part = word.format(config=config_file, data=tiny_world.folder, out=out, ok="{ok}")
        filled += ok if part == "{ok}" else [part]
    reply = rgan("train", *filled)
    assert reply.code == 2 and reply.out == ""
    assert re.search(re.escape(says), reply.err.splitlines()[-1]), reply.err
    assert "Traceback" not in reply.err
    assert not out.exists()


@pytest.mark.parametrize(
    "name", ["procedural_64", pytest.param("coco_mini_64", marks=pytest.mark.thorough)]
)
def test_the_small_configs_need_no_file_that_does_not_ship(name):
    config = load_config(CONFIG_FOLDER / f"{name}.yaml")
    distance = PerceptualDistance(load_backbone(config.losses.perceptual_backbone))
    assert distance(tf.ones([1, 64, 64, 3]), -tf.ones([1, 64, 64, 3])).numpy() > 0.1
    assert load_backbone(config.retrieval.backbone).feature_size > 1000


def test_no_network_is_sought_for_what_is_refused_anyway(
    copied, config_file, tiny_world, tmp_path, rgan
):
    """VGG-19 does not ship, so seeking it would be a download."""
    ask = ("train", config_file, "--data", tiny_world.folder)
    ask = (*ask, "--set", "losses.perceptual_backbone=vgg19")
    for words, says in (
        (("--run", copied), "losses.perceptual_backbone = mobilenet_v2, asked for now vgg19"),
        (("--run", config_file), "is a file; name a folder"),
        (("--run", "released:procedural_64"), "a released run cannot be trained further"),
        (
            ("--run", tmp_path / "new", "--stages-from", tmp_path),
            f"--stages-from {tmp_path}: not a run",
        ),
    ):
        reply = rgan(*ask, *words)
        assert reply.code == 2 and says in reply.err.splitlines()[-1], reply.err
    assert not (tmp_path / "new").exists()


def test_a_run_keeps_its_config_and_its_data(copied, config_file, tiny_world, tmp_path, rgan):
    before = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    ok = ("--data", tiny_world.folder, "--run", copied)
    reply = rgan("train", config_file, *ok, "--set", "graph.width=16")
    assert reply.code == 2 and "graph.width = 12, asked for now 16" in reply.err
    other = Path(shutil.copytree(tiny_world.folder, tmp_path / "other"))
    manifest = other / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"seed": 0', '"seed": 1', 1))
    reply = rgan("train", config_file, "--data", other, "--run", copied)
    assert reply.code == 2 and "other data" in reply.err
    assert {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()} == before


def test_a_damaged_earlier_stage_stops_the_next(copied, config_file, tiny_world, rgan):
    shutil.rmtree(copied / "retrievegan")
    (path,) = (copied / "sg2im").glob("weights*.data*")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    words = ("--data", tiny_world.folder, "--run", copied, "--max-steps", 3)
    reply = rgan("train", config_file, *words)
    assert reply.code == 4 and path.name in reply.err.splitlines()[-1]


def test_the_resolved_config_of_a_run_starts_the_same_run(trained):
    assert config_from_dict(config_to_dict(trained.config)) == trained.config
    assert load_config(trained.folder / "config.yaml") == trained.config


@pytest.mark.thorough
def test_the_first_two_stages_can_be_taken_from_another_run(
    trained_folder, config_file, tiny_world, tmp_path, rgan
):
    words = ("train", config_file, "--data", tiny_world.folder, "--run", tmp_path / "run")
    words = (*words, "--max-steps", 3, "--stages-from", trained_folder)
    result = rgan(*words, "--set", "losses.selection=0", "--set", "retrieval.candidates=3")
    assert result.code == 0, result.err
    source, ours = open_run(str(trained_folder)), open_run(str(tmp_path / "run"))
    for stage in ("sg2im", "cooccurrence"):
        ours_, theirs = ours.stage_record(stage), source.stage_record(stage)
        assert ours_["weights_sha256"] == theirs["weights_sha256"]
        assert ours_["taken_from"] == str(trained_folder)
    assert ours.stage_record("retrievegan")["steps"] == 3
    before = (tmp_path / "run" / "sg2im" / "stage.json").read_bytes()
    again = rgan(*words, "--set", "losses.selection=0", "--set", "retrieval.candidates=3")
    assert again.code == 0, again.err  # the same command continues
    assert (tmp_path / "run" / "sg2im" / "stage.json").read_bytes() == before


@pytest.mark.thorough
def test_stages_can_be_taken_as_they_are(trained_folder, config_file, tiny_world, tmp_path, rgan):
    """For sweeps of what all stages read: only the joint stage is trained with it."""
    words = ("train", config_file, "--data", tiny_world.folder, "--max-steps", 3)
    words = (*words, "--stages-from", trained_folder, "--run", tmp_path / "run")
    change = ("--set", "losses.adversarial_image=0.5")
    reply = rgan(*words, *change)
    assert reply.code == 2 and "add --as-they-are" in reply.err and not (tmp_path / "run").exists()
    reply = rgan(*words, *change, "--as-they-are", "--set", "graph.width=16")
    assert reply.code == 2 and "graph.width = 12" in reply.err and not (tmp_path / "run").exists()
    reply = rgan(*words, *change, "--as-they-are")
    assert reply.code == 0, reply.err
    record = open_run(str(tmp_path / "run")).stage_record("sg2im")
    assert record["as_they_are"] is True and record["taken_from"] == str(trained_folder)
    reply = rgan("train", config_file, "--as-they-are", "--dry-run")
    assert reply.code == 2 and "--stages-from" in reply.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--max-steps", 3, "--set", "graph.layers=1"), "graph.layers = 2"),
        (("--max-steps", 3, "--set", "losses.box=1"), "losses.box"),
        (
            ("--max-steps", 2),
            "stage sg2im has 3 steps, 2 are asked for; to take it, set sg2im.steps=3",
        ),
    ],
)
def test_stages_that_would_not_be_the_same_are_not_taken(
    words, message, trained_folder, config_file, tiny_world, tmp_path, rgan
):
    folder = tmp_path / "run"
    start = ("train", config_file, "--data", tiny_world.folder, "--run", folder)
    result = rgan(*start, "--stages-from", trained_folder, *words)
    assert result.code == 2
    assert message in result.err
    assert not folder.exists()


def test_two_processes_never_train_on_one_run(copied, config_file, tiny_world, rgan, eagerly):
    words = ("train", config_file, "--data", tiny_world.folder, "--run", copied)
    for setting in ("sg2im.steps=3", "cooccurrence.steps=3", "training.steps=4"):
        words = (*words, "--set", setting)
    before = (copied / "config.yaml").read_bytes()
    with training_lock(copied):
        refused = rgan(*words)
    assert refused.code == 2
    assert "another process" in refused.err
    # Nor does the second process change what the first one trains.
    assert (copied / "config.yaml").read_bytes() == before
    assert rgan(*words).code == 0  # free again
    assert (copied / "config.yaml").read_bytes() != before  # it would have been changed
