"""`rgan bench selection`: the selection loss alone, in its forms."""

from __future__ import annotations

import json

import pytest


def bench(rgan, trained_folder, *words):
    return rgan("bench", "selection", "--run", trained_folder, "--scenes", 8, *words)


def is_without_scale(key: str) -> bool:
    return key.startswith(("retrieval/graph_nearest", "retrieval/random")) or "gt_recall" in key


@pytest.mark.thorough
def test_training_by_the_loss_alone_lowers_it_and_teaches_recall(rgan, trained_folder):
    words = ("--variants", "one_step", "--learning-rate", 0.003)
    figures = []
    for steps in (1, 80):
        result = bench(rgan, trained_folder, *words, "--steps", steps)
        assert result.code == 0, result.err
        figures.append(json.loads(result.out.splitlines()[-1]))
    start, end = (figure["variants"]["one_step"] for figure in figures)
    assert end["loss"] < start["loss"] - 0.1
    # Over all pairs: in so small a world six alone share no pixel.
    assert end["gt_recall@1_all"] > start["gt_recall@1_all"]
    random = figures[1]["others"]["retrieval/random/gt_recall@1_all"]
    assert end["gt_recall@1_all"] > 1.5 * random
    # The simpler choices do not train; where there is noise, the learned scale has a part in them.
    before, after = (
        {key: value for key, value in figure["others"].items() if is_without_scale(key)}
        for figure in figures
    )
    assert before == after and len(before) > 8


@pytest.mark.thorough
def test_the_variants_differ_and_the_same_seed_repeats_them(rgan, trained_folder):
    names = ["one_step", "iterative", "iterative_without_teacher_forcing"]
    first, second = (
        json.loads(
            bench(rgan, trained_folder, "--variants", *chosen, "--steps", 3).out.splitlines()[-1]
        )["variants"]
        for chosen in (names, names[-1:])
    )
    assert list(first) == names
    assert len({variant["loss"] for variant in first.values()}) == 3
    assert second[names[-1]]["loss"] == pytest.approx(first[names[-1]]["loss"], rel=1e-3)


def test_an_unknown_variant_is_named(rgan, trained_folder):
    result = bench(rgan, trained_folder, "--variants", "two_step")
    assert result.code == 2
    assert "two_step" in result.err
    assert "iterative" in result.err


def test_counts_must_be_positive(rgan, trained_folder):
    assert bench(rgan, trained_folder, "--steps", 0).code == 2
