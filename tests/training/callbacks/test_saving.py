"""Saving every so often, when asked to stop, and never what is broken."""

from __future__ import annotations

import os
import signal

import pytest

from rgan_tf.errors import Diverged, Interrupted
from training.callbacks.saving import Saving
from training.stop import StopSignals


@pytest.fixture
def saved() -> list:
    """Steps at which everything was saved."""
    return []


@pytest.fixture
def stop():
    with StopSignals() as signals:
        yield signals


@pytest.fixture
def saving(saved, stop):
    def make(first_step=0, total_steps=10, every_steps=4, is_finite=lambda: True, **options):
        return Saving(
            first_step,
            total_steps,
            save=saved.append,
            every_steps=every_steps,
            stop=stop,
            is_finite=is_finite,
            **options,
        )

    return make


def run_steps(callback, count, logs=None):
    for batch in range(count):
        callback.on_train_batch_end(batch, logs)


def test_saves_every_so_often_and_at_the_end(saving, saved):
    run_steps(saving(), 10)
    assert saved == [4, 8, 10]


def test_intervals_count_from_the_first_step_of_all(saving, saved):
    run_steps(saving(first_step=6), 4)
    assert saved == [8, 10]


def test_what_is_being_skipped_is_saved_later(saving, saved):
    sound = iter([True, True, True, False, False, True, True, True, True, True, True, True])
    states = []

    def is_sound():
        return states[-1]

    callback = saving(total_steps=12, is_sound=is_sound)
    for batch, state in enumerate(sound):
        states.append(state)
        callback.on_train_batch_end(batch)
    assert saved == [6, 8, 12]  # 4 was due


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_saves_and_stops(saving, saved, number):
    callback = saving()
    callback.on_train_batch_end(0)
    os.kill(os.getpid(), number)
    assert saved == []  # in the middle of a step nothing happens
    with pytest.raises(Interrupted, match=f"signal {int(number)} at step 2 of 10") as caught:
        callback.on_train_batch_end(1)
    assert caught.value.exit_code == 75
    assert saved == [2]


def test_several_processes_stop_after_the_same_step(saving, saved, stop):
    """This one is told nothing, another one is told after step 13; they agree every ten steps."""
    asked = []

    def any_process(flag):
        asked.append(flag)
        return len(asked) == 2

    callback = saving(
        first_step=5, total_steps=90, every_steps=50, any_process=any_process, processes=2
    )
    with pytest.raises(Interrupted, match="signal 15 at step 20 of 90"):
        run_steps(callback, 80)
    assert asked == [False, False] and saved == [20]


@pytest.mark.parametrize("fault", ["loss", "weights"])
def test_state_that_is_not_finite_is_never_saved(saving, saved, fault):
    callback = saving(every_steps=1, is_finite=lambda: fault != "weights")
    logs = {"loss/generator": float("nan") if fault == "loss" else 1.0}
    with pytest.raises(Diverged, match="not finite") as caught:
        callback.on_train_batch_end(0, logs)
    assert saved == [] and caught.value.exit_code == 3
