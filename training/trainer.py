"""Trains one stage: resumes from the newest checkpoint, saves, rolls back, gives up."""

from __future__ import annotations

import contextlib
import functools
import random
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from rgan_tf.errors import BadInput
from rgan_tf.progress import note
from rgan_tf.runs import STAGES, Run, checkpoint_identity, save_weights
from training.callbacks.agreeing import AgreeOnEnd
from training.callbacks.guarding import CollapseWatch, FiniteWatch, SkippedStepsWatch
from training.callbacks.hyperparameters import Hyperparameters
from training.callbacks.profiling import Profiling
from training.callbacks.projector import Projector
from training.callbacks.reports import Pictures, ProgressLine, ScalarLog
from training.callbacks.saving import Saving
from training.callbacks.stage import StageCallback
from training.checkpoints import CheckpointFolder
from training.rollbacks import RollbackNeeded, Rollbacks
from training.stages.task import Task
from training.stop import StopSignals
from training.workers import Workers


class Trainer:
    """Runs the tasks of a run; skips finished ones and resumes unfinished ones.

    Args:
      run: the run folder to write to.
      workers: the training processes.
      stop: holds stop signals.
      profile_at: step of a TensorBoard profile in each trained stage, or None.
      callbacks: the user's, called in every stage after those that save and watch. `fit` may be
        called several times per stage, and `on_train_begin` with it.
    """

    def __init__(
        self,
        run: Run,
        workers: Workers,
        stop: StopSignals,
        *,
        profile_at: int | None = None,
        callbacks: Sequence[tf.keras.callbacks.Callback] = (),
    ):
        self.run = run
        self.workers = workers
        self.stop = stop
        self.profile_at = profile_at
        self.callbacks = list(callbacks)

    def train(self, task: Task) -> bool:
        """Trains a stage to its end.

        Returns:
          False if a user's callback ended it early (`model.stop_training`).

        Raises:
          Interrupted: if a signal came; everything is saved.
          Diverged: after too many rollbacks.
          CorruptData: if there are checkpoints but none is intact.
          BadInput: if steps are to be added to a stage that has weights and no checkpoint.
        """
        task.check()
        if not self._begins(task):
            return True
        # Independent of the stages that this process trained before.
        with _seeded(self.run.config.training.seed + task.place):
            task.prepare()
            with self.workers.strategy.scope():
                task.model = task.build_model()
            return _TaskTraining(self, task).run_to_end()

    def _begins(self, task: Task) -> bool:
        """Whether a stage must be trained."""
        # This also waits until another process has written the record of the stage before.
        if self.workers.any(bool(self.stop.number)):
            self.stop.number = self.stop.number or int(signal.SIGTERM)
            self.stop.raise_if_requested(f"before stage {task.name}")
        return not self.run.has_trained(task.name, task.steps)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Initial weights come from this seed; the caller's generators then go on.

    `random` and `np.random` go on as if nothing had been drawn. TensorFlow and Keras do not tell
    their state, and go on from a seed drawn from it; where the caller has set none, TensorFlow has
    none afterwards.
    """
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002 - the caller's
    try:
        onward = tf.compat.v1.get_seed(None)[1]
        is_set = onward is not None
    except RuntimeError:  # deterministic operations cannot do without a seed
        onward, is_set = None, True
    onward = random.getrandbits(31) if onward is None else onward
    tf.keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        tf.keras.utils.set_random_seed(onward)
        if not is_set:
            tf.random.set_seed(None)
        random.setstate(python)
        np.random.set_state(array)  # noqa: NPY002


class _TaskTraining:
    """A task with a built model, its checkpoints and rollbacks."""

    def __init__(self, trainer: Trainer, task: Task):
        run, workers = trainer.run, trainer.workers
        folder = run.stage_folder(task.name)
        self._trainer = trainer
        self._run = run
        self._workers = workers
        self._task = task
        self._checkpoints = CheckpointFolder(
            folder / "checkpoints",
            task.model.state(),
            checkpoint_identity(run, task.name),
            writes=workers.is_chief,
        )
        self._rollbacks = Rollbacks(folder / "rollbacks.json", writes=workers.is_chief)
        self._seconds_before = float(run.stage_record(task.name).get("seconds", 0.0))
        self._start = time.monotonic()

    def run_to_end(self) -> bool:
        """See `Trainer.train`."""
        first_step = self._restore()
        if first_step is None:
            self._require_new()
            first_step = 0
            self._checkpoints.save(0)  # for a rollback in the first steps
        profile_at = self._trainer.profile_at
        while True:
            self._workers.wait()
            self._task.model.rollback_count.assign(len(self._rollbacks))
            try:
                return self._fit_from(first_step, profile_at)
            except RollbackNeeded as needed:
                note(f"{self._task.name}: {needed}; rolling back")
                self._rollbacks.add(
                    needed, functools.partial(self._task.scenes_of, seed=self._data_seed())
                )
                first_step = self._restore()
                profile_at = None

    def _require_new(self) -> None:
        """Refuses to begin a stage again over the weights that it has.

        Raises:
          BadInput: if it has some, because its checkpoints were deleted or its weights were taken
            from another run.
        """
        record = self._run.stage_record(self._task.name)
        if record.get("steps"):
            origin = record.get("taken_from")
            whose = f"were taken from {origin}" if origin else "are there"
            raise BadInput(
                f"{self._checkpoints.folder}: holds no checkpoint from which {self._task.name} "
                f"could resume up to step {self._task.steps}; its weights of step "
                f"{record['steps']} {whose}. Restore a checkpoint, or remove "
                f"{self._run.stage_folder(self._task.name)} to train it from the start"
            )
        if self._workers.is_chief:
            self._task.forget_after(0)

    def _restore(self) -> int | None:
        """Restores the newest checkpoint, deletes files of later steps, and returns its step."""
        step = self._checkpoints.restore_newest()
        if step is not None and self._workers.is_chief:
            # Also at the start: a process may have been killed during a rollback.
            self._task.forget_after(step)
        return step

    def _fit_from(self, first_step: int, profile_at: int | None) -> bool:
        task, model, workers = self._task, self._task.model, self._workers
        settings, last = self._run.config.training, task.steps
        watch = CollapseWatch(
            first_step,
            last,
            adversarial=task.adversarial,
            warnings=self._run.stage_record(task.name).get("warnings"),
        )
        if first_step >= last:
            # Finished, or stopped between the last checkpoint and its weights.
            self._save_weights(first_step, watch)
            workers.wait()
            return True

        def save(step: int) -> None:
            self._checkpoints.save(step)
            self._save_weights(step, watch)

        saving = Saving(
            first_step,
            last,
            save=save,
            every_steps=settings.checkpoint_every_steps,
            stop=self._trainer.stop,
            is_finite=model.weights_are_finite,
            is_sound=self._is_sound,
            any_process=workers.any,
            processes=workers.count,
        )
        logs = self._run.folder / "logs" / task.name
        profiling = Profiling(
            first_step, last, folder=logs, at_step=profile_at, signals=self._trainer.stop
        )
        callbacks = [
            SkippedStepsWatch(first_step, last, watched=model),
            saving,
            watch,
            *task.callbacks(first_step),
            *self._trainer.callbacks,
        ]
        if workers.count > 1:
            callbacks.append(AgreeOnEnd(first_step, last, any_process=workers.any))
        ends: list[Profiling | ProgressLine] = [profiling]
        if workers.is_chief:
            progress = ProgressLine(first_step, last, stage=task.name, batch_size=task.rows)
            ends.append(progress)
            callbacks += [*self._boards(first_step, logs), profiling, progress]
            callbacks.append(ScalarLog(first_step, last, folder=logs))
        else:
            callbacks.append(FiniteWatch(first_step, last))
        step, seed = first_step, self._data_seed()
        try:
            for steps, epochs in segments(
                first_step, last, settings.log_every_steps, task.break_every_steps
            ):
                dataset = workers.dataset(lambda share, step=step: task.batches(step, share, seed))
                model.fit(
                    dataset, steps_per_epoch=steps, epochs=epochs, verbose=0, callbacks=callbacks
                )
                step += steps * epochs
                if model.stop_training and saving.step < last:
                    saving.save_early()
                    break
        finally:
            for end in ends:
                end.close()
        workers.wait()
        return saving.step >= last

    def _boards(self, first_step: int, logs: Path) -> list[StageCallback]:
        """TensorBoard content besides scalars."""
        task, run, last = self._task, self._run, self._task.steps
        return [
            Pictures(
                first_step,
                last,
                draw=task.pictures,
                folder=logs,
                picture_folder=run.folder / "pictures",
                every_steps=run.config.training.picture_every_steps,
                is_sound=self._is_sound,
            ),
            Hyperparameters(
                first_step,
                last,
                config=run.config,
                trial=str(run.folder.resolve()),
                stage=task.name,
                folder=logs.parent,
                figures=lambda: run.stage_record(task.name),
                is_last=task.name == STAGES[-1],
            ),
            Projector(
                first_step, last, bank=task.data.bank, embeddings=task.embeddings, folder=logs
            ),
        ]

    def _save_weights(self, step: int, watch: CollapseWatch) -> None:
        if not self._workers.is_chief:
            return
        task, model = self._task, self._task.model
        notes = {
            **task.record(step),
            "seconds": round(self._seconds_before + time.monotonic() - self._start, 1),
            "skipped_steps": int(model.guard.skipped.numpy()),
            "rollbacks": int(model.rollback_count.numpy()),
        }
        if watch.warnings:
            notes["warnings"] = watch.warnings
        save_weights(self._run, task.name, model.inference_networks(), steps=step, **notes)

    def _is_sound(self) -> bool:
        return not int(self._task.model.guard.skipped_in_row.numpy())

    def _data_seed(self) -> int:
        """Seed of order and augmentation; changed by every rollback, as in the model."""
        return self._run.config.training.seed + 1_000_003 * len(self._rollbacks)


def segments(first: int, last: int, interval: int, break_every: int) -> list[tuple[int, int]]:
    """Splits steps into calls of `fit`: (steps per epoch, epochs); whole intervals, then the rest.

    Args:
      first, last: the steps to do.
      interval: of logging.
      break_every: no call crosses a multiple of it; 0 = no limit.
    """
    breaks = (
        list(range((first // break_every + 1) * break_every, last, break_every))
        if break_every
        else []
    )
    edges = [first, *breaks, last]
    parts = []
    for begin, end in zip(edges, edges[1:], strict=False):
        whole, rest = divmod(end - begin, interval)
        parts += [part for part in ((interval, whole), (rest, 1)) if all(part)]
    return parts
