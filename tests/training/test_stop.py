"""Signals are remembered while training runs, and given back afterwards."""

from __future__ import annotations

import os
import signal

import pytest

from rgan_tf.errors import Interrupted
from training.stop import StopSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered_and_obeyed_where_it_is_asked_for(number):
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    with StopSignals() as stop:
        stop.raise_if_requested("never")
        os.kill(os.getpid(), number)
        assert stop.number == number
        with pytest.raises(Interrupted, match=f"stopped by signal {int(number)} before stage b"):
            stop.raise_if_requested("before stage b")
    assert {n: signal.getsignal(n) for n in before} == before


def test_an_impatient_user_is_heard():
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.number == signal.SIGINT
    with StopSignals() as stop:  # a supervisor may well repeat itself
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
