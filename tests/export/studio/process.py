"""A process of `rgan studio`, for tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

_COMMAND = "import sys; from rgan_tf.cli import console; sys.argv[0] = 'rgan'; console()"
_READY = re.compile(r"rgan studio: version (\d+) of \S+ at http://127\.0\.0\.1:(\d+)/ after")
_START_S = 240.0  # a loaded machine is slow, not wrong


class StudioProcess:
    """`rgan studio`, ready to answer."""

    def __init__(self, model: Path, folder: Path):
        self.model = model
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, "studio", "--model", str(model), "--port", "0"]
            + ["--poll-s", "0.2", "--grace-s", "5"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        self.port = 0
        self.log: list[str] = []
        self._ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self._ready.wait(_START_S) or not self.port:
            self.process.kill()
            pytest.fail(f"rgan studio did not start:\n{''.join(self.log)}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _read(self) -> None:
        for line in self.process.stderr:
            self.log.append(line)
            if match := _READY.match(line):
                self.port = int(match[2])
                self._ready.set()
        self._ready.set()
