"""Answers files: what is read, and one clear line for every wrong one."""

from __future__ import annotations

import json

import pytest

from rgan_tf.errors import BadInput, CorruptData
from training.study.answers import read_answers
from training.study.key import KEY, read_key


def refused(study, *paths) -> str:
    with pytest.raises(BadInput) as caught:
        read_answers(paths, read_key(study))
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    return message


def entry(**changes) -> dict:
    return {"pair": "p1", "choice": "left", "milliseconds": 5, **changes}


def test_sides_become_sets(study, answer):
    (ann,) = read_answers([answer(" Ann ")], read_key(study))
    assert ann.participant == "Ann"
    assert ann.chosen == {"p1": "a", "p2": "a", "p3": "a", "p4": "a", "p5": "a"}
    assert ann.sides["p2"] == "right" and ann.milliseconds["p5"] == 5000


def test_the_order_of_answers_and_missing_ones_do_not_matter(study, answer):
    path = answer(answers=[entry(pair="p3"), entry(pair="p2")])
    (ann,) = read_answers([path], read_key(study))
    assert ann.chosen == {"p3": "a", "p2": "b"}


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"page": "fedcba9876543210"}, "answers page 'fedcba9876543210', this study has page 0123"),
        ({"page": 3}, "answers page 3"),
        ({"version": 2}, "version 2 of an answers file"),
        ({"answers": []}, "holds no answers"),
        ({"answers": {"p1": "left"}}, "holds no answers"),
        ({"answers": [[]]}, "answer 0: is not an object"),
        ({"answers": [entry(), entry(pair="p9")]}, "answer 1: pair 'p9' is not in the study"),
        ({"answers": [entry(pair=["p1"])]}, "pair ['p1'] is not in the study"),
        ({"answers": [entry(pair="x" * 10_000)]}, "is not in the study"),
        ({"answers": [entry(), entry(choice="right")]}, "answer 1: pair p1 is answered twice"),
        ({"answers": [entry(choice="a")]}, "choice 'a' is neither left nor right"),
        ({"answers": [entry(choice=None)]}, "choice None is neither left nor right"),
        ({"answers": [entry(choice=["left"])]}, "is neither left nor right"),
        ({"answers": [entry(milliseconds=-1)]}, "milliseconds -1 is not a duration"),
        ({"answers": [entry(milliseconds="5")]}, "milliseconds '5' is not a duration"),
        ({"answers": [entry(milliseconds=True)]}, "milliseconds True is not a duration"),
        ({"answers": [entry(milliseconds=10**300)]}, "is not a duration"),
        ({"participant": "  "}, "participant '  ' is not a name"),
        ({"participant": None}, "participant None is not a name"),
        ({"participant": "a\nb"}, "is not a name"),
        ({"participant": "\u200d"}, "is not a name"),
        ({"participant": "a\u202eb"}, "is not a name"),  # turns the line that shows it around
        ({"participant": "\ud800"}, "is not a name"),
        ({"participant": "x" * 101}, "longer than 100 characters"),
    ],
)
def test_wrong_content(study, answer, changes, reason):
    path = answer(**changes)
    message = refused(study, path)
    assert message.startswith(f"{path}: ") and reason in message


@pytest.mark.parametrize(
    "name",
    ["\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", "\U0001f469\u200d\U0001f52c", "Jos\u00e9"],
    ids=["fa", "emoji", "es"],
)
def test_names_of_all_scripts(study, answer, name):
    """Some are written with joiners, which Python counts as unprintable."""
    (one,) = read_answers([answer(participant=name)], read_key(study))
    assert one.participant == name


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "not JSON"),
        ('{"page": ', "not JSON"),
        ("[]", "not an answers file"),
        ('{"page": "0123456789abcdef"}', "not an answers file"),
        ('{"page": 1, "page": 2}', "given twice"),
        ('{"version": NaN}', "NaN"),
        ("[" * 100_000, "nested too deeply"),
        (" " * (2**20 + 1), "larger than"),
    ],
)
def test_wrong_files(study, tmp_path, text, reason):
    path = tmp_path / "answers.json"
    path.write_text(text)
    assert reason in refused(study, path)


def test_files_that_are_not_there(study, tmp_path):
    assert "No such file" in refused(study, tmp_path / "none.json")
    assert "directory" in refused(study, tmp_path)


@pytest.mark.parametrize("name", ["Ann", "ann", " Ann"])
def test_two_files_of_one_participant(study, answer, name):
    first, second = answer("Ann"), answer(name)
    message = refused(study, first, second)
    assert str(first) in message and str(second) in message and "one file per part" in message
    assert len(read_answers([first, answer("Anna")], read_key(study))) == 2


def test_a_folder_that_is_not_a_study(tmp_path):
    with pytest.raises(BadInput, match="has no key.json"):
        read_key(tmp_path)


def test_a_key_that_was_changed(study):
    path = study / KEY
    content = json.loads(path.read_text())
    content["pairs"][0]["left"] = "b"
    path.write_text(json.dumps(content))
    with pytest.raises(CorruptData, match="checksum differs"):
        read_key(study)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(CorruptData, match="damaged"):
        read_key(study)
