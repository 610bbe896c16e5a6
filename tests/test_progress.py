from __future__ import annotations

import io

import pytest

from rgan_tf.progress import followed, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def run(monkeypatch):
    """What work of ten items writes, which take so many seconds each."""

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


@pytest.mark.parametrize("count, lines", [(19_999, 0), (20_000, 2)])
def test_only_the_reading_of_many_items_is_followed(monkeypatch, count, lines):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    assert list(followed(range(count), "images")) == list(range(count))
    assert len(stream.getvalue().splitlines()) == lines
