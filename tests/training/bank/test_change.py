"""`rgan bank remove`, `merge` and `add`: which bank is changed, and that none is lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from pathlib import Path

import pytest

from rgan_tf.bank.edit import copy_banks
from rgan_tf.bank.lock import bank_lock
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.errors import BadInput
from training.bank.change import parse_ids
from training.bank.places import own_bank


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("inside", ["bank", "truth/val"])
def test_a_bank_of_prepared_data_is_not_changed(bank, tmp_path, refused, content_of, inside):
    data = tmp_path / "data"
    (data / inside).parent.mkdir(parents=True)
    bank.rename(data / inside)
    (data / "manifest.json").write_text(json.dumps({"kind": "rgan_data"}))
    before = content_of(data)
    line = refused("bank", "remove", data / inside, "--ids", 0)
    assert f"rgan bank build --data {data} --out BANK" in line
    assert content_of(data) == before


def test_while_a_bank_is_held_nobody_else_changes_it(bank, more, refused, content_of):
    before = content_of(bank)
    with bank_lock(bank):
        for words in (("remove", bank, "--ids", 0), ("add", bank, "--folders", more)):
            assert "another process is making or changing this bank" in refused("bank", *words)
    assert content_of(bank) == before


def test_a_bank_stays_held_until_an_addition_is_in_its_place(
    bank, more, rgan, monkeypatch, backbone
):
    refusals = []

    def try_to_change():
        with pytest.raises(BadInput) as caught, own_bank(str(bank)):
            pytest.fail("is held")
        refusals.append(str(caught.value))

    def copy_while_tried(*args, **options):
        try_to_change()
        return copy_banks(*args, **options)

    backbone.on_call = try_to_change
    monkeypatch.setattr("training.bank.build.copy_banks", copy_while_tried)
    assert rgan("bank", "add", bank, "--folders", more).code == 0
    # While patches of the bank are compared, new ones embedded, and all copied.
    assert len(refusals) == 3 and all("another process" in line for line in refusals)
    assert len(PatchBank.open(bank)) == 7


def test_a_bank_is_opened_again_once_it_is_held(bank, rgan, monkeypatch):
    """What another process removed between our first look and our turn does not come back."""
    from training.bank import places

    @contextlib.contextmanager
    def late(folder):
        monkeypatch.setattr(places, "bank_lock", really)
        assert rgan("bank", "remove", bank, "--ids", "0-1").code == 0
        with really(folder):
            yield

    really = places.bank_lock
    monkeypatch.setattr(places, "bank_lock", late)
    assert rgan("bank", "remove", bank, "--ids", 0).code == 0
    assert len(PatchBank.open(bank)) == 2


def test_of_a_link_what_it_leads_to_is_changed(bank, more, rgan, tmp_path):
    link = tmp_path / "link"
    link.symlink_to("bank")
    before = names_in(tmp_path)
    assert rgan("bank", "remove", link, "--ids", 0).code == 0
    assert rgan("bank", "add", link, "--folders", more).code == 0
    assert link.is_symlink() and names_in(tmp_path) == before
    assert len(PatchBank.open(bank)) == 6


def test_a_category_is_removed_however_its_accent_is_written(draw, rgan, refused, tmp_path):
    for folder in ("ba\u0308ume", "baume"):
        draw(tmp_path / "odd" / folder / "a.png", 1)
    rgan("bank", "build", "--folders", tmp_path / "odd", "--out", tmp_path / "new")
    for name in ("b\u00e4ume", "ba\u0308ume"):
        line = refused("bank", "remove", tmp_path / "new", "--category", name, "--ids", "0-1")
        assert "no patch would be left" in line
    done = rgan("bank", "remove", tmp_path / "new", "--category", "ba\u0308ume")
    assert done.code == 0 and '"removed": 1' in done.out
    assert [row["category"] for row in PatchBank.open(tmp_path / "new").rows] == ["baume"]


def test_the_folder_one_is_in_can_be_named_by_a_dot(bank, folders, rgan, tmp_path, monkeypatch):
    for name in ("built", "merged"):
        (tmp_path / name).mkdir()
    commands = {
        bank: ("remove", ".", "--ids", 0),
        tmp_path / "merged": ("merge", "../bank", "--out", "."),
        tmp_path / "built": ("build", "--folders", "../mine", "--out", "."),
    }
    for folder, words in commands.items():
        monkeypatch.chdir(folder)
        done = rgan("bank", *words)
        assert done.code == 0, done.err
        monkeypatch.chdir(tmp_path)
    sizes = [len(PatchBank.open(folder)) for folder in commands]
    assert sizes == [4, 4, 5]


def test_what_a_killed_process_left_is_deleted(bank, rgan, tmp_path):
    rubbish = [".bank.0123abcd.partial", "..bank.adding.0123abcd.partial"]
    others = [".bank2.0123abcd.partial", ".bank.0123abcd.partial2", ".bank.mine.partial"]
    for name in rubbish + others:
        (tmp_path / name).mkdir()
        (tmp_path / name / "crops.npy").write_bytes(b"")
    assert rgan("bank", "remove", bank, "--ids", 0).code == 0
    assert names_in(tmp_path) == {"bank", "mine", *others}


def test_what_may_be_another_commands_work_stays(bank, rgan, tmp_path):
    for name, file in (("01234567", "crops.npy"), ("89abcdef", "records")):
        (tmp_path / f".new.{name}.partial").mkdir()
        (tmp_path / f".new.{name}.partial" / file).write_bytes(b"")
    assert rgan("bank", "merge", bank, "--out", tmp_path / "new").code == 0
    assert names_in(tmp_path) == {"bank", "mine", "new", ".new.89abcdef.partial"}


def test_a_mount_point_is_refused_before_any_work(
    bank, more, refused, content_of, monkeypatch, backbone
):
    before, calls = content_of(bank), backbone.calls
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == bank)
    for words in (("remove", bank, "--ids", 0), ("add", bank, "--folders", more)):
        assert "is a mount point" in refused("bank", *words)
    assert content_of(bank) == before and backbone.calls == calls


def test_a_full_disk_is_named(bank, refused, content_of, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = content_of(bank)
    monkeypatch.setattr("rgan_tf.bank.growing_array.GrowingArray.append", full)
    line = refused("bank", "remove", bank, "--ids", 0, code=2)
    assert line.startswith(f"rgan bank: {bank}: No space left on device")
    assert line.endswith("; free some space and repeat")
    assert content_of(bank) == before


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (",", "names no row"),
        (" , ", "names no row"),
        ("9" * 5000, "write rows as"),
        ("0-" + "9" * 5000, "write rows as"),
        ("2-1", "first before last"),
        ("5", r"must be in \[0, 5\)"),
    ],
)
def test_ids_that_are_none(bank, refused, content_of, text, reason):
    before = content_of(bank)
    line = refused("bank", "remove", bank, "--ids", text)
    assert len(line) < 300
    assert re.search(reason, line)
    assert content_of(bank) == before


def test_ids_are_read():
    assert parse_ids("3, 1,4-6,", 7) == {1, 3, 4, 5, 6}


def test_a_name_that_is_too_long_is_refused_in_one_line(bank, refused, tmp_path):
    assert "File name too long" in refused("bank", "merge", bank, "--out", tmp_path / ("x" * 254))
    assert "File name too long" in refused("bank", "merge", bank, "--out", tmp_path / ("x" * 300))
    assert names_in(tmp_path) == {"bank", "mine"}
