"""Releases: what they hold, what they leave out, and that nothing half-written stays."""

from __future__ import annotations

import json
import runpy
import sys

import numpy as np
import pytest

from rgan_tf import released
from rgan_tf.errors import BadInput
from rgan_tf.runs import open_run
from training import release as releasing


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    folder = tmp_path / "released"
    folder.mkdir()
    monkeypatch.setattr(released, "FOLDER", folder)
    return folder


def test_it_holds_what_inference_reads_and_no_folder_of_the_machine(copied, shelf):
    record = copied / "sg2im" / "stage.json"
    taken = {"taken_from": str(copied), "as_they_are": False}
    record.write_text(json.dumps(json.loads(record.read_text()) | taken))
    assert releasing.release(str(copied), "small") == shelf / "small"
    assert [path.name for path in shelf.iterdir()] == ["small"]
    texts = [path.read_text() for path in (shelf / "small").rglob("*.json")]
    assert len(texts) == 5
    assert str(copied) in record.read_text()
    assert not [text for text in texts if str(copied) in text or "taken_from" in text]
    opened, original = open_run("released:small"), open_run(str(copied))
    assert opened.config == original.config
    assert opened.fingerprint() == original.fingerprint()
    assert not [path for path in (shelf / "small").rglob("*") if "checkpoint" in path.name]


def test_a_new_one_takes_the_place_of_the_old_but_its_card_stays(copied, shelf):
    (shelf / "small").mkdir()
    (shelf / "small" / releasing.CARD).write_text("Whose photographs these are.")
    (shelf / "small" / "old").touch()
    releasing.release(str(copied), "small")
    assert (shelf / "small" / releasing.CARD).read_text() == "Whose photographs these are."
    assert not (shelf / "small" / "old").exists()


def test_the_limit_is_of_the_packed_weights(copied, shelf, monkeypatch):
    """Weights of zeros pack to nothing; those of a training hardly pack."""
    monkeypatch.setattr(releasing, "MAX_MEGABYTES", 0.1)
    (weights,) = (copied / "retrievegan").glob("weights-*.data-*")
    with weights.open("ab") as file:
        file.write(np.random.default_rng(0).bytes(300_000))
    with pytest.raises(BadInput, match="MB of packed weights, a release holds 0.1 MB"):
        releasing.release(str(copied), "small")
    assert not list(shelf.iterdir())


def test_a_run_that_is_not_finished_is_refused(copied, shelf):
    (copied / "retrievegan" / "stage.json").unlink()
    with pytest.raises(BadInput, match="stage retrievegan has no weights"):
        releasing.release(str(copied), "small")
    assert not list(shelf.iterdir())


def test_the_command_says_how_it_is_called_and_what_it_was_not_given(monkeypatch, capsys):
    def said(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["release", *words])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(releasing.__file__, run_name="__main__")
        assert ended.value.code == 2
        return capsys.readouterr().err

    assert said() == "usage: python -m training.release RUN NAME\n"
    assert said("no/run", "x").startswith("release: ")
