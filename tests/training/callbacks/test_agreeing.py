"""Several processes end after the same step, whichever of them has a callback that ends it."""

from __future__ import annotations

import types

import pytest

from training.callbacks.agreeing import AgreeOnEnd


class Process:
    """One of several, in step with the others."""

    def __init__(self, first_step: int, total_steps: int):
        self.model = types.SimpleNamespace(stop_training=False)
        self.ended_after = None
        self.asked: list[tuple[int, bool]] = []
        self.callback = AgreeOnEnd(first_step, total_steps, any_process=self._any)
        self.callback.set_model(self.model)
        self.answer = lambda step, flag: flag

    def _any(self, flag: bool) -> bool:
        self.asked.append((self.callback.step, flag))
        return self.answer(self.callback.step, flag)

    def run(self, steps: int, ends_at: int | None, ends_epoch: bool = False) -> int:
        """The step after which it ended."""
        for number in range(steps):
            step = self.callback.step + 1
            if step == ends_at and not ends_epoch:
                self.model.stop_training = True
            self.callback.on_train_batch_end(number)
            if step == ends_at and ends_epoch:
                self.model.stop_training = True
            self.callback.on_epoch_end(number)
            if self.model.stop_training:
                break
        return self.callback.step


@pytest.mark.parametrize("ends_epoch", [False, True])
@pytest.mark.parametrize(("ends_at", "expected"), [(3, 10), (9, 10), (11, 20), (None, 25)])
def test_a_wish_waits_for_the_step_at_which_all_agree(ends_at, expected, ends_epoch):
    assert Process(0, 25).run(25, ends_at, ends_epoch) == expected


def test_the_wish_of_another_process_ends_this_one():
    process = Process(0, 25)
    process.answer = lambda step, flag: step == 20
    assert process.run(25, None) == 20
    assert process.asked == [(10, False), (20, False)]


def test_all_ask_at_the_same_steps_wherever_they_began_and_at_the_last():
    process = Process(7, 25)
    process.run(18, None)
    assert [step for step, _ in process.asked] == [10, 20, 25]
