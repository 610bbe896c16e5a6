"""Versions appear whole and numbered, or not at all."""

from __future__ import annotations

import pytest

from export.publish import check_destination, publish, versions
from rgan_tf.errors import BadInput


def write(folder):
    (folder / "saved_model.pb").write_bytes(b"model")


def accept(folder):
    assert (folder / "saved_model.pb").exists()


def test_versions_count_up(tmp_path):
    model = tmp_path / "deep" / "model"
    assert [publish(model, write, accept).name for _ in range(3)] == ["1", "2", "3"]
    (model / "3").rename(model / "41")
    assert publish(model, write, accept).name == "42"
    assert [path.name for path in versions(model)] == ["1", "2", "41", "42"]


def test_only_plain_numbers_are_versions(tmp_path):
    for name in ("1", "10", "9", "007", "v2", "²", ".3.partial"):
        (tmp_path / name).mkdir()
    (tmp_path / "12").write_text("a file")
    assert [path.name for path in versions(tmp_path)] == ["1", "9", "10"]
    assert versions(tmp_path / "nowhere") == []


def test_nothing_is_visible_before_the_check_has_passed(tmp_path):
    model, seen = tmp_path / "model", []

    def look(folder):
        seen.append((folder.parent, folder.name.isdigit(), versions(model)))

    publish(model, write, look)
    assert seen == [(model, False, [])]


@pytest.mark.parametrize("stage", ["write", "check"])
def test_a_failure_leaves_nothing(tmp_path, stage):
    def fail(folder):
        write(folder)
        raise RuntimeError("no")

    steps = {"write": (fail, accept), "check": (write, fail)}[stage]
    with pytest.raises(RuntimeError, match="no"):
        publish(tmp_path / "new", *steps)
    assert list(tmp_path.iterdir()) == []

    publish(tmp_path / "old", write, accept)
    with pytest.raises(RuntimeError, match="no"):
        publish(tmp_path / "old", *steps)
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["1"]


def test_other_content_is_refused_and_leftovers_are_not(tmp_path):
    (tmp_path / ".1.0badcafe.partial").mkdir()
    check_destination(tmp_path)
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(BadInput, match="holds no version"):
        publish(tmp_path, write, accept)
    with pytest.raises(BadInput, match="is a file"):
        publish(tmp_path / "holiday.jpg", write, accept)
