"""The record of rollbacks, and when to give up."""

from __future__ import annotations

import json

import pytest

from rgan_tf.errors import CorruptData, Diverged
from training.rollbacks import MOST, RollbackNeeded, Rollbacks


def scenes_of(step):
    return [10 * step, 10 * step + 1]


def test_every_one_names_the_batches(tmp_path):
    rollbacks = Rollbacks(tmp_path / "rollbacks.json")
    rollbacks.add(RollbackNeeded(12, [3, 4]), scenes_of)
    rollbacks.add(RollbackNeeded(15, [9]), lambda step: None)
    assert json.loads((tmp_path / "rollbacks.json").read_text()) == [
        {
            "at_step": 12,
            "skipped": [{"step": 3, "image_ids": [30, 31]}, {"step": 4, "image_ids": [40, 41]}],
        },
        {"at_step": 15, "skipped": [{"step": 9}]},
    ]


def test_the_third_ends_training_and_is_recorded(tmp_path):
    path = tmp_path / "rollbacks.json"
    rollbacks = Rollbacks(path)
    for _ in range(MOST - 1):
        rollbacks.add(RollbackNeeded(5, [4]), scenes_of)
    with pytest.raises(Diverged, match="rollbacks.json names the batches") as caught:
        rollbacks.add(RollbackNeeded(5, [4]), scenes_of)
    assert caught.value.exit_code == 3
    assert len(json.loads(path.read_text())) == MOST
    # The same command may try again, on another road: the length is what changes the numbers.
    again = Rollbacks(path)
    assert len(again) == MOST
    again.add(RollbackNeeded(5, [4]), scenes_of)


def test_the_last_message_names_what_was_not_finite(tmp_path):
    def end(*not_finite):
        rollbacks = Rollbacks(tmp_path / "rollbacks.json", writes=False)
        with pytest.raises(Diverged) as caught:
            for _ in range(MOST):
                rollbacks.add(RollbackNeeded(5, [4], not_finite), scenes_of)
        return str(caught.value)

    assert "had loss/generator/mine, watch not finite; " in end("loss/generator/mine", "watch")
    assert " had " not in end()


def test_a_process_that_does_not_write_counts_all_the_same(tmp_path):
    rollbacks = Rollbacks(tmp_path / "rollbacks.json", writes=False)
    rollbacks.add(RollbackNeeded(5, [4]), scenes_of)
    assert len(rollbacks) == 1 and not (tmp_path / "rollbacks.json").exists()


@pytest.mark.parametrize("text", ["{}", "[1, 2]", '[{"at_step": 3}', ""])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / "rollbacks.json").write_text(text)
    with pytest.raises(CorruptData, match="rollbacks.json"):
        Rollbacks(tmp_path / "rollbacks.json")
