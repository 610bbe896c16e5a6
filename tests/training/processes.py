"""Trainings in processes of their own, for tests that kill them or need several."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow as tf
import yaml

from rgan_tf.runs import STAGES

_COMMAND = """
import sys
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
devices = int(sys.argv[1])
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
from rgan_tf import cli
sys.exit(cli.main(sys.argv[2:]))
"""


def first_stages(count: int) -> list[str]:
    """As `rgan train`, for `start_training`: it ends after that many stages."""
    return [
        "-c",
        f"""
import itertools
from training import api
tasks = api._tasks
api._tasks = lambda *parts: itertools.islice(tasks(*parts), {count})
{_COMMAND}""",
    ]


def start_training(
    config: Path,
    data: Path,
    run: Path,
    *,
    devices: int = 1,
    environment: dict | None = None,
    program: list[str | Path] | None = None,
) -> subprocess.Popen:
    """`rgan train` as a child process, with that many logical CPUs; its stderr goes to a file.

    `program` is what is given to Python in front of the number of devices, if not `rgan` itself.
    """
    words = [*(program or ["-c", _COMMAND]), devices, "train", config, "--data", data, "--run", run]
    with open(f"{run}.stderr", "ab") as stderr:
        return subprocess.Popen(
            [sys.executable, *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, **(environment or {})},
        )


# Ends by itself when its parent is gone, however that ended, and in any case after two hours. It
# works in bursts: they change what runs beside what more often than steady load, and cost less.
_BUSY = """
import os, random, sys, time
parent, end = int(sys.argv[1]), time.monotonic() + 7200
while os.getppid() == parent and time.monotonic() < end:
    pause = time.monotonic() + random.uniform(0.02, 0.2)
    while time.monotonic() < pause:
        pass
    time.sleep(random.uniform(0.02, 0.2))
"""


@contextlib.contextmanager
def busy_machine(loops: int = 2) -> Iterator[list[subprocess.Popen]]:
    """Processes that keep a core busy half of the time each, beside whatever runs within."""
    command = [sys.executable, "-S", "-c", _BUSY, str(os.getpid())]
    with contextlib.ExitStack() as stack:
        processes = []
        for _ in range(loops):
            processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
            stack.callback(processes[-1].wait)
            stack.callback(processes[-1].kill)
        yield processes


def finish(process: subprocess.Popen, run: Path, *, code: int = 0) -> None:
    """Waits for a training and checks how it ended."""
    found = process.wait(timeout=600)
    assert found == code, f"{found}: {Path(f'{run}.stderr').read_text()[-3000:]}"


def write_settings(path: Path, settings: dict, **sections: dict) -> Path:
    """A config file: the settings, with some sections changed."""
    for section, values in sections.items():
        settings[section].update(values)
    path.write_text(yaml.safe_dump(settings))
    return path


def weights_of(run: Path, stages: Sequence[str] = STAGES) -> dict[str, str]:
    """A checksum of the weights of each stage, of the numbers alone.

    The files hold names beside them, and Keras numbers layers by what a process made before.
    """
    return {stage: _checksum(run / stage) for stage in stages}


def _checksum(folder: Path) -> str:
    record = json.loads((folder / "stage.json").read_text())
    reader = tf.train.load_checkpoint(str(folder / record["weights"]))
    digest = hashlib.sha256()
    for name in sorted(reader.get_variable_to_dtype_map()):
        if not name.startswith("_CHECKPOINTABLE"):
            digest.update(name.encode() + reader.get_tensor(name).tobytes())
    return digest.hexdigest()
