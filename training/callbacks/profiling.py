"""Writes a TensorBoard profile of some steps on request."""

from __future__ import annotations

import contextlib
from pathlib import Path

import tensorflow as tf

from rgan_tf.progress import note
from training.callbacks.stage import StageCallback
from training.stop import StopSignals

_STEPS = 10


class Profiling(StageCallback):
    """Profiles ten steps from a given one on, and again after each SIGUSR1.

    Args:
      first_step, total_steps: see `StageCallback`.
      folder: TensorBoard folder; the profile appears under its Profile tab.
      at_step: of the first profile; None or a past step waits for the signal.
      signals: holds the request.
    """

    def __init__(
        self,
        first_step: int,
        total_steps: int,
        *,
        folder: Path,
        at_step: int | None,
        signals: StopSignals,
    ):
        super().__init__(first_step, total_steps)
        self._folder = folder
        self._at_step = at_step
        self._signals = signals
        self._until: int | None = None

    def on_train_batch_begin(self, batch, logs=None):
        is_wanted = self.step == self._at_step or self._signals.wants_profile
        if is_wanted and self._until is None:
            self._signals.wants_profile = False
            self._until = self.step + _STEPS
            tf.profiler.experimental.start(str(self._folder))

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self._until is not None and self.step >= self._until:
            self._finish()

    def close(self) -> None:
        """Ends a running profile, however training ended."""
        with contextlib.suppress(tf.errors.UnavailableError):
            if self._until is not None:
                self._finish()

    def _finish(self) -> None:
        self._until = None
        tf.profiler.experimental.stop()
        note(f"profile of {_STEPS} steps in {self._folder}")
