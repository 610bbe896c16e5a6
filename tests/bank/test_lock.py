"""One process at a time makes or changes a bank."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rgan_tf.bank import lock
from rgan_tf.bank.lock import bank_lock
from rgan_tf.errors import BadInput


def test_it_is_held_by_one_and_leaves_nothing(tmp_path):
    place = tmp_path / "deep" / "bank"
    for _ in range(2):
        with bank_lock(place):
            with pytest.raises(BadInput, match="another process"), bank_lock(place):
                pytest.fail("is held")
            with bank_lock(tmp_path / "deep" / "bank2"):  # another bank is free
                pass
        assert os.listdir(place.parent) == []


def test_it_is_freed_however_its_holder_ends(tmp_path):
    code = (
        "import os; from pathlib import Path; from rgan_tf.bank.lock import bank_lock\n"
        f"with bank_lock(Path({str(tmp_path / 'bank')!r})): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert os.listdir(tmp_path) == [".bank.lock"]
    with bank_lock(tmp_path / "bank"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_lock_whose_file_is_gone_is_none(tmp_path, monkeypatch):
    """Its holder deletes the file; who opened it before that must not think he holds anything."""
    held = []
    really = lock._lock_file

    def deleted_meanwhile(path, folder):
        file = really(path, folder)
        if not held:
            path.unlink()
        held.append(file)
        return file

    monkeypatch.setattr(lock, "_lock_file", deleted_meanwhile)
    with bank_lock(tmp_path / "bank"):
        assert len(held) == 2
        monkeypatch.setattr(lock, "_lock_file", really)
        with pytest.raises(BadInput, match="another process"), bank_lock(tmp_path / "bank"):
            pytest.fail("is held")


def test_a_place_that_cannot_be_written_beside_is_named(tmp_path):
    (tmp_path / ".bank.lock").mkdir()
    with pytest.raises(BadInput, match="bank: cannot be made or changed"):
        with bank_lock(tmp_path / "bank"):
            pytest.fail("cannot be held")


def test_a_bank_that_was_about_to_be_replaced_comes_back(tmp_path):
    """Its process was killed between the two steps of `exchange`; both folders hold a bank."""
    for suffix in ("replaced", "partial"):
        folder = tmp_path / f".bank.01234567.{suffix}"
        folder.mkdir()
        (folder / "manifest.json").write_text(suffix)
    with bank_lock(tmp_path / "bank"):
        pass
    assert os.listdir(tmp_path) == ["bank"]
    assert (tmp_path / "bank" / "manifest.json").read_text() == "replaced"
