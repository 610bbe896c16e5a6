"""What happens beside the steps: saving, stopping, reporting."""

from __future__ import annotations

import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.errors import Diverged, Interrupted
from training.callbacks import Checkpoints, Pictures, ProgressLine, ScalarLog


@pytest.fixture
def saved() -> list:
    """Steps at which state and weights were saved."""
    return []


@pytest.fixture
def checkpoints(saved):
    def make(first_step=0, total_steps=10, every_steps=4, is_finite=lambda: True):
        manager = SimpleNamespace(save=lambda checkpoint_number: saved.append(checkpoint_number))
        return Checkpoints(
            first_step,
            total_steps,
            manager=manager,
            every_steps=every_steps,
            save_weights=lambda step: saved.append(-step),
            is_finite=is_finite,
        )

    return make


def run_steps(callback, count, logs=None):
    callback.on_train_begin()
    for batch in range(count):
        callback.on_train_batch_end(batch, logs)
    callback.on_train_end()


def test_saves_state_before_weights_every_so_often_and_at_the_end(checkpoints, saved):
    run_steps(checkpoints(), 10)
    assert saved == [4, -4, 8, -8, 10, -10]


def test_intervals_count_from_the_first_step_of_all(checkpoints, saved):
    run_steps(checkpoints(first_step=6), 4)
    assert saved == [8, -8, 10, -10]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_saves_and_stops(checkpoints, saved, number):
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    callback = checkpoints()
    callback.on_train_begin()
    callback.on_train_batch_end(0)
    os.kill(os.getpid(), number)
    assert saved == []  # in the middle of a step nothing happens
    with pytest.raises(Interrupted, match=f"signal {int(number)} at step 2 of 10") as caught:
        callback.on_train_batch_end(1)
    assert caught.value.exit_code == 75
    assert saved == [2, -2]
    assert {n: signal.getsignal(n) for n in before} == before


def test_a_signal_during_the_last_pictures_is_not_lost(checkpoints, saved):
    callback = checkpoints(total_steps=1)
    callback.on_train_begin()
    callback.on_train_batch_end(0)
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted):
        callback.on_train_end()
    assert saved == [1, -1]


@pytest.mark.parametrize("fault", ["loss", "weights"])
def test_state_that_is_not_finite_is_never_saved(checkpoints, saved, fault):
    callback = checkpoints(every_steps=1, is_finite=lambda: fault != "weights")
    logs = {"loss/generator": float("nan") if fault == "loss" else 1.0}
    callback.on_train_begin()
    with pytest.raises(Diverged, match="not finite") as caught:
        callback.on_train_batch_end(0, logs)
    callback.restore_handlers()
    assert saved == [] and caught.value.exit_code == 3


def test_scalars_are_written_and_checked(tmp_path):
    log = ScalarLog(4, 10, folder=tmp_path)
    log.on_train_batch_end(0)
    log.on_epoch_end(0, {"loss/generator/box": 0.25})
    with pytest.raises(Diverged, match="step 5: b, c not finite"):
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
    monkeypatch.setattr("training.callbacks.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal, raising=False)
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
    assert err.startswith("\rsg2im 12/30") and "\n" not in err
    assert "4.0 images/s" in err and "0:00:36 left" in err and "generator 1.5" in err


def test_pictures_come_every_so_often_and_at_the_end(tmp_path):
    written = []
    pictures = Pictures(
        3,
        11,
        draw=lambda: {"grid": np.zeros([4, 4, 3], np.uint8)},
        folder=tmp_path / "logs",
        picture_folder=tmp_path / "pictures",
        every_steps=5,
        write_png=lambda path, picture: written.append(path.name),
    )
    run_steps(pictures, 8)
    assert written == ["grid-0000005.png", "grid-0000010.png", "grid-0000011.png"]
    assert list((tmp_path / "logs").glob("events*"))
