"""`rgan export`: the check in another process, and what is refused before it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from types import SimpleNamespace

import pytest
import tensorflow as tf

from export import saved_model
from export.commands import export
from export.model_folder import EXTRA, open_model
from export.publishing.publish import publish
from export.publishing.serving_files import FILES
from export.signatures import GENERATE
from rgan_tf.backbones import load_backbone
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.runs import create_run
from rgan_tf.vocabulary import Vocabulary


def arguments(run, out, data=None, index="exact", name="retrievegan"):
    return argparse.Namespace(
        run=str(run), out=str(out), data=data, bank=None, weights_dir=None, index=index, name=name
    )


def test_what_travels_with_the_model(exported):
    model = exported.model
    assert model.version == "1" and model.folder == exported.version
    assert model.vocabulary == exported.run.vocabulary
    assert model.sizes == exported.served.sizes
    assert model.licences == exported.codes and model.sizes.licences == 3
    assert model.manifest["index"] == "exact" and "note" not in model.manifest
    assert model.manifest["weights"] == exported.run.fingerprint()
    rows = exported.data.bank.rows
    assert len(model.provenance) == len(rows)
    y0, x0, y1, x1 = rows[7]["box"]
    shown = {key: rows[7][key] for key in ("category", "source", "image_id", "licence", "url")}
    assert model.provenance[7] == {**shown, "box": [x0, y0, x1, y1]}
    assert "style" not in json.dumps(model.provenance[0])  # for evaluation only


def test_an_endpoint_is_traced_once_and_written_with_its_variables(tmp_path):
    weight, traces = tf.Variable([2.0]), []

    def times_weight(x):
        traces.append(x)
        return {"y": x * weight}

    spec = tf.TensorSpec([None], tf.float32, name="x")
    function = tf.function(times_weight, input_signature=[spec])
    saved_model.write_saved_model(tmp_path / "model", {GENERATE: function})
    weight.assign([0.0])  # of this process, no longer of the folder
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    assert loaded.signatures[GENERATE](x=tf.constant([3.0]))["y"].numpy() == [6.0]
    assert function(tf.constant([3.0]))["y"].numpy() == [0.0]
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("saved_model.pb", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!")),
        (f"{EXTRA}/provenance.jsonl", lambda path: path.write_text("")),
        ("variables/variables.data-00000-of-00001", lambda path: path.write_bytes(b"short")),
        (f"{EXTRA}/vocabulary.json", lambda path: path.unlink()),
        (f"{EXTRA}/licences.json", lambda path: path.write_text("[]")),
    ],
)
def test_damage_is_found_and_named(exported, tmp_path, name, change):
    model = tmp_path / "model"
    shutil.copytree(exported.folder, model)
    change(model / "1" / name)
    with pytest.raises(CorruptData, match=name):
        open_model(model)


def test_folders_without_a_model_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no exported model"):
        open_model(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(BadInput, match="name a model written by rgan export"):
        open_model(tmp_path)


def test_a_model_that_needs_another_package_is_not_published(exported, tmp_path):
    """The child fails on loading; the parent says why and leaves nothing."""

    def write(folder):
        shutil.copytree(exported.version, folder, dirs_exist_ok=True)
        (folder / "saved_model.pb").write_bytes(b"\x00 not a graph")

    with pytest.raises(saved_model.CheckFailed, match="in another process"):
        publish(
            tmp_path / "model",
            write,
            lambda folder: saved_model.check_fresh(folder, None, exported.model.sizes),
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_a_model_that_answers_otherwise_is_not_published(exported):
    def other(*fields):
        reply = exported.functions[GENERATE](*fields)
        return {**reply, "patch_ids": reply["patch_ids"] + 1}

    functions = {**exported.functions, GENERATE: other}
    with pytest.raises(saved_model.CheckFailed, match="serving_default retrieves other patches"):
        saved_model.check_fresh(exported.version, functions, exported.served.sizes)


@pytest.mark.parametrize(("said", "grows"), [(None, "true"), ("false", "false")])
def test_the_checking_process_shares_a_gpu_unless_told_otherwise(
    exported, said, grows, monkeypatch
):
    seen = {}

    def run(*_, env, **__):
        seen.update(env)
        raise saved_model.subprocess.TimeoutExpired("check", 1)

    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    if said:
        monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", said)
    monkeypatch.setattr(saved_model.subprocess, "run", run)
    with pytest.raises(saved_model.CheckFailed):
        saved_model.check_fresh(exported.version, None, exported.model.sizes)
    assert seen["TF_FORCE_GPU_ALLOW_GROWTH"] == grows
    assert seen["PATH"]  # the rest is passed on


def test_the_next_export_is_version_2(exported, monkeypatch, tmp_path):
    # Building, writing and checking have tests of their own, and take their time.
    written = shutil.ignore_patterns(EXTRA)

    def write(folder, _):
        shutil.copytree(exported.version, folder, ignore=written, dirs_exist_ok=True)

    served = SimpleNamespace(
        sizes=exported.model.sizes,
        scale=exported.model.scale,
        search=SimpleNamespace(packages=(), describe=lambda: {"index": "exact"}),
        functions=dict,
    )
    monkeypatch.setattr(saved_model, "write_saved_model", write)
    monkeypatch.setattr(saved_model, "build_served_model", lambda *_: (served, exported.codes))
    monkeypatch.setattr(saved_model, "check_fresh", lambda *_, **__: None)
    model = tmp_path / "model"
    shutil.copytree(exported.folder, model)
    result = export.main(arguments(exported.run.folder, model))
    assert result["version"] == 2 and result["path"] == str(model / "2")
    assert result["index"] == "exact"
    assert result["patches"] == len(exported.data.bank) and result["megabytes"] > 1
    assert open_model(model).version == "2" and open_model(model / "1").version == "1"
    assert result["serving"]["written"] == list(FILES) and result["serving"]["kept"] == []
    assert sorted(path.name for path in (model / "serving").iterdir()) == sorted(FILES)
    # The stock image cannot load a model with ScaNN's operations.
    scann = export.main(arguments(exported.run.folder, tmp_path / "scann", index="scann"))
    assert scann["serving"] is None and not (tmp_path / "scann" / "serving").exists()


def refused(exported, tmp_path, run=None, data=None, out=None, **options):
    with pytest.raises(BadInput) as caught:
        export.main(
            arguments(run or exported.run.folder, out or tmp_path / "model", data, **options)
        )
    assert not (tmp_path / "model").exists()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_does_not_fit_is_refused(exported, tmp_path, monkeypatch):
    assert "not a run folder" in refused(exported, tmp_path, run=tmp_path / "nowhere")
    assert "has no manifest" in refused(exported, tmp_path, data=str(tmp_path))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    assert "holds no version" in refused(exported, tmp_path, out=tmp_path / "full")
    assert "--name 'a/b'" in refused(exported, tmp_path, name="a/b")

    untrained = create_run(tmp_path / "untrained", exported.run.config, exported.data)
    assert "stage sg2im has no weights" in refused(exported, tmp_path, run=untrained.folder)

    released = tmp_path / "released"
    shutil.copytree(exported.run.folder, released)
    record = json.loads((released / "run.json").read_text())
    (released / "run.json").write_text(json.dumps({**record, "data": None}))
    assert "--data" in refused(exported, tmp_path, run=released)

    other = Vocabulary.from_categories([*exported.run.vocabulary.categories, "zebra"])
    (released / "run.json").write_text(json.dumps(record))
    (released / "vocabulary.json").write_text(json.dumps(other.to_json()))
    assert "another vocabulary" in refused(exported, tmp_path, run=released)

    config = exported.run.config
    ruled = dataclasses.replace(
        config, retrieval=dataclasses.replace(config.retrieval, choice="nearest")
    )
    nearest = create_run(tmp_path / "nearest", ruled, exported.data)
    assert "retrieval.choice=nearest" in refused(exported, tmp_path, run=nearest.folder)


def test_a_model_compares_patches_of_requests_by_the_weights_of_its_bank(exported, monkeypatch):
    """Else own patches would lie in another space than those that they are compared with."""
    backbone = load_backbone(exported.data.backbone)
    other = SimpleNamespace(features=lambda images: 2.0 * backbone.features(images))
    monkeypatch.setattr(saved_model, "load_backbone", lambda *_: other)
    with pytest.raises(BadInput, match="bank: its features were made with other weights of mobile"):
        saved_model.build_served_model(exported.run, exported.data.bank, None)
