"""A program that ends while batches are being made."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from rgan_tf.data import quiet_exit
from rgan_tf.data.quiet_exit import QuietAtExit

# Without `QuietAtExit` some of its kind hang, and the input pipeline of a large config always does.
SCRIPT = """
import numpy as np
import tensorflow as tf
from rgan_tf.data.quiet_exit import QuietAtExit

@QuietAtExit
def slow(number):
    return np.float32(sum(value * value for value in range(200_000)) * 0 + number)

load = lambda number: tf.numpy_function(slow, [number], tf.float32)
data = tf.data.Dataset.range(10**6).map(load, num_parallel_calls=2).prefetch(8)
batches = iter(data)
print(next(batches).numpy())
"""


def test_a_script_that_reads_one_batch_ends():
    words = [sys.executable, "-c", SCRIPT]
    result = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0 and result.stdout == "0.0\n", result.stderr
    assert "the program ends" not in result.stderr


def test_who_never_has_enough_is_refused(monkeypatch):
    monkeypatch.setattr(quiet_exit, "_FILLING_S", 0.3)
    monkeypatch.setattr(quiet_exit, "_QUIET_S", 0.1)
    make = QuietAtExit(lambda: time.sleep(0.005))
    refused = []

    def greedy():
        try:
            while True:
                make()
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=greedy)
    thread.start()
    make.end()
    thread.join(60)
    assert refused == ["the program ends; no further batch is made"]
