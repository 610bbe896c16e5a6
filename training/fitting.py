"""Runs `fit` for one stage: goes on from the newest checkpoint, saves, rolls back, gives up."""

from __future__ import annotations

import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.data.pipeline import Share
from rgan_tf.model.guarded_model import GuardedModel
from rgan_tf.runs import Run, checkpoint_identity, save_weights
from training.callbacks.guarding import CollapseWatch, FiniteWatch, TroubleWatch
from training.callbacks.profiling import Profiling
from training.callbacks.reports import ProgressLine, ScalarLog
from training.callbacks.saving import Saving
from training.callbacks.stage import StageCallback
from training.checkpoints import CheckpointFolder
from training.rollbacks import Rollbacks, Trouble
from training.stop import StopSignals
from training.workers import Workers


@dataclasses.dataclass(frozen=True)
class Stage:
    """What one stage brings to the common loop.

    Attributes:
      name: of the stage.
      model: compiled, within the strategy's scope.
      steps: of the stage.
      images_per_step: for the progress line.
      batches: given first step, share and seed, an endless dataset.
      scenes_of: given step and seed, the image ids of a batch; None where batches have none.
      callbacks: given the first step, callbacks of this stage's own, in their order.
      record: given the step, entries of the stage's record.
      break_every_steps: `batches` is asked again so often; 0 = never.
      forget_after: given a step that training went back to, deletes what is of later ones.
    """

    name: str
    model: GuardedModel
    steps: int
    images_per_step: int
    batches: Callable[[int, Share, int], tf.data.Dataset]
    scenes_of: Callable[[int, int], list[int]] | None = None
    callbacks: Callable[[int], Sequence[StageCallback]] = lambda first_step: ()
    record: Callable[[int], dict[str, Any]] = lambda step: {}
    break_every_steps: int = 0
    forget_after: Callable[[int], None] = lambda step: None


def fit_stage(
    run: Run, stage: Stage, workers: Workers, stop: StopSignals, *, profile_at: int | None = None
) -> None:
    """Trains a stage to its end.

    Args:
      run: where everything is written.
      stage: what is trained.
      workers: who trains.
      stop: who may end it early.
      profile_at: step of a TensorBoard profile.

    Raises:
      Interrupted: if a signal came; everything is saved.
      Diverged: after too many roll-backs.
      CorruptData: if there are checkpoints and none can be read.
    """
    model, folder = stage.model, run.stage_folder(stage.name)
    checkpoints = CheckpointFolder(
        folder / "checkpoints",
        model.state(),
        checkpoint_identity(run, stage.name),
        writes=workers.is_chief,
    )
    rollbacks = Rollbacks(folder / "rollbacks.json", writes=workers.is_chief)
    clock = _Clock(float(run.stage_record(stage.name).get("seconds", 0.0)))
    first_step = checkpoints.restore_newest()
    if first_step is None:
        first_step = 0
        checkpoints.save(0)  # there is always something to go back to
    elif workers.is_chief:
        stage.forget_after(first_step)  # a process may have been killed while it went back
    workers.wait()
    while True:
        model.detour.assign(len(rollbacks))
        try:
            _fit_from(run, stage, workers, stop, checkpoints, clock, first_step, profile_at)
            return
        except Trouble as trouble:
            print(f"{stage.name}: {trouble}; going back", file=sys.stderr, flush=True)
            scenes_of = stage.scenes_of
            if scenes_of is not None:
                scenes_of = functools.partial(scenes_of, seed=_data_seed(run, len(rollbacks)))
            rollbacks.add(trouble, scenes_of)
            first_step = checkpoints.restore_newest()
            if workers.is_chief:
                stage.forget_after(first_step)
            workers.wait()
            profile_at = None


def _fit_from(
    run: Run,
    stage: Stage,
    workers: Workers,
    stop: StopSignals,
    checkpoints: CheckpointFolder,
    clock: _Clock,
    first_step: int,
    profile_at: int | None,
) -> None:
    model, settings, last = stage.model, run.config.training, stage.steps
    watch = CollapseWatch(
        first_step,
        last,
        adversarial=run.config.losses.adversarial,
        warnings=run.stage_record(stage.name).get("warnings"),
    )

    def save_networks(step: int) -> None:
        if not workers.is_chief:
            return
        notes = {**stage.record(step), "seconds": clock.seconds()}
        notes["skipped_steps"] = int(model.guard.skipped.numpy())
        notes["rollbacks"] = int(model.detour.numpy())
        if watch.warnings:
            notes["warnings"] = watch.warnings
        save_weights(run, stage.name, model.inference_networks(), steps=step, **notes)

    def save(step: int) -> None:
        checkpoints.save(step)
        save_networks(step)

    if first_step >= last:
        # Nothing to do, or stopped between the last checkpoint and its weights.
        save_networks(first_step)
        workers.wait()
        return
    saving = Saving(
        first_step,
        last,
        save=save,
        every_steps=settings.checkpoint_every_steps,
        stop=stop,
        is_finite=model.weights_are_finite,
        is_sound=lambda: not int(model.guard.skipped_in_row.numpy()),
        any_process=workers.any,
        processes=workers.count,
    )
    callbacks: list[StageCallback] = [
        TroubleWatch(first_step, last, watched=model),
        saving,
        watch,
        *stage.callbacks(first_step),
    ]
    logs = run.folder / "logs" / stage.name
    profiling = None
    if not workers.is_chief:
        callbacks.append(FiniteWatch(first_step, last))
    else:
        profiling = Profiling(first_step, last, folder=logs, at_step=profile_at, signals=stop)
        callbacks += [
            profiling,
            ProgressLine(first_step, last, stage=stage.name, batch_size=stage.images_per_step),
            ScalarLog(first_step, last, folder=logs),
        ]
    step, seed = first_step, _data_seed(run, int(model.detour.numpy()))
    try:
        for steps, epochs in segments(
            first_step, last, settings.log_every_steps, stage.break_every_steps
        ):
            dataset = workers.dataset(lambda share, step=step: stage.batches(step, share, seed))
            model.fit(dataset, steps_per_epoch=steps, epochs=epochs, verbose=0, callbacks=callbacks)
            step += steps * epochs
    finally:
        if profiling is not None:
            profiling.close()
    workers.wait()


def segments(first: int, last: int, interval: int, break_every: int) -> list[tuple[int, int]]:
    """Steps as calls of `fit`: (steps per epoch, epochs) each, whole intervals, then the rest.

    Args:
      first, last: the steps to be done.
      interval: of logging.
      break_every: no call goes beyond a multiple of it; 0 = none does.
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


def _data_seed(run: Run, detour: int) -> int:
    """Of order and augmentation: another one after every roll-back, as in the model."""
    return run.config.training.seed + 1_000_003 * detour


class _Clock:
    """Seconds of training, those of earlier processes included."""

    def __init__(self, before: float):
        self._before = before
        self._start = time.monotonic()

    def seconds(self) -> float:
        return round(self._before + time.monotonic() - self._start, 1)
