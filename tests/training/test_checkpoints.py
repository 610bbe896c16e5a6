"""Checkpoints: whole or not there, three of them, and never a silent start from scratch."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import tensorflow as tf

from rgan_tf.errors import BadInput, CorruptData
from training.checkpoints import CheckpointFolder

IDENTITY = {"stage": "sg2im", "config": "c", "data": "d"}


class State(tf.Module):
    def __init__(self, value=0.0):
        super().__init__()
        self.number = tf.Variable(tf.fill([1000], value))


@pytest.fixture
def state():
    return State()


@pytest.fixture
def folder(tmp_path, state):
    def make(identity=IDENTITY, of=None, **options):
        of = of if of is not None else {"module": state}
        return CheckpointFolder(tmp_path / "checkpoints", of, identity, **options)

    return make


def filled(checkpoints, state, steps):
    for step in steps:
        state.number.assign(tf.fill([1000], float(step)))
        checkpoints.save(step)
    state.number.assign(tf.fill([1000], -1.0))


def names(checkpoints):
    return sorted(path.name for path in checkpoints.folder.iterdir())


def test_three_are_kept_and_the_newest_is_restored(folder, state, capsys):
    checkpoints = folder()
    assert checkpoints.restore_newest() is None
    filled(checkpoints, state, [0, 5, 10, 15])
    assert names(checkpoints) == ["step-00000005", "step-00000010", "step-00000015"]
    assert folder().restore_newest() == 15
    assert float(state.number[0]) == 15.0
    assert "resuming from" in capsys.readouterr().err


def test_a_folder_may_have_a_name_that_tensorflow_takes_for_a_pattern(tmp_path, state):
    checkpoints = CheckpointFolder(tmp_path / "run[2]" / "c", {"module": state}, IDENTITY)
    filled(checkpoints, state, [5])
    assert checkpoints.restore_newest() == 5 and float(state.number[0]) == 5.0


def test_a_manifest_says_what_it_is_of(folder, state):
    checkpoints = folder()
    filled(checkpoints, state, [7])
    manifest = json.loads((checkpoints.folder / "step-00000007" / "manifest.json").read_text())
    assert manifest["step"] == 7 and IDENTITY.items() <= manifest.items()
    assert set(manifest["files"]) == {"state.index", "state.data-00000-of-00001"}


FAULTS = ("flip data", "flip index", "truncate data", "delete data", "flip manifest", "no manifest")


def damage(path, fault):
    action, what = fault.split(" ")
    names = {"data": "state.data-00000-of-00001", "index": "state.index"}
    file = path / names.get(what, "manifest.json")
    content = bytearray(file.read_bytes())
    if action == "flip":
        content[len(content) // 2] ^= 4
        file.write_bytes(content)
    elif action == "truncate":
        file.write_bytes(content[:-1])
    else:
        file.unlink()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_one_falls_back_to_the_one_before(folder, state, capsys, fault):
    checkpoints = folder()
    filled(checkpoints, state, [0, 5, 10])
    damage(checkpoints.folder / "step-00000010", fault)
    assert folder().restore_newest() == 5
    assert float(state.number[0]) == 5.0
    err = capsys.readouterr().err
    assert "step-00000010" in err and "trying the one before" in err
    # The damaged one is replaced when its step comes again.
    filled(checkpoints, state, [10])
    assert folder().restore_newest() == 10 and float(state.number[0]) == 10.0


def test_if_all_are_damaged_training_does_not_start_over(folder, state):
    checkpoints = folder()
    filled(checkpoints, state, [0, 5])
    for path in list(checkpoints.folder.iterdir()):
        damage(path, "flip data")
    with pytest.raises(CorruptData, match="no checkpoint can be read"):
        folder().restore_newest()


def test_other_networks_do_not_fit(folder, state):
    checkpoints = folder()
    filled(checkpoints, state, [3])
    with pytest.raises(CorruptData, match="no checkpoint can be read"):
        folder(of={"module": state, "more": State()}).restore_newest()


@pytest.mark.parametrize("key", ["stage", "config", "data"])
def test_of_something_else_is_refused(folder, state, key):
    filled(folder(), state, [3])
    with pytest.raises(BadInput, match=f"of another {key}"):
        folder(identity={**IDENTITY, key: "other"}).restore_newest()


def test_what_an_older_version_left_is_refused(folder, tmp_path, state):
    old = tf.train.CheckpointManager(
        tf.train.Checkpoint(module=state), str(tmp_path / "checkpoints"), max_to_keep=3
    )
    old.save(4)
    with pytest.raises(BadInput, match="older version"):
        folder()


def test_a_process_that_does_not_write_leaves_the_disk_alone(folder, state):
    folder(writes=False).save(3)
    assert not (folder(writes=False).folder).exists()


_KILLED_WHILE_WRITING = """
import os, signal, sys
import tensorflow as tf
from training.checkpoints import CheckpointFolder
from pathlib import Path
module = tf.Module()
module.number = tf.Variable(tf.fill([1000], 9.0))
checkpoints = CheckpointFolder(Path(sys.argv[1]), {"module": module}, {"stage": "s"})
inner = CheckpointFolder._write
def write(self, partial, step):
    inner(self, partial, step)
    os.kill(os.getpid(), signal.SIGKILL)
CheckpointFolder._write = write
checkpoints.save(9)
"""


def test_killed_while_writing_leaves_the_older_one(tmp_path, state, capsys):
    path = tmp_path / "checkpoints"
    identity = {"stage": "s"}
    filled(CheckpointFolder(path, {"module": state}, identity), state, [5])
    command = [sys.executable, "-c", _KILLED_WHILE_WRITING, str(path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(list(path.glob(".*.partial"))) == 1
    checkpoints = CheckpointFolder(path, {"module": state}, identity)
    assert names(checkpoints) == ["step-00000005"]  # nothing half-written stays
    assert checkpoints.restore_newest() == 5 and float(state.number[0]) == 5.0


def test_what_was_about_to_be_replaced_is_deleted(folder, tmp_path):
    aside = tmp_path / "checkpoints" / ".step-00000005.0123abcd.replaced"
    aside.mkdir(parents=True)
    folder()
    assert not aside.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_leaves_the_older_ones(tmp_path, state):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        large = State()
        checkpoints = CheckpointFolder(disk / "checkpoints", {"module": large}, IDENTITY)
        filled(checkpoints, large, [1])
        shutil.copy(os.devnull, disk / "rest")
        (disk / "rest").write_bytes(b"0" * (shutil.disk_usage(disk).free - 2048))
        with pytest.raises(OSError) as caught:
            checkpoints.save(2)
        assert caught.value.errno == 28 and "step-00000002" in str(caught.value.filename)
        (disk / "rest").unlink()
        assert names(checkpoints) == ["step-00000001"]
        assert checkpoints.restore_newest() == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)
