"""`rgan eval` on the tiny run."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import rgan_tf
from rgan_tf import released
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.retrieval.learned import LearnedRetriever
from rgan_tf.runs import create_run
from training.evaluation.protocol import Protocol
from training.evaluation.run import evaluate_split


@pytest.fixture
def no_outside_weights(monkeypatch, color_backbone):
    """The distances need a whole network, whose weights are not in the repository."""
    for module in ("judges", "diversity"):
        name = f"training.evaluation.{module}.load_backbone"
        monkeypatch.setattr(name, lambda *names: color_backbone)


@pytest.fixture
def evaluate(trained, tmp_path, rgan, no_outside_weights):
    """Evaluates everything into a folder of that name; returns the result."""

    def run(name: str) -> dict:
        reply = rgan("eval", "--run", trained.folder, "--out", tmp_path / name, "--seed", 3)
        assert reply.code == 0, reply.err
        return json.loads(reply.out)

    return run


@pytest.mark.thorough
def test_everything_twice_is_the_same(evaluate):
    assert evaluate("first") == evaluate("second")


def test_everything(trained, tmp_path, evaluate, tiny_world):
    metrics = evaluate("out")["val"]
    count = tiny_world.record_count("val")
    for name in ("retrievegan/predicted", "first_stage/predicted", "pasted_canvas/predicted"):
        assert metrics[f"{name}_boxes/fd_colors_{count}_val"] >= 0
    for name in ("layout/relation_score", "retrieval/learned/style_agreement"):
        assert 0 <= metrics[name] <= 1
    assert "cooccurrence/same_image_auc" in metrics
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    judged = {"weights": trained.fingerprint(), "data": tiny_world.fingerprint}
    assert json.loads(lines[0]) == {"split": "val", "step": 3, **judged, **metrics}
    assert (tmp_path / "out" / "pictures" / "eval-val-0000003.png").exists()
    assert not (trained.folder / "metrics.jsonl").exists()


@pytest.fixture
def lonely(tiny_world, tiny_config) -> Counter:
    """Objects of the training scenes whose category no other image has, by category."""
    bank, rows = tiny_world.bank, tiny_world.scenes("train", tiny_config.data).patch_rows
    counts = Counter(
        bank.vocabulary.object_name(int(bank.category_ids[row]))
        for row in rows[rows >= 0]
        if not (
            (bank.category_ids == bank.category_ids[row]) & (bank.image_ids != bank.image_ids[row])
        ).any()
    )
    assert counts, "the world has no category that is in one image only"
    return counts


def test_objects_of_other_categories_are_counted_in_training(trained, lonely):
    record = trained.stage_record("retrievegan")
    assert record["other_category_objects"] == lonely
    assert record["fallback_objects"] == sum(lonely.values())


@pytest.mark.thorough
def test_objects_of_other_categories_are_counted_by_category(
    trained, rgan, lonely, tmp_path, caplog
):
    words = ("--split", "train", "--only", "retrieval", "--without-repeats")
    reply = rgan("eval", "--run", trained.folder, "--out", tmp_path, *words)
    assert reply.code == 0, reply.err
    assert json.loads(reply.out)["train"]["other_category_objects"] == lonely
    (line,) = [line for line in caplog.messages if "patches of other categories" in line]
    for name, count in list(lonely.most_common(3)):
        assert f"{name} ({count})" in line


@pytest.mark.parametrize(
    ("choice", "repeats", "line"),
    [
        ("own", False, "--without-repeats: the choice own retrieves no patches"),
        ("noise", True, "--only retrieval: the choice noise takes no patches"),
    ],
)
def test_of_a_stand_in_that_retrieves_nothing_no_retrieval_is_measured(
    tiny_config, choice, repeats, line
):
    retrieval = dataclasses.replace(tiny_config.retrieval, choice=choice)
    run = SimpleNamespace(
        config=dataclasses.replace(tiny_config, retrieval=retrieval), vocabulary=None
    )
    with pytest.raises(BadInput, match=line):
        evaluate_split(
            run,
            None,
            Protocol("val", seed=0, resamples=0),
            tasks=("retrieval",),
            compared=None,
            metric_backbone="none",
            diversity_network="none",
            weights_dir=None,
            batch_size=4,
            picture_scenes=1,
            repeats=repeats,
        )


@pytest.mark.thorough  # the next one is its smallest part
def test_another_choice_rule_or_noise_stay_out_of_the_run(
    copied, rgan, tiny_world, no_outside_weights
):
    words = ("eval", "--run", copied, "--data", tiny_world.folder, "--only", "images")

    def distance(system: str, *more: str) -> float:
        reply = rgan(*words, "--system", system, "--resamples", "0", *more)
        assert reply.code == 0, reply.err
        (value,) = (
            value
            for name, value in json.loads(reply.out)["val"].items()
            if name.startswith(f"{system}/true_boxes/fd_") and name.endswith("_val")
        )
        return value

    nearest = distance("graph_nearest", "--choice", "nearest")
    quiet = distance("retrievegan", "--without-noise")
    assert quiet == distance("retrievegan", "--without-noise", "--seed", "9")
    retrieval = (*words[:-1], "retrieval")
    assert rgan(*retrieval, "--without-repeats").code == 0
    assert not (copied / "metrics.jsonl").exists()
    learned = distance("retrievegan", "--choice", "learned")
    assert list((copied / "pictures").glob("eval-val-*"))
    assert (copied / "metrics.jsonl").exists()  # the run's own choice is the run's own result
    assert len({nearest, quiet, learned}) == 3


@pytest.mark.thorough
def test_without_repeats_it_stays_out_of_the_run(copied, rgan, tiny_world):
    words = ("eval", "--run", copied, "--data", tiny_world.folder, "--only", "retrieval")
    assert rgan(*words, "--without-repeats").code == 0
    assert not (copied / "metrics.jsonl").exists()
    assert rgan(*words).code == 0
    assert (copied / "metrics.jsonl").exists()  # the run's own choice is the run's own result


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"systems": []}, "systems: is empty; name at least one"),
        ({"systems": 5}, "systems: must be a list of texts, got 5"),
        ({"seed": 1.5}, "--seed 1.5: must be a whole number"),
        ({"resamples": "20"}, "--resamples '20': must be a whole number"),
        ({"batch_size": 2.0}, "--batch-size 2.0: must be a whole number"),
        ({"save_images": "x", "only": "layout"}, "--save-images x: --only layout saves no images"),
        ({"systems": "retrievegan", "seed": np.int64(3)}, "not a run folder"),  # nothing else
    ],
)
def test_arguments_that_are_not_valid_are_refused_before_the_run_is_opened(
    tmp_path, options, message
):
    with pytest.raises(BadInput, match=message):
        rgan_tf.evaluate(tmp_path, **options)


def test_a_choice_that_nobody_registered_is_refused(copied, tiny_world):
    with pytest.raises(BadInput, match="--choice nearset: must be one of learned, .*RGAN_PLUGINS"):
        rgan_tf.evaluate(copied, tiny_world.folder, retriever="nearset")


@pytest.fixture
def begun(tmp_path, tiny_config, tiny_world):
    """A run without any weights: enough for what is refused before they are read."""
    return create_run(tmp_path / "begun", tiny_config, tiny_world).folder


@pytest.fixture
def judged(monkeypatch):
    """Collects how splits would be judged."""
    protocols = []

    def judge(run, data, protocol, **options):
        protocols.append(protocol)
        return {}, None

    monkeypatch.setattr("training.evaluation.evaluate.evaluate_split", judge)
    return protocols


def test_a_split_that_cannot_be_judged_is_told_before_another_is(
    begun, judged, tiny_world, tmp_path, monkeypatch
):
    (tmp_path / "images" / "test").mkdir(parents=True)
    with pytest.raises(BadInput, match="--save-images .*images: holds test already"):
        rgan_tf.evaluate(begun, tiny_world, split="all", save_images=tmp_path / "images")
    inner = PreparedData.record_count
    counts = {"test": 1}
    monkeypatch.setattr(
        PreparedData, "record_count", lambda data, split: counts.get(split) or inner(data, split)
    )
    one_line = "--split test: has one image, and a distance needs two; name another split"
    with pytest.raises(BadInput, match=one_line):
        rgan_tf.evaluate(begun, tiny_world, split="all")
    assert not judged
    rgan_tf.evaluate(begun, tiny_world, split="all", only="layout", noise=False)  # one will do
    assert [protocol.split for protocol in judged] == ["train", "val", "test"]


class Mine(rgan_tf.Retriever):
    name = "mine"

    def choose(self, candidates, options):
        raise AssertionError("nothing is judged here")


class MineOfItsName(LearnedRetriever):
    def choose(self, candidates, options):
        raise AssertionError("nothing is judged here")


def test_what_another_retriever_draws_stays_out_of_the_run(begun, judged, tiny_world):
    def written(retriever):
        rgan_tf.evaluate(begun, tiny_world, only="retrieval", retriever=retriever)
        found = (begun / "metrics.jsonl").exists()
        (begun / "metrics.jsonl").unlink(missing_ok=True)
        return found

    assert written("learned") and not written("nearest")
    assert not written(Mine())  # the run was trained with the learned one
    assert written(LearnedRetriever()) and not written(MineOfItsName())
    record = begun / "retrievegan" / "stage.json"
    record.parent.mkdir()
    weights = {"weights": "weights-3", "weights_sha256": "", "steps": 3}
    record.write_text(json.dumps({**weights, "own_retriever": "mine"}))
    assert written(Mine()) and not written("learned")
    assert len(judged) == 7


def test_data_that_was_moved_is_named_anew(begun, judged, tiny_world):
    record = json.loads((begun / "run.json").read_text())
    (begun / "run.json").write_text(json.dumps({**record, "data": str(begun / "moved")}))
    with pytest.raises(BadInput, match="its data was in .*moved, where nothing is now; .* --data"):
        rgan_tf.evaluate(begun)
    assert "val" in rgan_tf.evaluate(begun, tiny_world, noise=False)


def test_numbers_of_numpy_are_those_of_python(begun, judged, tiny_world):
    """TensorFlow does not add one of 32 bits to a tensor of 64."""
    result = rgan_tf.evaluate(
        begun, tiny_world, seed=np.int32(2), resamples=np.int64(4), noise=False
    )
    assert judged == [Protocol("val", seed=2, resamples=4)]
    values = (result["seed"], judged[0].seed, judged[0].resamples)
    assert {type(value) for value in values} == {int}


@pytest.mark.parametrize("made_by", ["a file on the way", "permission"])
def test_a_place_that_cannot_hold_results_is_told_before_any_computing(
    begun, judged, tiny_world, tmp_path, monkeypatch, made_by
):
    out = None
    if made_by == "permission":  # for users who may not write everywhere, as these tests may
        monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != begun)
    else:
        out = tmp_path / "file" / "results"
        out.parent.write_text("")
    with pytest.raises(BadInput, match=f"--out {out or begun}: .* name another folder"):
        rgan_tf.evaluate(begun, tiny_world, out=out)
    assert not judged
    # Where nothing is written nothing is asked for.
    assert rgan_tf.evaluate(begun, tiny_world, noise=False)["val"] == {}


@pytest.mark.thorough  # one task: the test without repeats
def test_one_task_of_every_split(copied, rgan, tiny_world, tmp_path):
    words = ("--split", "all", "--only", "cooccurrence", "--data", tiny_world.folder)
    reply = rgan("eval", "--run", copied, *words)
    assert reply.code == 0
    result = json.loads(reply.out)
    # By its opened data and from Python it is the same.
    options = {"split": "all", "only": "cooccurrence", "out": tmp_path / "out"}
    assert rgan_tf.evaluate(copied, tiny_world, **options) == result
    for split in ("train", "val", "test"):
        assert result[split]
        assert all(name.startswith("cooccurrence/") for name in result[split])
    lines = (copied / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["split"] for line in lines] == ["train", "val", "test"]
    assert not list(copied.glob("pictures/eval-*"))  # nothing was drawn


@pytest.mark.thorough
def test_whole_networks_give_distances_by_name(weights_dir, copied, rgan):
    reply = rgan("eval", "--run", copied, "--only", "images", "--weights-dir", weights_dir)
    assert reply.code == 0, reply.err
    metrics = json.loads(reply.out)["val"]
    assert any("fd_mobilenet_v2_" in name for name in metrics)
    assert metrics["frechet_is_biased"] is True


def test_a_released_run_is_named_and_left_alone(copied, rgan, monkeypatch, tiny_world):
    monkeypatch.setattr(released, "FOLDER", copied.parent)
    record = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps({**record, "data": None}))
    before = sorted(copied.rglob("*"))
    name = f"released:{copied.name}"
    reply = rgan("eval", "--run", name, "--only", "cooccurrence")
    assert reply.code == 2 and "name a prepared folder with --data" in reply.err
    reply = rgan("eval", "--run", name, "--only", "cooccurrence", "--data", tiny_world.folder)
    assert reply.code == 0, reply.err
    assert sorted(copied.rglob("*")) == before


def test_data_with_other_names_is_refused(copied, rgan):
    path = copied / "vocabulary.json"
    path.write_text(path.read_text().replace('"tree"', '"trolley"'))
    reply = rgan("eval", "--run", copied)
    assert reply.code == 2 and "another vocabulary" in reply.err.splitlines()[-1]
    assert not (copied / "metrics.jsonl").exists()


def test_refusals(copied, rgan, tmp_path, tiny_world):
    cases = [
        (("--run", tmp_path / "none"), 2, "not a run folder"),
        (("--run", "released:none"), 2, "no such released run"),
        (("--run", "procedural_64"), 2, "did you mean released:procedural_64?"),
        (("--run", copied, "--data", tmp_path), 2, "manifest.json"),
        (("--run", copied, "--split", "most"), 2, "invalid choice"),
        (("--run", copied, "--metric-backbone", "vgg16"), 2, "vgg16"),
    ]
    for words, code, says in cases:
        reply = rgan("eval", *words)
        assert reply.code == code and says in reply.err.splitlines()[-1], reply.err
        assert "Traceback" not in reply.err
    # No networks are sought for a run that cannot be judged: that could be a download.
    for stage in ("retrievegan", "sg2im"):
        shutil.rmtree(copied / stage)
        reply = rgan("eval", "--run", copied)
        assert reply.code == 2 and f"stage {stage} has no weights" in reply.err


def test_a_network_that_cannot_be_had_is_told_before_any_computing(copied, rgan, offline):
    before = sorted(copied.rglob("*"))
    for words, says in (
        ((), "no mobilenet_v2_weights"),
        (("--metric-backbone", "inception_v3"), "no inception_v3_weights"),
        (("--only", "diversity", "--diversity-network", "lpips_alex"), "no lpips_v0.1/alex"),
    ):
        reply = rgan("eval", "--run", copied, *words)
        assert reply.code == 2, reply.err
        message = reply.err.splitlines()[-1]
        assert says in message and "--weights-dir or RGAN_WEIGHTS" in message
    assert sorted(copied.rglob("*")) == before


def test_damaged_weights(copied, rgan):
    (path,) = (copied / "retrievegan").glob("weights*.data*")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    reply = rgan("eval", "--run", copied, "--only", "layout")
    assert reply.code == 4 and path.name in reply.err.splitlines()[-1]
    assert not (copied / "metrics.jsonl").exists()


@pytest.mark.thorough  # test_everything has all of them, test_systems their names
def test_some_systems_only(copied, rgan, no_outside_weights):
    words = ("--only", "images", "--system", "own_patches", "--system", "first_stage")
    reply = rgan("eval", "--run", copied, *words)
    assert reply.code == 0, reply.err
    systems = {name.split("/")[0] for name in json.loads(reply.out)["val"] if "/" in name}
    assert systems == {"own_patches", "first_stage", "floor", "real"}
    reply = rgan("eval", "--run", copied, "--system", "dalle")
    assert reply.code == 2 and "invalid choice: 'dalle'" in reply.err
