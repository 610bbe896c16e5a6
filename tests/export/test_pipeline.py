"""`rgan_tf.RetrieveGAN`: what an exported model answers, in Python; and what it refuses."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import rgan_tf
from rgan_tf.cli import main
from rgan_tf.errors import BadInput
from rgan_tf.storage.image import read_image

GRAPH = {"objects": ["sky", "grass"], "relationships": [[0, "above", 1]]}


@pytest.fixture(scope="module")
def of_run(exported):
    return rgan_tf.RetrieveGAN.from_run(exported.run, bank=exported.data.bank)


@pytest.fixture(scope="module")
def of_model(exported):
    return rgan_tf.RetrieveGAN.from_model(exported.folder)


def test_shapes_and_provenance(of_run, exported):
    result = of_run.generate(GRAPH, samples=3, seed=5)
    assert result.images.shape == (3, 32, 32, 3) and result.images.dtype == np.uint8
    assert result.boxes.shape == (3, 2, 4) and result.crops.shape == (3, 2, 16, 16, 3)
    for sample, patches in enumerate(result.patches):
        for position, patch in enumerate(patches):
            row = exported.data.bank.rows[patch["id"]]
            assert patch["category"] == GRAPH["objects"][position]
            assert (patch["source"], patch["licence"]) == (row["source"], row["licence"])
            crop = exported.data.bank.crops_at(np.array([patch["id"]]), 16)[0]
            np.testing.assert_array_equal(result.crops[sample, position], crop)
    assert result != of_run.generate(GRAPH, samples=3, seed=5)  # and no error of its arrays
    assert of_run.image_size == 32
    assert of_run.vocabulary.sha256() == exported.run.vocabulary.sha256()


@pytest.mark.usefixtures("loaded_once")
@pytest.mark.parametrize("mode", ["sample", "deterministic", "nearest"])
def test_run_exported_model_and_command_agree(of_run, of_model, exported, tmp_path, mode):
    samples = 2 if mode == "sample" else 1
    options = {"samples": samples, "mode": mode}
    here, there = of_run.generate(GRAPH, **options), of_model.generate(GRAPH, **options)
    assert [patch["id"] for patch in here.patches[0]] == [p["id"] for p in there.patches[0]]
    np.testing.assert_allclose(here.boxes, there.boxes, atol=1e-5)
    assert np.abs(here.images.astype(int) - there.images).max() <= 1

    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))
    of_command, of_python = tmp_path / "command", tmp_path / "python"
    arguments = [str(tmp_path / "graph.json"), "--model", str(exported.folder), "--mode", mode]
    drawn = ["--samples", str(samples)] if mode == "sample" else []
    assert main(["generate", *arguments, *drawn, "--out", str(of_command)]) == 0
    assert there.save(of_python) == of_python
    written = {path.name: path.read_bytes() for path in of_command.iterdir()}
    assert written == {path.name: path.read_bytes() for path in of_python.iterdir()}
    np.testing.assert_array_equal(read_image(of_python / "sample-0001.png"), there.images[0])


def test_what_a_graph_did_not_get_is_told_as_by_the_command(of_run):
    assert of_run.generate(GRAPH).notices == []
    row = of_run.generate(GRAPH).patches[0][0]["id"]  # of the sky
    graph = {
        "objects": ["sky", "grass"],
        "relationships": [[0, "above", 1], [0, "below", 1]],
        "patches": [None, row],
    }
    contradiction, other = of_run.generate(graph).notices
    assert contradiction.startswith("contradiction: sky (0)")
    assert other == "graph 0: object 1 (grass) has a patch of sky, as the graph says"


def test_a_sample_depends_on_its_seed_alone(of_run):
    many, last = of_run.generate(GRAPH, samples=3, seed=4), of_run.generate(GRAPH, seed=6)
    np.testing.assert_array_equal(many.images[2], last.images[0])


def test_what_a_picture_shows_draws_it_again(of_run):
    result = of_run.generate(GRAPH, seed=9)
    chosen = [patch["id"] for patch in result.patches[0]]
    again = of_run.generate({**GRAPH, "patches": chosen, "boxes": result.boxes[0].tolist()})
    np.testing.assert_array_equal(again.images, result.images)


def test_a_description_draws_its_picture_again(of_run, tmp_path):
    result = of_run.generate(GRAPH, samples=2, seed=9)
    of_dict = of_run.generate(result.descriptions[1], seed=10)
    of_file = of_run.generate(result.save(tmp_path / "out") / "sample-0002.json", seed=10)
    for again in (of_dict, of_file):
        np.testing.assert_array_equal(again.images[0], result.images[1])
        assert again.graph == result.graph


@pytest.mark.thorough  # test_edits has both of the model
def test_objects_of_a_picture_are_kept_or_redrawn(of_run, of_model, exported, tmp_path):
    of_model.generate(GRAPH, seed=9).save(tmp_path / "first")
    sample = tmp_path / "first" / "sample-0001.json"
    result = of_run.generate(json.loads(sample.read_text()), redraw=["grass"], seed=3)
    (old,) = of_run.generate(GRAPH, seed=9).patches
    (new,) = result.patches
    assert new[0]["id"] == old[0]["id"] and new[1]["id"] != old[1]["id"]
    assert result.descriptions[0]["edit"] == {"kept": [0], "redrawn": [1]}
    kept = of_run.generate(json.loads(sample.read_text()), keep="sky", seed=3)
    assert kept.patches[0][0]["id"] == old[0]["id"]

    arguments = [str(sample), "--model", str(exported.folder), "--redraw", "grass"]
    drawn = ["--samples", "1", "--seed", "3", "--out", str(tmp_path / "command")]
    assert main(["generate", *arguments, *drawn]) == 0
    of_model.generate(sample, redraw=["grass"], seed=3).save(tmp_path / "python")
    of_command = {path.name: path.read_bytes() for path in (tmp_path / "command").iterdir()}
    assert of_command == {p.name: p.read_bytes() for p in (tmp_path / "python").iterdir()}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"redraw": ["house"]}, "no such object"),
        ({"redraw": ["sky"], "keep": ["grass"]}, "use only one of them"),
        ({"redraw": ["sky"], "mode": "nearest"}, "redraw: redraws patches, which mode nearest"),
    ],
)
def test_an_edit_that_cannot_be(of_run, options, message):
    description = of_run.generate(GRAPH, seed=9).descriptions[0]
    with pytest.raises(BadInput, match=message):
        of_run.generate(description, **options)
    with pytest.raises(BadInput, match="change an existing picture"):
        of_run.generate(GRAPH, redraw=["sky"])


def test_only_licences_that_are_asked_for(of_run):
    result = of_run.generate(GRAPH, samples=2, licences=["public-domain"])
    assert {p["licence"] for ps in result.patches for p in ps} == {
        "No known copyright restrictions"
    }


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mode": "best"}, "mode 'best': must be one of sample"),
        ({"samples": 0}, "samples 0: must be in \\[1, 1000\\]"),
        ({"samples": 2, "mode": "nearest"}, "samples 2: with mode nearest all are the same"),
        ({"seed": -1}, "seed -1: must be in"),
        ({"temperature": float("nan")}, "temperature nan: must be in"),
        ({"licences": ["NOPE"]}, "NOPE"),
        ({"licences": []}, "licences: names no code"),
        ({"licences": 5}, "licences: must be a list of texts, got 5"),
        ({"seed": 1.5}, "seed 1.5: must be a whole number"),
        ({"seed": True}, "seed True: must be a whole number"),
        ({"samples": "2"}, "samples '2': must be a whole number"),
        ({"temperature": "1"}, "temperature '1': must be a number"),
        ({"temperature": None}, "temperature None: must be a number"),
        ({"keep": None}, "keep: must be a list of texts, got None"),
    ],
)
def test_what_is_out_of_range(of_run, options, message):
    with pytest.raises(BadInput, match=message):
        of_run.generate(GRAPH, **options)


def test_numbers_of_numpy_are_numbers(of_run):
    plain = of_run.generate(GRAPH, samples=2, seed=7, temperature=0.5)
    numbers = {"samples": np.int64(2), "seed": np.uint8(7), "temperature": np.float64(0.5)}
    assert np.array_equal(of_run.generate(GRAPH, **numbers).images, plain.images)
    # Objects are named by a text, a position, or a list of these.
    picture = plain.descriptions[0]
    by_text = of_run.generate(picture, keep=["0", "1"], seed=3)
    for keep in ([0, 1], np.array([0, 1]), ("0", 1)):
        assert of_run.generate(picture, keep=keep, seed=3).descriptions == by_text.descriptions


@pytest.mark.parametrize(
    "graph, message",
    [
        ({"objects": ["skyy"]}, "skyy"),
        ({"objects": []}, "name at least one object"),
        ({"objects": ["sky"], "patches": [10**6]}, "must be in"),
        ([], "expected an object"),
        ("nowhere.json", "nowhere.json"),
        (rgan_tf.SceneGraph(("sky",), ((0, "above", 5),)), "relationships\\[0\\]"),
    ],
)
def test_graphs_that_do_not_fit(of_run, graph, message):
    with pytest.raises(BadInput, match=message):
        of_run.generate(graph)


def test_what_cannot_be_opened(exported, of_model, tmp_path, capsys):
    with pytest.raises(BadInput, match="no such released run; there is procedural_64"):
        rgan_tf.RetrieveGAN.from_released("nothing", bank=exported.data.bank)
    with pytest.raises(BadInput, match="comes without data; name a bank"):
        rgan_tf.RetrieveGAN.from_run("released:procedural_64")
    run = shutil.copytree(exported.run.folder, tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "data": str(tmp_path / "moved")}))
    with pytest.raises(BadInput, match="its data was in .*moved, where nothing is now; name a b"):
        rgan_tf.RetrieveGAN.from_run(run)
    assert main(["export", "--run", str(run), "--out", str(tmp_path / "model")]) == 2
    assert "nothing is now; name a bank by --bank or --data" in capsys.readouterr().err
    with pytest.raises(BadInput, match="is a model without a patch bank; name a bank"):
        rgan_tf.RetrieveGAN.from_run(exported.run.folder, bank=exported.folder)
    with pytest.raises(BadInput, match="bank .*nowhere: is not an exported model, run, prepared"):
        rgan_tf.RetrieveGAN.from_run(exported.run.folder, bank=tmp_path / "nowhere")
    with pytest.raises(BadInput, match="must be an instance of rgan_tf.Retriever"):
        rgan_tf.RetrieveGAN.from_run(exported.run.folder, retriever=rgan_tf.Retriever)
    with pytest.raises(BadInput, match="is an exported model already"):
        of_model.export(tmp_path / "model")


def test_an_index_that_is_not_known(of_run, tmp_path):
    with pytest.raises(BadInput, match="--index fast: must be one of exact, scann"):
        of_run.export(tmp_path / "model", index="fast")
    assert not (tmp_path / "model").exists()


@pytest.mark.thorough
def test_it_exports(of_run, tmp_path):
    version = of_run.export(tmp_path / "model")
    result = rgan_tf.RetrieveGAN.from_model(version).generate(GRAPH, seed=1)
    assert result.patches[0][0]["id"] == of_run.generate(GRAPH, seed=1).patches[0][0]["id"]
