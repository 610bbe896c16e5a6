"""Runs the measurements of `rgan bench retrieval` in separate processes; imports no TensorFlow."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rgan_tf.progress import note

BATCH, OBJECTS, FEATURES, CROP = 16, 9, 2048, 64
SIZES = (512, 256, 128)


def run_case(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Runs one of `retrieval_cases.CASES` in a fresh process and returns its results.

    Raises:
      MemoryError: if the system killed the process.
      RuntimeError: if the process fails; its messages are on stderr.
    """
    note(f"{name} {json.dumps(options)}")
    with tempfile.TemporaryDirectory(prefix="rgan-bench-") as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "training.bench.retrieval_cases", name]
        code = subprocess.run([*command, json.dumps(options), str(result)]).returncode
        if code == -signal.SIGKILL:
            raise MemoryError(f"{name} {options}: ended by the system, most likely out of memory")
        if code:
            raise RuntimeError(f"{name} {options}: the process ended with code {code}")
        return json.loads(result.read_text())


def naive_megabytes(candidates: int) -> int:
    """Estimated memory of the naive layer for forward and backward, including copies."""
    pixels, activations = CROP * CROP * 3, sum(SIZES)
    each = pixels + 4 * (pixels + 3 * FEATURES + 3 * activations)  # uint8 and float32
    return 5 * BATCH * OBJECTS * candidates * each // (4 * 2**20)
