"""Killed at any moment, the same command resumes and ends with the very same weights."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rgan_tf.runs import STAGES
from tests.training.processes import (
    busy_machine,
    finish,
    first_stages,
    start_training,
    weights_of,
    write_settings,
)

ROOT = Path(__file__).resolve().parents[2]
EVERY = 4  # steps between checkpoints


@pytest.fixture
def config(tmp_path, tiny_settings):
    def make(steps, later=None):
        """`later`: steps of the second and third stage, if they are others."""
        later = steps if later is None else later
        return write_settings(
            tmp_path / "tiny.yaml",
            tiny_settings,
            sg2im={"steps": steps},
            cooccurrence={"steps": later},
            training={
                "steps": later,
                "deterministic": True,
                "checkpoint_every_steps": EVERY,
                "picture_every_steps": 1000,
            },
        )

    return make


def done(run: Path) -> int:
    """Steps of all stages that a kill could not undo: those of the newest checkpoints."""
    return sum(
        max((int(path.name[5:]) for path in folder.glob("step-*")), default=0)
        for folder in run.glob("*/checkpoints")
    )


def reported(run: Path) -> int:
    """Steps of all stages that the processes have told of, the farthest each."""
    farthest: dict[str, int] = {}
    for line in Path(f"{run}.stderr").read_text().splitlines():
        if line.startswith('{"stage"'):
            record = json.loads(line)
            farthest[record["stage"]] = max(record["step"], farthest.get(record["stage"], 0))
    return sum(farthest.values())


def writes(run: Path) -> bool:
    """Whether a checkpoint is being written right now."""
    return any(run.glob("*/checkpoints/.*.partial"))


def kill_until_done(config, data, run, kills, seed, **options) -> int:
    """Starts the command again and again, kills it, and lets it end after the last kill.

    Every second kill strikes while a checkpoint is written, and so does a single one; the last
    strikes when one is whole already. Returns how many struck.
    """
    chance, struck = random.Random(seed), 0
    first = 1 if kills == 1 else 0
    while True:
        process = start_training(config, data, run, **options)
        moment = time.monotonic() + chance.uniform(4.0, 20.0)
        while process.poll() is None and struck < kills:
            time.sleep(0.001)
            amid_write = (struck + first) % 2
            if amid_write and not writes(run):
                continue
            if struck == kills - 1 and not done(run):  # there must be something to resume from
                continue
            if amid_write or time.monotonic() > moment:
                process.send_signal(signal.SIGKILL)
        if process.wait(timeout=600) == 0:
            return struck
        assert process.returncode == -signal.SIGKILL, Path(f"{run}.stderr").read_text()[-3000:]
        struck += 1
        # A line may be told before its checkpoint is whole, and intervals of lines are 2 steps.
        assert reported(run) - done(run) <= EVERY + 2, "more than an interval was lost"


@pytest.fixture
def busy():
    """Two loops beside: the order of sums once depended on what else a machine does."""
    with busy_machine():
        yield


def is_running(number: int) -> bool:
    """Whether this process still does anything; an ended one may wait for its new parent."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def check_kills(config, data, folder, kills, seed, stages=STAGES, **options):
    straight, killed = folder / "straight", folder / "killed"
    finish(start_training(config, data, straight, **options), straight)
    assert kill_until_done(config, data, killed, kills, seed, **options) == kills
    assert weights_of(killed, stages) == weights_of(straight, stages)
    assert "resuming from" in Path(f"{killed}.stderr").read_text()
    assert not writes(killed)  # nothing half-written stays


def test_a_kill_in_the_second_stage_ends_bit_identical(config, tiny_world, tmp_path):
    """The small share of the next ones: of the three stages this is traced in the least time."""
    program = first_stages(2)
    check_kills(config(0, later=16), tiny_world.folder, tmp_path, 1, 1, STAGES[:2], program=program)


@pytest.mark.thorough
def test_a_kill_in_the_first_stage_ends_bit_identical(config, tiny_world, tmp_path):
    program = first_stages(1)
    check_kills(config(16, later=0), tiny_world.folder, tmp_path, 1, 1, STAGES[:1], program=program)


@pytest.mark.thorough
@pytest.mark.timeout(900)  # of three trainings beside the loops, on a machine that runs more tests
@pytest.mark.usefixtures("busy")
def test_two_kills_end_bit_identical(config, tiny_world, tmp_path):
    check_kills(config(6), tiny_world.folder, tmp_path, kills=2, seed=1)


@pytest.mark.thorough
def test_another_seed_ends_with_other_weights(config, tiny_world, tmp_path):
    """The comparison above can fail."""
    runs = tmp_path / "one", tmp_path / "other"
    path = config(1)
    for seed, run in enumerate(runs):
        path.write_text(
            path.read_text().replace("checkpoint_every", f"seed: {seed}\n  checkpoint_every")
        )
        finish(start_training(path, tiny_world.folder, run), run)
        path = config(1)
    first, second = map(weights_of, runs)
    assert all(first[stage] != second[stage] for stage in first)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("busy")
def test_twenty_kills_end_bit_identical(config, tiny_world, tmp_path):
    check_kills(config(40), tiny_world.folder, tmp_path, kills=20, seed=2)


def test_busy_processes_end_with_their_parent():
    """Even if it is killed, as a test that takes too long is."""
    program = "import sys, time\n" + "from tests.training.processes import busy_machine\n"
    program += "with busy_machine() as them:\n    print(*[p.pid for p in them], flush=True)\n"
    program += "    time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        numbers = [int(word) for word in parent.stdout.readline().split()]
        assert len(numbers) == 2 and all(map(is_running, numbers))
        parent.kill()
    limit = time.monotonic() + 60
    while any(map(is_running, numbers)):
        assert time.monotonic() < limit, "a busy process outlived its parent"
        time.sleep(0.05)
