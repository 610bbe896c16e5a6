"""`rgan study` end to end, on a tiny trained run."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import DataConfig
from rgan_tf.model.networks import build_retrieval_networks
from rgan_tf.runs import open_run, save_weights
from rgan_tf.vocabulary import IMAGE
from tests.training.study.reading import embedded, pixels, without_images
from training.commands.study import SELECTIONS as OFFERED
from training.evaluation.retrieval import SELECTIONS
from training.study.page import labels


@pytest.fixture
def make(rgan, trained_folder, tmp_path):
    """Makes a study of the tiny run in a folder of that name."""

    def run(name="study", *words, scenes=6, split="train"):
        out = tmp_path / name
        options = ("--split", split, "--scenes", scenes, "--out", out)
        return out, rgan("study", "make", "--run", trained_folder, *options, *words)

    return run


def test_the_command_offers_what_retrieval_has():
    assert OFFERED == SELECTIONS


def test_from_run_to_report(make, rgan, tiny_world, tmp_path, trained_folder):
    out, made = make("study", "--systems", "learned", "random", "--repeats", 2)
    assert made.code == 0, made.err
    result = json.loads(made.out)
    assert (result["pairs"], result["repeated_pairs"]) == (6, 2)
    assert sorted(path.name for path in out.iterdir()) == ["key.json", "study.html"]
    html = (out / "study.html").read_text(encoding="utf-8")
    key = json.loads((out / "key.json").read_text())

    # Blind: no way of choosing, run, style or source is named.
    text = without_images(html)
    for word in (*SELECTIONS, str(trained_folder), "tiny", "procedural", "train2017"):
        assert word.lower() not in text
    assert not any(style.lower() in text for style in set(tiny_world.bank.styles))
    assert not re.search(r"https?:", html)

    # The page shows what the key says.
    page = embedded(html)
    assert page["page"] == key["page"] == result["page"]
    assert [pair["id"] for pair in page["pairs"]] == [pair["id"] for pair in key["pairs"]]
    assert (key["a"]["name"], key["b"]["name"]) == ("learned", "random")
    bank, vocabulary = tiny_world.bank, tiny_world.vocabulary
    stored = tiny_world.scenes("train", DataConfig(image_size=32, max_objects=6, max_triples=8))
    styles, fitting = bank.styles, []
    for shown, known in zip(page["pairs"], key["pairs"], strict=True):
        (place,) = np.flatnonzero(stored.image_ids == known["image_id"])
        objects = [vocabulary.object_name(int(i)) for i in stored.objects[place] if i > IMAGE]
        assert shown["labels"] == labels(objects)
        assert known["a"]["ids"] != known["b"]["ids"]
        for side, letter in (("left", known["left"]), ("right", "ab"[known["left"] == "a"])):
            ids = known[letter]["ids"]
            for image, name, row in zip(shown[side], objects, ids, strict=True):
                np.testing.assert_array_equal(pixels(page["images"][image]), bank.crops[row])
                fitting.append(vocabulary.object_name(int(bank.category_ids[row])) == name)
            figures = known[letter]["figures"]
            same = [
                styles[first] == styles[second]
                for place, first in enumerate(ids)
                for second in ids[place + 1 :]
            ]
            assert figures["style_agreement"] == pytest.approx(np.mean(same))
            assert figures["cooccurrence_distance"] > 0
    assert np.mean(fitting) > 0.7  # so small a bank lends patches of other categories

    # Somebody who always prefers what was learned.
    answers = {
        "version": 1,
        "page": page["page"],
        "participant": "Ann",
        "answers": [
            {
                "pair": pair["id"],
                "choice": "left" if pair["left"] == "a" else "right",
                "milliseconds": 2000,
            }
            for pair in key["pairs"]
        ],
    }
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    done = rgan("study", "report", "--study", out, "--answers", tmp_path / "answers.json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["answers"], report["preference"]) == (6, 1.0)
    assert report["p_value"] == 2 / 2**6
    assert report["consistency"]["share"] == 1.0
    assert set(report["stand_ins"]) == {"style_agreement", "cooccurrence_distance"}


@pytest.mark.thorough
def test_the_same_command_makes_the_same_study(make):
    words = ("--systems", "learned", "random", "--seed", 7)
    first, second = (make(name, *words, scenes=3)[0] for name in ("one", "two"))
    for name in ("study.html", "key.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.usefixtures("eagerly")
def test_a_run_beside_itself_differs_nowhere(make, copied):
    out, made = make("same", "--systems", "learned", "learned", "--other", copied, split="val")
    assert made.code == 2 and "chose the same patches in every scene" in made.err
    assert not out.exists()


@pytest.mark.thorough
def test_another_run_is_the_second_of_two(make, trained_folder, copied):
    run = open_run(str(copied))
    networks = build_retrieval_networks(run.config, run.vocabulary, run.feature_size)
    for number, variable in enumerate(networks.embedding.trainable_variables):
        variable.assign(tf.random.stateless_normal(variable.shape, [number, 0]))
    save_weights(run, "retrievegan", networks, steps=4)
    out, made = make("two", "--systems", "learned", "learned", "--other", copied, scenes=2)
    assert made.code == 0, made.err
    key = json.loads((out / "key.json").read_text())
    assert key["b"]["name"] == f"learned of {copied}"
    assert key["a"]["run"] == str(trained_folder) and key["b"]["run"] == str(copied)


@pytest.mark.parametrize(
    "words, reason",
    [
        (["--scenes", "0"], "--scenes 0: must be from 1 to"),
        (["--repeats", "4"], "--repeats 4: must be from 0 to 3"),
        (["--seed", "-1"], "--seed -1: must be at least 0"),
        (["--systems", "learned", "learned"], "name two that differ"),
        (["--systems", "learned", "best"], "invalid choice: 'best'"),
        (["--systems", "learned", "random", "--other", "RUN"], "only learned depends on the run"),
        (["--systems", "learned", "random", "--other", "RUN"], "draw with --pictures"),
        (["--run", "nowhere"], "--run nowhere: not a run folder"),
        (["--systems", "learned", "learned", "--other", "no"], "--other no: not a run folder"),
        (["--data", "nowhere"], "nowhere: has no manifest.json"),
    ],
)
def test_wrong_options_leave_nothing(make, words, reason):
    out, made = make("wrong", *words)
    assert made.code == 2 and reason in made.err and made.err.count("\n") == 1
    assert not out.exists()


def test_a_folder_that_holds_something_stays(make, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "key.json").write_text("mine")
    out, made = make()
    assert made.code == 2 and "not empty" in made.err
    assert [path.name for path in out.iterdir()] == ["key.json"]
    assert (out / "key.json").read_text() == "mine"
