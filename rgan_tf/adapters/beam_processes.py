"""Worker processes of this machine for Apache Beam, whose end is noticed.

Beam's own leave a pipeline waiting for ever if one of them is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    SubprocessSdkWorkerHandler,
    WorkerHandler,
)
from apache_beam.transforms.environments import Environment

from rgan_tf.storage.files import write_bytes_atomic

_URN = "rgan_tf:env:watched_process:v1"
_POLL_S = 1.0  # between two checks for work that waits for a lost worker


class WatchedProcesses(Environment):
    """Where a pipeline runs: processes that a command starts.

    Args:
      command: for a shell; each run of it is one worker.
      note: a file that appears when a worker ends too early, if it does not exist.
      text: its content.
    """

    def __init__(self, command: str, note: Path, text: bytes):
        super().__init__()
        self._payload = json.dumps([command, os.fspath(note), text.decode()]).encode()

    def to_runner_api_parameter(self, context) -> tuple[str, bytes]:
        """The name of this kind of environment, and what `_WatchedProcess` gets."""
        return _URN, self._payload


@WorkerHandler.register_environment(_URN, bytes)
class _WatchedProcess(SubprocessSdkWorkerHandler):
    def __init__(self, payload: bytes, *others):
        command, note, text = json.loads(payload)
        super().__init__(command.encode(), *others)
        self._note, self._text = Path(note), text
        self._is_over = threading.Event()

    def start_worker(self) -> None:
        super().start_worker()
        threading.Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        self._is_over.set()
        super().close()

    def _watch(self) -> None:
        self.worker_thread.join()  # until the process has ended
        if self._is_over.is_set():
            return
        if not self._note.exists():
            with contextlib.suppress(OSError):  # a full disk: then the pipeline's error has to do
                write_bytes_atomic(self._note, self._text.encode())
        while not self._is_over.wait(_POLL_S):
            # More may be asked of it meanwhile.
            for waiting in list(self.control_conn._futures_by_id.values()):
                if not waiting.is_done():
                    waiting.set(
                        beam_fn_api_pb2.InstructionResponse(
                            instruction_id=waiting.instruction_id, error=self._text
                        )
                    )
