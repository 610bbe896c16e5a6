"""Signals are remembered, and obeyed between two steps: to stop, and to take a profile."""

from __future__ import annotations

import signal
import threading

from rgan_tf.errors import Interrupted


class StopSignals:
    """While its block runs, SIGTERM, SIGINT and SIGUSR1 are noted instead of ending the process.

    In a thread beside the main one nothing is noted: Python hands signals to the main thread alone.

    Attributes:
      number: the signal to stop that came last, 0 = none.
      wants_profile: whether SIGUSR1 came; the profiler resets it.
    """

    def __init__(self) -> None:
        self.number = 0
        self.wants_profile = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def obey(self, where: str) -> None:
        """Ends training if a signal came.

        Args:
          where: what has been done, for the message.

        Raises:
          Interrupted: if so.
        """
        if self.number:
            raise Interrupted(
                f"stopped by signal {self.number} {where}; the same command continues"
            )

    def _on_signal(self, number, frame) -> None:
        if number == signal.SIGUSR1:
            self.wants_profile = True
            return
        if self.number == signal.SIGINT == number:
            raise KeyboardInterrupt  # asked twice: at once, whatever is lost
        self.number = number
