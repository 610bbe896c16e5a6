"""`rgan prepare` and `rgan bank build` on other processes, and killed amid the work."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rgan_tf.cli import main as rgan
from rgan_tf.data.prepared import PreparedData

ROOT = Path(__file__).resolve().parents[2]
# Small pieces, so that a kill strikes between two of them.
PROGRAM = """
import sys
from rgan_tf.bank import build, pieces
from rgan_tf.cli import main
if __name__ == "__main__":
    build.PIECE_PATCHES = pieces.PIECE_PATCHES = 8
    sys.exit(main())
"""

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("spread") / "world"
    assert rgan(["prepare", "procedural", "--images", "30", "--size", "64", "--out", str(out)]) == 0
    return out


def prepare(world: Path, out: Path, *words: str) -> list[str]:
    root = ["--root", str(world / "coco"), "--size", "64"]
    return ["prepare", "coco", *root, "--out", str(out), *words]


def fingerprint(folder: Path) -> str:
    PreparedData.open(folder).verify()
    return PreparedData.open(folder).fingerprint


def start(words: list[str], log: Path) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH')}"}
    with open(log, "wb") as file:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words], env=environment, stderr=file, stdout=file
        )


def kill_after(pieces: int, process: subprocess.Popen, folder: Path, log: Path) -> None:
    """Kills a process once that many pieces are finished anywhere below a folder."""
    deadline = time.monotonic() + 240
    while sum(1 for _ in folder.rglob("pieces/[!.]*/counts.json")) < pieces:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.timeout(600)  # two workers import TensorFlow
def test_a_dask_cluster_of_two_processes_writes_the_same_bytes(world, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="install rgan_tf[dask]")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr("rgan_tf.bank.pieces.PIECE_PATCHES", 16)
    assert rgan(prepare(world, tmp_path / "here")) == 0
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
    ) as cluster:
        address = f"dask_client_address={cluster.scheduler_address}"
        words = ("--runner", "DaskRunner", "--runner-option", address)
        assert rgan(prepare(world, tmp_path / "dask", *words)) == 0
    assert fingerprint(tmp_path / "dask") == fingerprint(tmp_path / "here")
    assert {path.name for path in tmp_path.iterdir()} == {"here", "dask"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("runner", [(), ("--runner", "DirectRunner")], ids=["here", "processes"])
def test_a_killed_preparation_leaves_no_folder_and_starts_over(world, tmp_path, runner):
    words = prepare(world, tmp_path / "data", *runner)
    killed = start(words, tmp_path / "log")
    kill_after(2, killed, tmp_path, tmp_path / "log")
    assert not (tmp_path / "data").exists()
    again = start(words, tmp_path / "log")
    assert again.wait(timeout=500) == 0, (tmp_path / "log").read_text()
    data = PreparedData.open(tmp_path / "data")
    data.verify()
    assert data.manifest["files"] == PreparedData.open(world).manifest["files"]


@pytest.mark.timeout(600)
def test_a_killed_build_of_a_bank_continues_on_another_runner(world, tmp_path):
    annotations = world / "coco" / "annotations" / "instances_train2017.json"
    images = world / "coco" / "images" / "train2017"
    words = ["bank", "build", "--coco", str(annotations), "--images", str(images), "--out"]
    assert start([*words, str(tmp_path / "straight")], tmp_path / "log").wait(timeout=300) == 0
    spread = [*words, str(tmp_path / "bank"), "--runner", "DirectRunner"]
    killed = start(spread, tmp_path / "log")
    kill_after(2, killed, tmp_path, tmp_path / "log")
    assert not (tmp_path / "bank").exists()
    again = start([*words, str(tmp_path / "bank")], tmp_path / "log")
    assert again.wait(timeout=300) == 0, (tmp_path / "log").read_text()
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["resumed_at"] > 0
    bank, straight = tmp_path / "bank", tmp_path / "straight"
    for path in straight.iterdir():
        assert (bank / path.name).read_bytes() == path.read_bytes(), path.name
    assert {path.name for path in tmp_path.iterdir()} == {"bank", "straight", "log"}


@pytest.mark.parametrize(
    "words",
    [
        ("prepare", "coco", "--root", "NOWHERE", "--out", "OUT"),
        ("prepare", "vg", "--root", "NOWHERE", "--out", "OUT"),
        ("bank", "build", "--coco", "NOWHERE", "--images", "NOWHERE", "--out", "OUT"),
    ],
)
def test_a_wrong_runner_is_refused_before_anything_is_read(words, rgan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = rgan(*words, "--runner", "NoSuchRunner")
    assert done.code == 2 and "--runner NoSuchRunner" in done.err, done.err
    wrong = rgan(*words, "--runner", "DirectRunner", "--runner-option", "no_such_option=1")
    assert wrong.code == 2 and "--runner-option no_such_option" in wrong.err, wrong.err
    assert "NOWHERE" in rgan(*words).err  # which is what is found without a runner
