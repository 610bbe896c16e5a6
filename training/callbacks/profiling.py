"""A TensorBoard profile of some steps, when it is asked for."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path

import tensorflow as tf

from training.callbacks.stage import StageCallback

_STEPS = 10


class Profiling(StageCallback):
    """Profiles ten steps, from a given one on, and again whenever SIGUSR1 arrives.

    Args:
      first_step, total_steps: as for `StageCallback`.
      folder: TensorBoard folder; the profile appears under its Profile tab.
      at_step: of the first profile; None waits for the signal.
    """

    def __init__(self, first_step: int, total_steps: int, *, folder: Path, at_step: int | None):
        super().__init__(first_step, total_steps)
        self._folder = folder
        self._asked_at = at_step
        self._until: int | None = None
        self._previous: object = None

    def on_train_begin(self, logs=None):
        self._previous = signal.signal(signal.SIGUSR1, self._on_signal)

    def on_train_batch_begin(self, batch, logs=None):
        if self._asked_at is not None and self._until is None and self.step >= self._asked_at:
            self._asked_at, self._until = None, self.step + _STEPS
            tf.profiler.experimental.start(str(self._folder))

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self._until is not None and self.step >= self._until:
            self._finish()

    def on_train_end(self, logs=None):
        if self._until is not None and self.step == self.total_steps:
            self._finish()

    def close(self) -> None:
        """Ends a running profile and gives the signal back, however training ended."""
        with contextlib.suppress(tf.errors.UnavailableError):
            if self._until is not None:
                self._finish()
        if self._previous is not None:
            signal.signal(signal.SIGUSR1, self._previous)
            self._previous = None

    def _finish(self) -> None:
        self._until = None
        tf.profiler.experimental.stop()
        print(f"profile of {_STEPS} steps in {self._folder}", file=sys.stderr, flush=True)

    def _on_signal(self, number, frame):
        self._asked_at = self.step
