from __future__ import annotations

import io

import pytest
import tensorflow as tf

from rgan_tf.progress import followed, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def run(monkeypatch):
    """What work of ten items writes, which take that many seconds each."""

    def written(stream, seconds_per_item, total=10, done=0):
        now = [100.0]
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setattr("tqdm.std.time", lambda: now[0])
        with progress_bar("images", total, done=done) as bar:
            for _ in range(10 - done):
                now[0] += seconds_per_item
                bar.update()
        return stream.getvalue()

    return written


def test_a_log_gets_a_line_every_five_seconds_with_the_time_left(run):
    assert run(io.StringIO(), 2.0).splitlines() == [
        "images: 0/10 [00:00<?, ?it/s]",
        "images: 3/10 [00:06<00:14,  2.00s/it]",
        "images: 6/10 [00:12<00:08,  2.00s/it]",
        "images: 9/10 [00:18<00:02,  2.00s/it]",
        "images: 10/10 [00:20<00:00,  2.00s/it]",
    ]


def test_slow_items_have_a_line_each_and_the_last_one_no_second(run):
    counts = [line.split(" [")[0] for line in run(io.StringIO(), 6.0).splitlines()]
    assert counts == [f"images: {number}/10" for number in range(11)]


def test_quick_work_leaves_its_beginning_and_its_end(run):
    first, last = run(io.StringIO(), 0.125).splitlines()
    assert first.startswith("images: 0/10") and last == "images: 10/10 [00:01<00:00,  8.00it/s]"


def test_what_was_done_before_does_not_count_for_the_rate(run):
    lines = run(io.StringIO(), 2.0, done=4).splitlines()
    assert lines[1] == "images: 7/10 [00:06<00:06,  2.00s/it]"


def test_a_terminal_gets_one_live_line(run):
    text = run(Terminal(), 2.0)
    assert text.count("\n") == 1 and text.endswith("\n")
    assert text.count("\r") == 12 and "10%" in text and "<00:18" in text


def test_work_of_unknown_length(run):
    lines = run(io.StringIO(), 2.0, total=None).splitlines()
    assert lines[1].startswith("images: 3it [00:06") and lines[-1].startswith("images: 10it")


def test_a_bar_that_is_not_shown_writes_nothing(monkeypatch):
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr("sys.stderr", stream)
        with progress_bar("images", 1, shown=False) as bar:
            bar.update()
        assert stream.getvalue() == ""


def test_bytes_are_counted_by_millions(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with progress_bar("read", 5_000_000, unit="B") as bar:
        bar.update(5_000_000)
    assert stream.getvalue().splitlines()[-1].startswith("read: 5.00M/5.00M [00:00<00:00, ")


@pytest.mark.parametrize(
    ("seconds", "lines"), [(0.4, []), (2.0, ["3/10", "6/10", "9/10", "10/10"])]
)
def test_only_what_takes_some_seconds_is_followed(monkeypatch, seconds, lines):
    now, stream = [100.0], io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    for number, item in enumerate(followed(range(10), "images")):
        assert item == number
        now[0] += seconds
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == lines


def test_what_does_not_know_its_length_is_followed_too(monkeypatch, capsys):
    monkeypatch.setattr("rgan_tf.progress._LONG_S", 0.0)
    batches = tf.data.Dataset.range(2)
    assert list(followed((name for name in "ab"), "names")) == ["a", "b"]
    assert len(list(followed(batches, "batches"))) == 2
    assert next(followed(batches.repeat(), "endless")) == 0
    written = capsys.readouterr().err
    assert "names: 2it" in written and "batches: 2/2" in written and "endless: 0it" in written
