"""`rgan bench retrieval --gradients`: the gradients of a selection, on one trained run."""

from __future__ import annotations

import json

import pytest

from training.bench import estimators
from training.bench.estimators import ESTIMATORS, OBJECTIVES


@pytest.mark.thorough
def test_every_estimator_is_measured_on_every_objective(rgan, trained_folder, monkeypatch):
    few = (ESTIMATORS[0], ESTIMATORS[-1])  # tracing takes its time
    monkeypatch.setattr(estimators, "ESTIMATORS", few)
    words = ("--run", trained_folder, "--batches", 1, "--draws", 2, "--untrained")
    result = rgan("bench", "retrieval", "--gradients", *words)
    assert result.code == 0, result.err
    figures = json.loads(result.out.splitlines()[-1])
    assert set(figures["estimators"]) == set(OBJECTIVES)
    for of_objective in figures["estimators"].values():
        assert len(of_objective) == len(few)
        for values in of_objective.values():
            assert values["norm"] > 0 and -1 <= values["cosine"] <= 1
            assert values["descent"] == pytest.approx(0, abs=1)
    # In expectation there is no straight-through gradient in the loss, so none makes a difference.
    expected = figures["estimators"]["cooccurrence_expected"].values()
    assert len({values["norm"] for values in expected}) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name a trained run with --run"),
        (("--run", "released:procedural_64"), "name a prepared folder with --data"),
    ],
)
def test_refusals(rgan, words, message):
    result = rgan("bench", "retrieval", "--gradients", *words)
    assert result.code == 2 and message in result.err


def test_one_draw_has_nothing_to_be_compared_with(rgan, trained_folder):
    result = rgan("bench", "retrieval", "--gradients", "--run", trained_folder, "--draws", 1)
    assert result.code == 2 and "--draws 1: must be at least 2" in result.err


def test_a_run_whose_phi_was_never_trained_has_no_gradients_to_compare(rgan, copied):
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace("choice: learned", "choice: nearest"))
    result = rgan("bench", "retrieval", "--gradients", "--run", copied)
    assert result.code == 2 and "was trained with retrieval.choice=nearest" in result.err
