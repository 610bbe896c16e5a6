"""What training tells while it runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.errors import Diverged
from training.callbacks.reports import IndexAge, Pictures, ProgressLine, ScalarLog


def run_steps(callback, count):
    callback.on_train_begin()
    for batch in range(count):
        callback.on_train_batch_end(batch)
    callback.on_train_end()


def test_scalars_are_written_and_checked(tmp_path):
    log = ScalarLog(4, 10, folder=tmp_path)
    log.on_train_batch_end(0)
    log.on_epoch_end(0, {"loss/generator/box": 0.25})
    advice = "the last checkpoint is intact; lower the learning rates or .* name another run"
    with pytest.raises(Diverged, match=f"step 5: b, c not finite; {advice}"):
        log.on_epoch_end(1, {"a": 1.0, "c": np.float32("inf"), "b": float("nan")})
    (path,) = tmp_path.glob("events*")
    found = {
        (value.tag, event.step): float(tf.make_ndarray(value.tensor))
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert found[("loss/generator/box", 5)] == 0.25
    assert np.isnan(found[("b", 5)])  # what broke can be seen


def progress_line(monkeypatch, capsys, is_terminal, logs):
    clock = iter([100.0, 104.0, 105.0])
    monkeypatch.setattr("training.callbacks.reports.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal, raising=False)
    seconds = iter([100.0])
    monkeypatch.setattr("tqdm.std.time", lambda: next(seconds, 104.0))
    line = ProgressLine(10, 30, stage="sg2im", batch_size=8)
    for batch in range(2):
        line.on_train_batch_end(batch)
    line.on_epoch_end(0, logs)
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_progress_is_one_json_line_where_nobody_watches(monkeypatch, capsys):
    err = progress_line(monkeypatch, capsys, False, {"loss/generator": np.float32(1.23456)})
    assert json.loads(err) == {
        "stage": "sg2im",
        "step": 12,
        "of": 30,
        "images_per_second": 4.0,  # 2 steps of 8 images in 4 s
        "seconds_left": 36,  # 18 steps at half a step a second
        "loss/generator": 1.2346,
    }


def test_progress_stays_on_its_line_on_a_terminal(monkeypatch, capsys):
    err = progress_line(monkeypatch, capsys, True, {"loss/generator": 1.5})
    assert "\n" not in err
    assert "sg2im:" in err and "12/30 [00:04<00:36" in err  # 18 steps at half a step a second
    assert "4.0 images/s" in err and "generator 1.5" in err


def test_an_early_end_leaves_a_line_for_its_message(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    line = ProgressLine(10, 30, stage="sg2im", batch_size=8)
    line.close()
    line.close()
    assert capsys.readouterr().err.count("\n") == 1


def test_pictures_come_every_so_often_and_at_the_end(tmp_path):
    pictures = Pictures(
        3,
        11,
        draw=lambda: {"grid": np.zeros([4, 4, 3], np.uint8)},
        folder=tmp_path / "logs",
        picture_folder=tmp_path / "pictures",
        every_steps=5,
    )
    run_steps(pictures, 8)
    written = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert written == ["grid-0000005.png", "grid-0000010.png", "grid-0000011.png"]
    assert list((tmp_path / "logs").glob("events*"))


def test_the_age_of_the_index_is_a_figure_of_the_interval():
    age = IndexAge(10, 20, age=lambda step: step % 8)
    age.on_train_batch_end(0)
    logs = {}
    age.on_epoch_end(0, logs)
    assert logs == {"retrieval/index_age_steps": 3.0}
