"""Versions appear whole and numbered, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from export.publishing.publish import check_destination, publish
from rgan_tf.errors import BadInput
from rgan_tf.exported import version_number, versions


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
    for name in ("1", "10", "9", "v2", "²", "-3", "+4", " 5", ".3.partial", str(2**63)):
        (tmp_path / name).mkdir()
    (tmp_path / "12").write_text("a file")
    assert [path.name for path in versions(tmp_path)] == ["1", "9", "10"]
    assert versions(tmp_path / "nowhere") == []


def test_leading_zeros_do_not_count(tmp_path):
    """As TensorFlow Serving reads the names, whose own examples are 00000123."""
    for name in ("00000123", "9", "0" * 300 + "10", str(2**63 - 1)):
        assert version_number(name) == int(name)
    for name in ("00000123", "9", "0" * 100 + "10"):
        (tmp_path / name).mkdir()
    assert [int(path.name) for path in versions(tmp_path)] == [9, 10, 123]
    assert publish(tmp_path, write, accept).name == "124"


def test_two_folders_of_one_number_are_refused(tmp_path):
    for name in ("7", "007", "8"):
        (tmp_path / name).mkdir()
    with pytest.raises(BadInput, match="007 and 7 are both version 7; rename or delete one"):
        versions(tmp_path)
    with pytest.raises(BadInput, match="both version 7"):
        publish(tmp_path, write, accept)


def test_nothing_is_visible_before_the_check_has_passed(tmp_path):
    model, seen = tmp_path / "model", []

    def check(folder):
        seen.append((folder.parent, folder.name.isdigit(), versions(model)))

    publish(model, write, check)
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


@pytest.mark.parametrize("name", ["model[2]", "a\\b"])
def test_a_name_from_which_tensorflow_loads_nothing_is_refused(tmp_path, name, monkeypatch):
    """It would write the model there all the same, and no server could load it."""
    with pytest.raises(
        BadInput, match="TensorFlow cannot load a model from .*; name a folder without"
    ):
        publish(tmp_path / name, write, accept)
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    with pytest.raises(BadInput, match="TensorFlow cannot load a model from"):
        check_destination("model")  # which is loaded by its whole path
    assert not list(Path().iterdir())


def test_everything_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """A power cut after the rename must not leave a version with empty files."""
    events, fsync, rename = [], os.fsync, os.rename
    model = tmp_path / "deep" / "model"

    def note_fsync(descriptor):
        events.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))
        fsync(descriptor)

    def note_rename(source, target):
        events.append(("rename", Path(source), Path(target)))
        rename(source, target)

    def write_version(folder):
        write(folder)
        for name in ("variables", "assets.extra", "assets"):
            (folder / name).mkdir()
        (folder / "variables" / "variables.index").write_bytes(b"index")
        (folder / "variables" / "variables.data-00000-of-00001").write_bytes(b"data")
        (folder / "assets.extra" / "manifest.json").write_bytes(b"{}")

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    version = publish(model, write_version, accept)
    (at,) = [place for place, event in enumerate(events) if event[0] == "rename"]
    _, temporary, target = events[at]
    assert target == version == model / "1"
    before = {path for _, path in events[:at]}
    wanted = {temporary / path.relative_to(version) for path in version.rglob("*")}
    assert len(wanted) == 7 and wanted | {temporary} <= before
    assert [path for _, path in events[at + 1 :]] == [model]
    # The folders made for it are named on disk too, or the version would hang in the air.
    assert {tmp_path, tmp_path / "deep"} <= before
