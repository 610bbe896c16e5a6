"""Progress of long work, with the time left, on standard error."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_TERMINAL_INTERVAL_S = 0.1
_LOG_INTERVAL_S = 5.0


class Progress:
    """Counts finished items: a live line on a terminal, otherwise a line every five seconds.

    Args:
      label: what is being done, e.g. "train images".
      total: number of items, or None where it is not known.
      stream: where to write; standard error by default.
      clock: seconds, monotonic; replaced in tests.
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        *,
        stream: TextIO | None = None,
        clock=time.monotonic,
    ):
        self._label = label
        self._total = total
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._live = bool(getattr(self._stream, "isatty", lambda: False)())
        self._started = clock()
        self._last = self._started
        self._done = 0
        self._first = 0
        self._width = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        self.close()

    def start_at(self, done: int) -> None:
        """Says that so many were finished before; they do not count for the rate."""
        self._first = self._done = done

    def advance(self, items: int = 1) -> None:
        """Counts `items` more as finished and writes when it is time to."""
        self.update(self._done + items)

    def update(self, done: int) -> None:
        """Sets how many are finished and writes when it is time to."""
        self._done = done
        now = self._clock()
        if now - self._last >= (_TERMINAL_INTERVAL_S if self._live else _LOG_INTERVAL_S):
            self._last = now
            self._write(self._text(now))

    def close(self) -> None:
        """Writes the last line, with the time it all took."""
        seconds = self._clock() - self._started
        self._write(f"{self._label}: {self._count()} in {format_seconds(seconds)}")
        if self._live:
            self._stream.write("\n")
            self._stream.flush()

    def _count(self) -> str:
        return str(self._done) if self._total is None else f"{self._done}/{self._total}"

    def _text(self, now: float) -> str:
        rate = (self._done - self._first) / max(now - self._started, 1e-9)
        text = f"{self._label}: {self._count()}, {rate:.1f}/s"
        if self._total is not None and rate > 0:
            text += f", {format_seconds(max(self._total - self._done, 0) / rate)} left"
        return text

    def _write(self, text: str) -> None:
        if self._live:
            # Blanks wipe what a longer line left behind.
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def format_seconds(seconds: float) -> str:
    """A duration for people: 8 s, 3 min 20 s, 2 h 05 min."""
    whole = int(round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
