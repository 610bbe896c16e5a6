"""Lets a program end while TensorFlow's threads still make batches with Python functions."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

_QUIET_S = 0.5  # without a call: the threads have made all batches that they may make ahead
_FILLING_S = 10.0


class QuietAtExit:
    """Calls a function; the program ends only when no thread calls it any more.

    A thread that wants Python's lock while the interpreter ends is stopped where it is, and the
    dataset that it works for waits for it for ever: a script that reads a few batches and returns
    would hang. So the end waits until the batches that are made ahead are there.

    Args:
      function: what `tf.numpy_function` would call.
    """

    def __init__(self, function: Callable[..., Any]):
        self._function = function
        self._lock = threading.Lock()
        self._running = 0
        self._last = time.monotonic()
        self._is_over = False
        atexit.register(_end, weakref.ref(self))

    def __call__(self, *arguments: Any) -> Any:
        """The function's result.

        Raises:
          RuntimeError: if a thread still asks for more, long after the program should have ended.
        """
        with self._lock:
            self._last = time.monotonic()
            if self._is_over:
                raise RuntimeError("the program ends; no further batch is made")
            self._running += 1
        try:
            return self._function(*arguments)
        finally:
            with self._lock:
                self._running -= 1
                self._last = time.monotonic()

    def end(self) -> None:
        """Returns when no call has run or begun for a moment."""
        if not self._is_quiet_within(_FILLING_S):
            with self._lock:
                self._is_over = True
            self._is_quiet_within(_FILLING_S)

    def _is_quiet_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self._lock:
                if not self._running and time.monotonic() - self._last > _QUIET_S:
                    return True
            time.sleep(0.01)
        return False


def _end(caller: weakref.ref[QuietAtExit]) -> None:
    if (found := caller()) is not None:
        found.end()
