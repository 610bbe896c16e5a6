"""The three stages of a run, each skipped when it is done and continued when it is not."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.data.candidates import CandidateSource
from rgan_tf.data.patch_reader import PatchReader
from rgan_tf.data.pipeline import scene_dataset
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.files import write_bytes_atomic
from rgan_tf.image import encode_png
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.model.adversarial_model import AdversarialModel
from rgan_tf.model.bank_features import fallback_objects, prefilter
from rgan_tf.model.cooccurrence import CooccurrenceModel, same_image_auc, triplet_dataset
from rgan_tf.model.networks import (
    build_cooccurrence_embedding,
    build_discriminators,
    build_retrieval_networks,
    build_sg2im_networks,
)
from rgan_tf.model.retrievegan import RetrieveGAN
from rgan_tf.model.sg2im import Sg2imModel
from rgan_tf.runs import STAGES, Run, load_weights, save_weights
from training.callbacks import Checkpoints, IndexAge, Pictures, ProgressLine, ScalarLog
from training.pictures import held_out_split, joint_pictures, sg2im_pictures
from training.redraws import Redraws

_STATISTICS_ROWS = 20_000


def run_sg2im(run: Run, data: PreparedData, strategy: tf.distribute.Strategy) -> None:
    """Stage 1: graph encoder and parametric decoder."""
    config = run.config
    if _is_done(run, "sg2im", config.sg2im.steps):
        return
    _start_stage(run, "sg2im")
    with strategy.scope():
        model = Sg2imModel(
            config,
            build_sg2im_networks(config, run.vocabulary),
            build_sg2im_networks(config, run.vocabulary),
            build_discriminators(config, run.vocabulary),
        )
        model.compile(*_optimizers(run))
    _fit(
        run,
        "sg2im",
        model,
        lambda step: _training_scenes(run, data, step, None),
        config.sg2im.steps,
        draw=sg2im_pictures(run, data, model),
    )


def run_cooccurrence(run: Run, data: PreparedData, strategy: tf.distribute.Strategy) -> None:
    """Stage 2: the co-occurrence embedding, by triplet loss on frozen backbone features."""
    settings = run.config.cooccurrence
    if _is_done(run, "cooccurrence", settings.steps):
        return
    _start_stage(run, "cooccurrence")
    with strategy.scope():
        embedding = build_cooccurrence_embedding(run.config, run.feature_size)
        embedding.set_statistics(_sample_rows(data))
        model = CooccurrenceModel(embedding, margin=settings.margin)
        model.compile(optimizer=tf.keras.optimizers.Adam(settings.learning_rate))
    start = time.monotonic()
    log = ScalarLog(0, settings.steps, folder=run.folder / "logs" / "cooccurrence")
    line = ProgressLine(
        0, settings.steps, stage="cooccurrence", batch_size=settings.triplets_per_step
    )
    step = 0
    for steps, epochs in _intervals(settings.steps, run.config.training.log_every_steps):
        dataset = triplet_dataset(
            data.bank,
            triplets_per_step=settings.triplets_per_step,
            same_category_share=settings.same_category_negatives,
            seed=run.config.training.seed,
            start_step=step,
        )
        model.fit(dataset, steps_per_epoch=steps, epochs=epochs, verbose=0, callbacks=[log, line])
        step += steps * epochs
    auc = {
        f"same_image_auc_{split}": same_image_auc(embedding, data.truth(split))
        for split in ("train", "val")
        if len(data.truth(split))
    }
    save_weights(
        run,
        "cooccurrence",
        embedding,
        steps=settings.steps,
        seconds=round(time.monotonic() - start, 1),
        **auc,
    )


def run_retrievegan(
    run: Run,
    data: PreparedData,
    strategy: tf.distribute.Strategy,
    perceptual: PerceptualDistance,
) -> None:
    """Stage 3: retrieval and generator together.

    Raises:
      BadInput: if stage 1 or 2 was trained on since this stage began: it builds on their weights.
    """
    config = run.config
    record = run.stage_record("retrievegan")
    for key, value in _earlier_weights(run).items():
        if record.get(key, value) != value:
            raise BadInput(
                f"--run {run.folder}: {key.split('_')[0]} was trained on since retrievegan began; "
                f"remove {run.stage_folder('retrievegan')} to train it anew, or name another run"
            )
    if _is_done(run, "retrievegan", config.training.steps):
        return
    _start_stage(run, "retrievegan")
    sg2im = build_sg2im_networks(config, run.vocabulary)
    load_weights(run, "sg2im", sg2im)
    cooccurrence = build_cooccurrence_embedding(config, run.feature_size)
    load_weights(run, "cooccurrence", cooccurrence)
    shown = held_out_split(data)
    tables = prefilter(
        config,
        data,
        {"train", shown},
        sg2im,
        cooccurrence,
        encoder=run.stage_record("sg2im")["weights_sha256"],
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    cooccurrence_rows = tables["train"].cooccurrence
    reader = PatchReader(data.bank, cooccurrence_rows, crop_size=config.data.crop_size)
    with strategy.scope():
        networks = build_retrieval_networks(config, run.vocabulary, run.feature_size)
        networks.embedding.set_statistics(_sample_rows(data))
        model = RetrieveGAN(
            config,
            networks,
            build_retrieval_networks(config, run.vocabulary, run.feature_size),
            build_discriminators(config, run.vocabulary),
            perceptual,
            reader,
        )
        model.compile(*_optimizers(run))
    model.start()
    redraws = Redraws(
        run.stage_folder("retrievegan") / "redraws",
        config,
        data.bank,
        tables["train"],
        networks.embedding,
    )
    fallbacks = int(fallback_objects(data.bank, data.bank).sum())
    _fit(
        run,
        "retrievegan",
        model,
        lambda step: _training_scenes(run, data, step, redraws.candidates(step)),
        config.training.steps,
        draw=joint_pictures(run, data, model, tables[shown]),
        record={**_earlier_weights(run), "fallback_objects": fallbacks},
        redraws=redraws if redraws.every_steps else None,
    )


def _earlier_weights(run: Run) -> dict[str, str]:
    """Which weights of stages 1 and 2 the joint stage builds on."""
    return {f"{stage}_weights": run.stage_record(stage)["weights_sha256"] for stage in STAGES[:2]}


def _sample_rows(data: PreparedData) -> np.ndarray:
    """Backbone features of evenly spaced rows of the bank, enough for mean and deviation."""
    return np.asarray(data.bank.features[:: max(1, len(data.bank) // _STATISTICS_ROWS)])


def _training_scenes(
    run: Run, data: PreparedData, start_step: int, candidates: CandidateSource | None
) -> tf.data.Dataset:
    return scene_dataset(
        data,
        "train",
        run.config,
        batch_size=run.config.training.batch_size,
        seed=run.config.training.seed,
        start_step=start_step,
        repeat=True,
        drop_remainder=True,
        candidates=candidates,
    )


def _optimizers(run: Run):
    settings = run.config.training
    return [
        tf.keras.optimizers.Adam(rate, beta_1=settings.beta_1, beta_2=settings.beta_2)
        for rate in (settings.generator_learning_rate, settings.discriminator_learning_rate)
    ]


def _fit(
    run: Run,
    stage: str,
    model: AdversarialModel,
    dataset_from: Callable[[int], tf.data.Dataset],
    total_steps: int,
    *,
    draw: Callable[[], dict],
    record: dict[str, Any] | None = None,
    redraws: Redraws | None = None,
) -> None:
    """Runs `fit` from the newest checkpoint to `total_steps`; `record` goes into stage.json.

    `dataset_from` is asked again where candidates are to be drawn anew.
    """
    record = record or {}
    every_steps = redraws.every_steps if redraws is not None else 0
    settings = run.config.training
    folder = run.stage_folder(stage)
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(model=model), str(folder / "checkpoints"), max_to_keep=3
    )
    _restore_newest(manager, stage)
    first_step = int(model.step.numpy())
    seconds_before = float(run.stage_record(stage).get("seconds", 0.0))
    start = time.monotonic()

    def save(step: int) -> None:
        seconds = round(seconds_before + time.monotonic() - start, 1)
        save_weights(run, stage, model.average, steps=step, seconds=seconds, **record)

    if first_step >= total_steps:
        # Nothing to do, or stopped between the last checkpoint and its weights.
        save(first_step)
        return
    logs = run.folder / "logs" / stage
    checkpoints = Checkpoints(
        first_step,
        total_steps,
        manager=manager,
        every_steps=settings.checkpoint_every_steps,
        save_weights=save,
        is_finite=lambda: _is_finite(model),
    )
    callbacks = [
        *([IndexAge(first_step, total_steps, age=redraws.age)] if redraws is not None else []),
        checkpoints,
        Pictures(
            first_step,
            total_steps,
            draw=draw,
            folder=logs,
            picture_folder=run.folder / "pictures",
            every_steps=settings.picture_every_steps,
            write_png=_write_png,
        ),
        ProgressLine(first_step, total_steps, stage=stage, batch_size=settings.batch_size),
        ScalarLog(first_step, total_steps, folder=logs),
    ]
    step = first_step
    try:
        for steps, epochs in _segments(
            first_step, total_steps, settings.log_every_steps, every_steps
        ):
            model.fit(
                dataset_from(step),
                steps_per_epoch=steps,
                epochs=epochs,
                verbose=0,
                callbacks=callbacks,
            )
            step += steps * epochs
    finally:
        checkpoints.restore_handlers()


def _restore_newest(manager: tf.train.CheckpointManager, stage: str) -> None:
    """Restores the newest checkpoint that can be read; never starts over behind the user's back.

    Raises:
      CorruptData: if there are checkpoints and none can be read.
    """
    newest = [manager.latest_checkpoint] if manager.latest_checkpoint else []
    paths = list(dict.fromkeys([*newest, *reversed(manager.checkpoints)]))
    for path in paths:
        try:
            manager.checkpoint.restore(path).assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            print(f"{stage}: {path} cannot be read ({_first_line(error)})", file=sys.stderr)
            continue
        print(f"{stage}: continuing from {path}", file=sys.stderr)
        return
    if paths:
        raise CorruptData(
            f"{Path(paths[0]).parent}: no checkpoint can be read; restore one, or remove the "
            "folder to train this stage anew"
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _intervals(steps: int, interval: int) -> list[tuple[int, int]]:
    """Steps as calls of `fit`, (steps per epoch, epochs) each: whole intervals, then the rest."""
    whole, rest = divmod(steps, interval)
    return [part for part in ((interval, whole), (rest, 1)) if all(part)]


def _segments(first: int, last: int, interval: int, redraw: int) -> list[tuple[int, int]]:
    """As `_intervals` for the steps from `first` to `last`, broken where candidates are redrawn."""
    breaks = list(range((first // redraw + 1) * redraw, last, redraw)) if redraw else []
    edges = [first, *breaks, last]
    return [
        part
        for begin, end in zip(edges, edges[1:], strict=False)
        for part in _intervals(end - begin, interval)
    ]


def _is_finite(model: AdversarialModel) -> bool:
    """Whether every weight of both sides is a number."""
    variables = (*model.networks.variables, *model.discriminators.variables)
    return all(
        bool(tf.reduce_all(tf.math.is_finite(variable)))
        for variable in variables
        if variable.dtype.is_floating
    )


def _start_stage(run: Run, stage: str) -> None:
    """Makes initial weights those of the stage, whichever stages this process did before it."""
    tf.keras.utils.set_random_seed(run.config.training.seed + STAGES.index(stage))


def _is_done(run: Run, stage: str, steps: int) -> bool:
    record = run.stage_record(stage)
    return "weights" in record and record.get("steps", 0) >= steps


def _write_png(path: Path, picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, encode_png(picture))
