"""Ends training in every process when a callback ends it in one."""

from __future__ import annotations

from collections.abc import Callable

from training.callbacks.stage import StageCallback

AGREE_EVERY_STEPS = 10  # how often several processes agree whether to stop


class AgreeOnEnd(StageCallback):
    """Makes `model.stop_training` the same in all processes; comes after the callbacks that set it.

    A process that ended by itself would leave the others waiting for its part of the next step. So
    its wish waits for the next step at which all agree, and then all end.

    Args:
      first_step, total_steps: see `StageCallback`.
      any_process: whether a flag is set in any training process; all must call it.
    """

    def __init__(self, first_step: int, total_steps: int, *, any_process: Callable[[bool], bool]):
        super().__init__(first_step, total_steps)
        self._any_process = any_process
        self._is_wished = self._is_agreed = False

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        self._is_wished |= self.model.stop_training
        if self.step % AGREE_EVERY_STEPS == 0 or self.step == self.total_steps:
            self._is_agreed |= self._any_process(self._is_wished)
        self.model.stop_training = self._is_agreed

    def on_epoch_end(self, epoch, logs=None):
        self._is_wished |= self.model.stop_training
        self.model.stop_training = self._is_agreed
