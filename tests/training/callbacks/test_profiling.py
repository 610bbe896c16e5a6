"""Profiles are taken where they are asked for, and the signal is given back."""

from __future__ import annotations

import os
import signal

import pytest

from training.callbacks.profiling import Profiling
from training.stop import StopSignals


@pytest.fixture
def profiles(monkeypatch):
    """What the profiler was told, in place of a real one."""
    told = []
    monkeypatch.setattr("tensorflow.profiler.experimental.start", told.append)
    monkeypatch.setattr("tensorflow.profiler.experimental.stop", lambda: told.append("stop"))
    return told


@pytest.fixture
def signals():
    with StopSignals() as remembered:
        yield remembered


def run_steps(callback, count, ask_after=None):
    for batch in range(count):
        callback.on_train_batch_begin(batch)
        callback.on_train_batch_end(batch)
        if callback.step == ask_after:
            os.kill(os.getpid(), signal.SIGUSR1)


def test_ten_steps_from_the_one_that_was_named(tmp_path, profiles, signals, capsys):
    callback = Profiling(0, 40, folder=tmp_path, at_step=5, signals=signals)
    run_steps(callback, 14)
    assert profiles == [str(tmp_path)]
    run_steps(callback, 1)  # the next call of `fit`
    assert profiles == [str(tmp_path), "stop"]
    assert "profile of 10 steps" in capsys.readouterr().err
    run_steps(callback, 20)
    assert len(profiles) == 2
    callback.close()


def test_a_signal_asks_for_one_at_any_time(tmp_path, profiles, signals):
    callback = Profiling(0, 40, folder=tmp_path, at_step=None, signals=signals)
    run_steps(callback, 30, ask_after=12)
    assert profiles == [str(tmp_path), "stop"]
    run_steps(callback, 5)
    callback.close()
    assert profiles == [str(tmp_path), "stop"]  # asked once, taken once


def test_a_step_that_is_over_asks_for_nothing(tmp_path, profiles, signals):
    callback = Profiling(30, 40, folder=tmp_path, at_step=5, signals=signals)
    run_steps(callback, 10)
    assert profiles == []


def test_one_that_the_end_cuts_short_is_written(tmp_path, profiles, signals):
    callback = Profiling(0, 8, folder=tmp_path, at_step=3, signals=signals)
    run_steps(callback, 8)
    assert profiles == [str(tmp_path)]
    callback.close()
    assert profiles == [str(tmp_path), "stop"]


def test_a_real_profile_is_written(tmp_path, signals):
    callback = Profiling(0, 11, folder=tmp_path, at_step=0, signals=signals)
    run_steps(callback, 11)
    callback.close()
    assert list(tmp_path.rglob("*.xplane.pb"))
