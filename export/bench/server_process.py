"""Runs an `rgan serve` for a measurement."""

from __future__ import annotations

import collections
import contextlib
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from rgan_tf.errors import BadInput

_COMMAND = "import sys; from rgan_tf.cli import console; sys.argv[0] = 'rgan'; console()"
_READY = re.compile(
    r"rgan serve: version \d+ of \S+ at (http://\S+) and (grpc://\S+) after (\S+) s"
)
_START_S = 300.0
_KEPT_LINES = 50


class ServerProcess:
    """A running server on free ports of this machine.

    Attributes:
      rest, grpc: addresses for clients.
      load_s: seconds of loading, as it reports.

    Args:
      model: folder of the model.
      options: further options of `rgan serve`.

    Raises:
      BadInput: if it does not start; with its last line.
    """

    def __init__(self, model: Path, *options: str):
        self._lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._ready = threading.Event()
        self._match: re.Match | None = None
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", _COMMAND, "serve", "--model", str(model)),
                *("--rest-port", "0", "--grpc-port", "0", *options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self._ready.wait(_START_S)
        if self._match is None:
            self.kill()
            raise BadInput(
                f"--model {model}: the server did not start: {' '.join(list(self._lines)[-1:])}"
            )
        self.rest, self.grpc = self._match[1], self._match[2]
        self.load_s = float(self._match[3])

    def stop(self) -> dict[str, Any]:
        """Sends SIGTERM and returns the result that the server prints.

        Raises:
          RuntimeError: if it does not end normally.
        """
        self.process.terminate()
        output, _ = self.process.communicate()
        if self.process.returncode:
            raise RuntimeError(f"rgan serve ended with {self.process.returncode}")
        return json.loads(output)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        with contextlib.suppress(ValueError):  # closed
            for line in self.process.stderr:
                self._lines.append(line.strip())
                if self._match is None and (match := _READY.search(line)):
                    self._match = match
                    self._ready.set()
        self._ready.set()  # the process has ended
