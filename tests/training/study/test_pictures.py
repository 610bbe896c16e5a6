"""`rgan study --pictures`: what two runs draw, of any two systems."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config_files import config_from_dict, config_to_dict
from rgan_tf.errors import BadInput
from rgan_tf.model.networks import build_cooccurrence_embedding, build_sg2im_networks
from rgan_tf.rivals.registry import rival_networks
from rgan_tf.runs import create_run, open_run, save_weights
from tests.training.study.reading import embedded, pixels, without_images
from training.study.drawn import Pictures, check_alike
from training.study.plan import Chosen, Scene, take_scenes


@pytest.fixture
def rival_folder(trained, tiny_world, tmp_path):
    """Makes a run of a rival with random weights."""

    def make(system: str):
        settings = config_to_dict(trained.config)
        settings["training"]["system"] = system
        config = config_from_dict(settings)
        tf.keras.utils.set_random_seed(2)
        run = create_run(tmp_path / system, config, tiny_world)
        save_weights(run, "sg2im", build_sg2im_networks(config, run.vocabulary), steps=0)
        save_weights(run, "retrievegan", rival_networks(config, run.vocabulary), steps=0)
        return run.folder

    return make


@pytest.fixture
def make(rgan, tmp_path):
    def run(first, *words, scenes=3):
        out = tmp_path / "study"
        options = ("--split", "train", "--scenes", scenes, "--out", out)
        return out, rgan("study", "make", "--run", first, *options, *words)

    return run


def test_equal_pictures_have_one_number_and_no_question():
    pictures, black = Pictures(), np.zeros([2, 2, 3], np.uint8)
    assert [pictures.add(black), pictures.add(black + 1), pictures.add(black.copy())] == [0, 1, 0]
    np.testing.assert_array_equal(pictures[1], black + 1)

    def scene(number, a, b):
        return Scene(number, ("sky",), (), None, Chosen((a,), {}), Chosen((b,), {}))

    taken, left_out = take_scenes([scene(0, 0, 0), scene(1, 0, 1)], 5)
    assert [item.image_id for item in taken] == [1] and left_out.identical == 1


@pytest.mark.thorough  # a run beside itself, in test_study, stays
@pytest.mark.timeout(300)
def test_retrievegan_beside_a_rival(make, rgan, rival_folder, trained_folder, tmp_path):
    other = rival_folder("attngan")
    out, made = make(trained_folder, "--pictures", "--other", other, "--repeats", 1)
    assert made.code == 0, made.err
    html, key = (out / "study.html").read_text(), json.loads((out / "key.json").read_text())
    page = embedded(html)
    assert page["shows"] == key["shows"] == "pictures" and len(page["pairs"]) == 4
    assert "Which picture fits the scene" in html and "set of" not in without_images(html)
    for word in ("attngan", "retrievegan", str(trained_folder)):
        assert word not in without_images(html).lower()
    assert (key["a"]["selection"], key["b"]["selection"]) == ("retrievegan", "attngan")
    assert re.search(r"attngan$", key["b"]["run"])
    for shown, known in zip(page["pairs"], key["pairs"], strict=True):
        assert shown["labels"] == [] and known["a"]["figures"] == {}
        assert len(shown["left"]) == len(shown["right"]) == 1
        assert pixels(page["images"][shown["left"][0]]).shape == (32, 32, 3)
    answers = {
        "version": 1,
        "page": page["page"],
        "participant": "Ann",
        "answers": [
            {"pair": pair["id"], "choice": "left", "milliseconds": 900} for pair in key["pairs"]
        ],
    }
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    done = rgan("study", "report", "--study", out, "--answers", tmp_path / "answers.json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["shows"] == "pictures" and report["stand_ins"] == {}
    text = (out / "report.md").read_text()
    assert text.startswith("# Which picture fits its scene: ") and "Automatic" not in text
    # It may be written again.
    assert rgan("study", "report", "--study", out, "--answers", tmp_path / "answers.json").code == 0


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_two_rivals_one_of_which_is_given_its_layout_and_one_its_patches(make, rival_folder):
    first, other = rival_folder("layout2im"), rival_folder("pastegan")
    run = open_run(str(other))
    embedding = build_cooccurrence_embedding(run.config, run.feature_size)
    save_weights(run, "cooccurrence", embedding, steps=0)
    out, made = make(first, "--pictures", "--other", other, scenes=2)
    assert made.code == 0, made.err
    assert json.loads((out / "key.json").read_text())["a"]["selection"] == "layout2im"


@pytest.mark.timeout(300)
def test_what_cannot_be_compared_is_refused(make, rival_folder, trained_folder, trained, tmp_path):
    rival = rival_folder("sg2im")
    own = tmp_path / "own"  # whose pictures are those of a retriever that no command has
    shutil.copytree(trained_folder, own)
    record = own / "retrievegan" / "stage.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "own_retriever": "mine"}))
    for first, words, reason in (
        (rival, (), "is of sg2im, which learns no choice of patches"),
        (
            trained_folder,
            ("--other", rival, "--systems", "learned", "learned"),
            f"--other {rival}: is of sg2im",
        ),
        (trained_folder, ("--pictures",), "name --other RUN"),
        (trained_folder, ("--pictures", "--other", rival, "--systems", "learned", "random"), "--s"),
        (trained_folder, ("--pictures", "--other", trained_folder), "of two runs, and --other"),
        (trained_folder, ("--pictures", "--other", own), "trained with the retriever mine"),
    ):
        out, made = make(first, *words)
        assert made.code == 2 and reason in made.err and made.err.count("\n") == 1, made.err
        assert not out.exists()
    settings = config_to_dict(trained.config)
    settings["data"]["max_triples"] += 1
    wider = dataclasses.replace(trained, config=config_from_dict(settings))
    with pytest.raises(BadInput, match="data.max_triples"):
        check_alike(trained, wider, ("A", "B"))
