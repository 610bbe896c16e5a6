"""Saves at regular steps and when asked to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable

from training.callbacks.agreeing import AGREE_EVERY_STEPS
from training.callbacks.stage import StageCallback, refuse_non_finite
from training.stop import StopSignals


class Saving(StageCallback):
    """Saves training state and inference weights at regular steps and on a stop signal.

    When a signal asks to stop, the current step is finished, everything is saved, and `Interrupted`
    is raised; the same command then resumes. State that is not finite is never saved, because it
    would replace the state to roll back to. Nor is state saved while steps are being skipped: if a
    signal then stops training, it resumes from the checkpoint before.

    Args:
      first_step, total_steps: see `StageCallback`.
      save: writes the checkpoint of a step and then the inference weights.
      every_steps: steps between saves.
      stop: holds the stop signal.
      is_finite: whether every weight is finite.
      is_sound: whether the latest step was not skipped, or only because of a float16 overflow.
      any_process: whether a flag is set in any training process.
      processes: number of training processes.
    """

    def __init__(
        self,
        first_step: int,
        total_steps: int,
        *,
        save: Callable[[int], None],
        every_steps: int,
        stop: StopSignals,
        is_finite: Callable[[], bool],
        is_sound: Callable[[], bool] = lambda: True,
        any_process: Callable[[bool], bool] = bool,
        processes: int = 1,
    ):
        super().__init__(first_step, total_steps)
        self._save = save
        self._every_steps = every_steps
        self._is_finite = is_finite
        self._is_sound = is_sound
        self._any_process = any_process
        self._processes = processes
        self._stop = stop
        self._saved_at = first_step

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        is_asked = self._is_asked()
        if self._is_due() or (is_asked and self._is_sound()):
            self._save_now(logs)
        if is_asked:
            # The signal may have reached another process only.
            self._stop.number = self._stop.number or int(signal.SIGTERM)
            self._stop.raise_if_requested(f"at step {self.step} of {self.total_steps}")

    def save_early(self) -> None:
        """Saves if a callback has ended training before the last step."""
        if self.step != self._saved_at and self._is_sound():
            self._save_now(None)

    def _is_asked(self) -> bool:
        if self._processes == 1:
            return bool(self._stop.number)
        # All processes must stop after the same step, or the others wait for ever.
        asks = self.step % AGREE_EVERY_STEPS == 0 or self.step == self.total_steps
        return asks and self._any_process(bool(self._stop.number))

    def _is_due(self) -> bool:
        if self.step == self.total_steps:
            return self._is_sound()
        # While steps are skipped, saving waits for the next sound one.
        since = self.step - self._saved_at // self._every_steps * self._every_steps
        return since >= self._every_steps and self._is_sound()

    def _save_now(self, logs) -> None:
        refuse_non_finite(self.step, logs, "" if self._is_finite() else "weights")
        self._save(self.step)
        self._saved_at = self.step
