"""Cores of a machine that others use too, as Slurm or Docker divide it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rgan_tf.cores import usable_cores


def test_cores_that_were_not_given_do_not_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 7, 8})
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    assert usable_cores() == 3


@pytest.mark.parametrize(("known", "expected"), [(6, 6), (None, 1)])
def test_systems_that_give_none(monkeypatch, known, expected):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: known)
    assert usable_cores() == expected


def test_one_core_of_this_machine():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from rgan_tf.cores import usable_cores; print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
