"""Runs a command and watches what it takes (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rgan_tf.errors import BadInput

_POLL_S = 0.2  # between two measurements
_GRACE_S = 120.0  # for a process that is asked to end
_SHOWN_LINES = 3  # of a failed command's log
_SET_DEATH_SIGNAL = 1  # of the system call prctl


@dataclasses.dataclass
class Usage:
    """What a command and the processes that it started took.

    Attributes:
      seconds: from start to end.
      processor_seconds: of all its processes that have ended.
      memory_mb: highest sum of their own memory, without pages of files.
      process_mb: highest memory of one of them, without pages of files.
      resident_mb: highest sum with pages of mapped files, which the system may drop.
      disk_mb: highest growth of what the disk holds; whatever else writes there counts too.
    """

    seconds: float = 0.0
    processor_seconds: float = 0.0
    memory_mb: int = 0
    process_mb: int = 0
    resident_mb: int = 0
    disk_mb: int = 0


def run_watched(command: Sequence[str], *, folder: Path, log: Path) -> tuple[Usage, str]:
    """Runs a command to its end.

    If this raises, the command has been asked to end, and has ended.

    Args:
      command: the program with its arguments.
      folder: on the disk that is watched.
      log: where its standard error is appended.

    Returns:
      What it took, and the last line of its standard output.

    Raises:
      BadInput: if it fails; with the last lines of the log.
    """
    answer = log.with_suffix(".out")
    with watched(command, folder=folder, log=log, answer=answer) as (process, usage):
        process.wait()
    if process.returncode:
        lines = log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
        raise BadInput(
            f"{' '.join(command[:8])} ...: exit code {process.returncode}: {' / '.join(lines)}; "
            f"{log} has more"
        )
    lines = answer.read_text().splitlines()
    return usage, lines[-1] if lines else ""


class WatchedProcess:
    """A running command whose memory and disk use are measured while we wait for it."""

    def __init__(self, process: subprocess.Popen, usage: Usage, folder: Path):
        self._process = process
        self._usage = usage
        self._folder = folder
        self._free = shutil.disk_usage(folder).free

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def wait(self, seconds: float = float("inf")) -> None:
        """Waits for its end, or for that long."""
        until = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < until:
            self._measure()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_POLL_S)

    def stop(self) -> None:
        """Asks it to end, and waits; kills it if it does not."""
        self._process.terminate()
        self.wait(_GRACE_S)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _measure(self) -> None:
        usage = self._usage
        found = session_memory(self._process.pid)
        own, resident = [pair[0] for pair in found], [pair[1] for pair in found]
        usage.memory_mb = max(usage.memory_mb, sum(own) // 1024)
        usage.process_mb = max(usage.process_mb, max(own, default=0) // 1024)
        usage.resident_mb = max(usage.resident_mb, sum(resident) // 1024)
        grown = self._free - shutil.disk_usage(self._folder).free
        usage.disk_mb = max(usage.disk_mb, grown // 2**20)


@contextlib.contextmanager
def watched(
    command: Sequence[str], *, folder: Path, log: Path, answer: Path
) -> Iterator[tuple[WatchedProcess, Usage]]:
    """Starts a command; it has ended when the block ends. It is asked to end if we are killed.

    Args:
      command: the program with its arguments.
      folder: on the disk that is watched.
      log: where its standard error is appended.
      answer: where its standard output goes.

    Yields:
      The process, and what it takes, which is complete after the block.
    """
    usage = Usage()
    started, before = time.monotonic(), _processor_seconds()
    library = ctypes.CDLL(None)
    with open(log, "ab") as errors, open(answer, "wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            start_new_session=True,
            preexec_fn=lambda: library.prctl(_SET_DEATH_SIGNAL, signal.SIGTERM),
        )
    running = WatchedProcess(process, usage, folder)
    try:
        yield running, usage
    finally:
        if process.poll() is None:
            running.stop()
        usage.seconds = round(time.monotonic() - started, 1)
        usage.processor_seconds = round(_processor_seconds() - before, 1)


def session_memory(session: int) -> list[tuple[int, int]]:
    """Memory of each process of a session in kB: without and with pages of files."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError, KeyError, ValueError):  # it has just ended
            # After the name in brackets: state, parent, process group, session.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                lines = (folder / "status").read_text().splitlines()
                status = dict(line.split(":", 1) for line in lines)
                own, shared, whole = (
                    int(status[key].split()[0]) for key in ("RssAnon", "RssShmem", "VmRSS")
                )
                found.append((own + shared, whole))
    return found


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
