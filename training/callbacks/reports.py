"""Reports of training: a line per interval, TensorBoard scalars, pictures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tqdm import tqdm

from rgan_tf.model.guarded_model import SOUND_SHARE
from rgan_tf.progress import note
from rgan_tf.storage.files import write_bytes_atomic
from rgan_tf.storage.image import encode_png
from training.callbacks.stage import StageCallback, refuse_non_finite


class ProgressLine(StageCallback):
    """Reports step, images per second, time left and losses after every interval, on stderr.

    On a terminal as a bar, elsewhere as JSON lines.
    """

    def __init__(self, first_step: int, total_steps: int, *, stage: str, batch_size: int):
        super().__init__(first_step, total_steps)
        self.stage = stage
        self.batch_size = batch_size
        self._interval_start = (first_step, time.monotonic())
        self._bar = tqdm(
            desc=stage,
            total=total_steps,
            initial=first_step,
            unit="step",
            position=0,  # not below a bar that somebody has left open
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def on_epoch_end(self, epoch, logs=None):
        step, start = self._interval_start
        now = time.monotonic()
        steps_per_second = (self.step - step) / max(now - start, 1e-9)
        self._interval_start = (self.step, now)
        logs = {key: round(float(value), 4) for key, value in (logs or {}).items()}
        if self._bar.disable:
            left = (self.total_steps - self.step) / max(steps_per_second, 1e-9)
            record = {
                "stage": self.stage,
                "step": self.step,
                "of": self.total_steps,
                "images_per_second": round(steps_per_second * self.batch_size, 2),
                "seconds_left": round(left),
                **logs,
            }
            note(json.dumps(record))
            return
        losses = [f"{key.split('/')[-1]} {value:.3g}" for key, value in logs.items()]
        speed = f"{steps_per_second * self.batch_size:.1f} images/s"
        self._bar.set_postfix_str("  ".join([speed, *losses]), refresh=False)
        self._bar.update(self.step - self._bar.n)

    def close(self) -> None:
        """Ends the bar's line, however training ended."""
        self._bar.close()


class IndexAge(StageCallback):
    """Adds the age of the candidates to every interval's metrics; comes first."""

    def __init__(self, first_step: int, total_steps: int, *, age: Callable[[int], int]):
        super().__init__(first_step, total_steps)
        self._age = age

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["retrieval/index_age_steps"] = float(self._age(self.step))


class ScalarLog(StageCallback):
    """Writes the interval's means to TensorBoard, and stops at the first that is not finite."""

    def __init__(self, first_step: int, total_steps: int, *, folder: Path):
        super().__init__(first_step, total_steps)
        self._writer = tf.summary.create_file_writer(str(folder))

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if not logs.get(SOUND_SHARE, 1.0):  # only zeros
            logs = {name: value for name, value in logs.items() if name.startswith("guard/")}
        with self._writer.as_default(step=self.step):
            for name, value in logs.items():
                tf.summary.scalar(name, value)
        self._writer.flush()
        refuse_non_finite(self.step, logs)


class Pictures(StageCallback):
    """Draws pictures at regular steps, for TensorBoard and as PNG files.

    Args:
      draw: returns name -> uint8 [H, W, 3]; may return none.
      folder: TensorBoard folder.
      picture_folder: folder of the PNG files.
      every_steps: steps between pictures; also drawn at the last step.
      is_sound: whether the latest step was not skipped; after a skipped step nothing is drawn.
    """

    def __init__(
        self,
        first_step: int,
        total_steps: int,
        *,
        draw: Callable[[], dict],
        folder: Path,
        picture_folder: Path,
        every_steps: int,
        is_sound: Callable[[], bool] = lambda: True,
    ):
        super().__init__(first_step, total_steps)
        self._draw = draw
        self._is_sound = is_sound
        self._folder = folder
        self._writer: tf.summary.SummaryWriter | None = None  # created for the first picture
        self._picture_folder = picture_folder
        self._every_steps = every_steps

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        is_due = self.step % self._every_steps == 0 or self.step == self.total_steps
        if not is_due or not self._is_sound():
            return
        for name, picture in self._draw().items():
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(str(self._folder))
            with self._writer.as_default(step=self.step):
                tf.summary.image(name, picture[None])
            self._writer.flush()
            path = self._picture_folder / f"{name}-{self.step:07d}.png"
            write_bytes_atomic(path, encode_png(picture))
