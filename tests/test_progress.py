from __future__ import annotations

import io

import pytest

from rgan_tf.progress import Progress, format_seconds


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def run(stream, seconds_per_item, total=10):
    clock = Clock()
    with Progress("images", total, stream=stream, clock=clock) as progress:
        for _ in range(10):
            clock.now += seconds_per_item
            progress.advance()
    return stream.getvalue()


def test_a_log_gets_a_line_every_five_seconds_with_the_time_left():
    lines = run(io.StringIO(), 2.0).splitlines()
    assert lines == [
        "images: 3/10, 0.5/s, 14 s left",
        "images: 6/10, 0.5/s, 8 s left",
        "images: 9/10, 0.5/s, 2 s left",
        "images: 10/10 in 20 s",
    ]


def test_quick_work_leaves_one_line():
    assert run(io.StringIO(), 0.1) == "images: 10/10 in 1 s\n"


def test_a_terminal_gets_one_live_line():
    text = run(Terminal(), 2.0)
    assert text.count("\n") == 1 and text.endswith("\n")
    parts = text.rstrip("\n").split("\r")[1:]
    assert len(parts) == 11
    assert parts[0] == "images: 1/10, 0.5/s, 18 s left"
    # A shorter line covers the longer one before it.
    for earlier, later in zip(parts[:-1], parts[1:], strict=True):
        assert len(later) >= len(earlier.rstrip())


def test_work_of_unknown_length():
    assert "left" not in run(io.StringIO(), 2.0, total=None)


@pytest.mark.parametrize(
    "seconds, text",
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds, text):
    assert format_seconds(seconds) == text
