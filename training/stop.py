"""Records signals to stop or to take a profile; training acts on them between steps."""

from __future__ import annotations

import signal
import threading

from rgan_tf.errors import Interrupted


class StopSignals:
    """Within its block, SIGTERM, SIGINT and SIGUSR1 are recorded instead of ending the process.

    Outside the main thread nothing is recorded: Python delivers signals to the main thread only.

    Attributes:
      number: the latest stop signal, 0 = none.
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

    def raise_if_requested(self, where: str) -> None:
        """Ends training if a signal came.

        Args:
          where: progress so far, for the message.

        Raises:
          Interrupted: if a stop signal came.
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
            raise KeyboardInterrupt  # second request: stop at once, losing work
        self.number = number
