"""The three stages of a run, each skipped when it is done and continued when it is not."""

from __future__ import annotations

import dataclasses
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.data.pipeline import WHOLE, Share, batch_image_ids, scene_dataset
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.model.cooccurrence import CooccurrenceModel, same_image_auc, triplet_dataset
from rgan_tf.model.gated_adam import GatedAdam
from rgan_tf.model.guarded_model import GuardedModel
from rgan_tf.model.networks import (
    build_cooccurrence_embedding,
    build_discriminators,
    build_retrieval_networks,
    build_sg2im_networks,
)
from rgan_tf.model.retrievegan import RetrieveGAN
from rgan_tf.model.sg2im import Sg2imModel
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.retrieval.prefilter import embed_rows, foreign_objects
from rgan_tf.runs import STAGES, Run
from rgan_tf.storage.files import write_bytes_atomic
from rgan_tf.storage.image import encode_png
from training.callbacks.hyperparameters import Hyperparameters
from training.callbacks.projector import Projector
from training.callbacks.reports import IndexAge, Pictures
from training.callbacks.stage import StageCallback
from training.first_stages import load_first_stages
from training.fitting import Stage, fit_stage
from training.pictures import held_out_split, joint_pictures, sg2im_pictures
from training.redraws import Redraws
from training.stop import StopSignals
from training.workers import Workers

_STATISTICS_ROWS = 20_000


@dataclasses.dataclass(frozen=True)
class Training:
    """What every stage of a run is given.

    Attributes:
      run: where everything is written.
      data: what is trained on.
      workers: who trains.
      stop: who may end it early.
      profile_at: step of a TensorBoard profile in each stage that is trained; None = no profile.
    """

    run: Run
    data: PreparedData
    workers: Workers
    stop: StopSignals
    profile_at: int | None = None

    def fit(self, stage: Stage) -> None:
        """Trains a stage to its end."""
        fit_stage(self.run, stage, self.workers, self.stop, profile_at=self.profile_at)


def run_sg2im(training: Training) -> None:
    """Stage 1: graph encoder and parametric decoder."""
    run, config = training.run, training.run.config
    if not _begins(training, "sg2im", config.sg2im.steps):
        return
    with training.workers.strategy.scope():
        model = Sg2imModel(
            config,
            build_sg2im_networks(config, run.vocabulary, precision=config.training.precision),
            build_sg2im_networks(config, run.vocabulary),
            build_discriminators(config, run.vocabulary, precision=config.training.precision),
        )
        model.compile()
    draw = sg2im_pictures(run, training.data, model)
    training.fit(
        Stage(
            "sg2im",
            model,
            steps=config.sg2im.steps,
            images_per_step=config.training.batch_size,
            batches=lambda step, share, seed: training_scenes(
                run, training.data, step, None, share=share, seed=seed
            ),
            scenes_of=lambda step, seed: _scenes_of(training, step, seed),
            callbacks=lambda first_step: [
                *_pictures(training, "sg2im", model, first_step, config.sg2im.steps, draw),
                *_boards(training, "sg2im", first_step, config.sg2im.steps),
            ],
        )
    )


def run_cooccurrence(training: Training) -> None:
    """Stage 2: the co-occurrence embedding, by triplet loss on frozen backbone features."""
    run, data, settings = training.run, training.data, training.run.config.cooccurrence
    if not _begins(training, "cooccurrence", settings.steps):
        return
    with training.workers.strategy.scope():
        embedding = build_cooccurrence_embedding(run.config, run.feature_size)
        embedding.set_statistics(_sample_rows(data))
        model = CooccurrenceModel(
            embedding,
            margin=settings.margin,
            loss_upper_bound=run.config.training.loss_upper_bound,
            loss_jump=run.config.training.loss_jump,
        )
        optimizer = GatedAdam(settings.learning_rate, beta_1=0.9, beta_2=0.999, guard=model.guard)
        optimizer.build(embedding.trainable_variables)
        model.compile(optimizer=optimizer)

    def batches(step: int, share: Share, seed: int) -> tf.data.Dataset:
        triplets = triplet_dataset(
            data.bank,
            triplets_per_step=settings.triplets_per_step,
            same_category_share=settings.same_category_negatives,
            seed=seed,
            start_step=step,
            shared_pixels=settings.shared_pixels,
        )
        # Every replica is given the whole batch, see `CooccurrenceModel`.
        return triplets.flat_map(
            lambda batch: tf.data.Dataset.from_tensors(batch).repeat(share.count)
        )

    def record(step: int) -> dict[str, float]:
        if step < settings.steps:
            return {}
        return {
            f"same_image_auc_{split}": same_image_auc(embedding, data.truth(split))
            for split in ("train", "val")
            if len(data.truth(split))
        }

    training.fit(
        Stage(
            "cooccurrence",
            model,
            steps=settings.steps,
            images_per_step=settings.triplets_per_step,
            batches=batches,
            callbacks=lambda first_step: _boards(
                training,
                "cooccurrence",
                first_step,
                settings.steps,
                lambda rows: {"cooccurrence": embed_rows(embedding, data.bank.features[rows])},
            ),
            record=record,
        )
    )


def run_retrievegan(training: Training, perceptual: PerceptualDistance) -> None:
    """Stage 3: retrieval and generator together.

    Raises:
      BadInput: if stage 1 or 2 was trained on since this stage began: it builds on their weights.
    """
    run, data, config = training.run, training.data, training.run.config
    record = run.stage_record("retrievegan")
    for key, value in _earlier_weights(run).items():
        if record.get(key, value) != value:
            raise BadInput(
                f"--run {run.folder}: {key.split('_')[0]} was trained on since retrievegan began; "
                f"remove {run.stage_folder('retrievegan')} to train it anew, or name another run"
            )
    if not _begins(training, "retrievegan", config.training.steps):
        return
    shown = held_out_split(data)
    tables = load_first_stages(run).candidates(
        config,
        data,
        {"train", shown},
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    cooccurrence_rows = tables["train"].cooccurrence
    reader = PatchReader(data.bank, cooccurrence_rows, crop_size=config.data.crop_size)
    with training.workers.strategy.scope():
        precision = config.training.precision
        networks = build_retrieval_networks(
            config, run.vocabulary, run.feature_size, precision=precision
        )
        networks.embedding.set_statistics(_sample_rows(data))
        model = RetrieveGAN(
            config,
            networks,
            build_retrieval_networks(config, run.vocabulary, run.feature_size),
            build_discriminators(
                config, run.vocabulary, precision=precision, perceptual=perceptual
            ),
            perceptual,
            reader,
        )
        model.compile()
    model.start()
    redraws = Redraws(
        run.stage_folder("retrievegan") / "redraws",
        config,
        data.bank,
        tables["train"],
        networks.embedding,
        writes=training.workers.is_chief,
        wait=training.workers.wait,
    )
    foreign = foreign_objects(data.bank, data.bank)
    steps = config.training.steps
    draw = joint_pictures(run, data, model, tables[shown])

    def embeddings(rows: np.ndarray) -> dict[str, np.ndarray]:
        phi = embed_rows(model.average.embedding, data.bank.features[rows])
        return {"phi": phi, "cooccurrence": cooccurrence_rows[rows]}

    def callbacks(first_step: int) -> list[StageCallback]:
        # The age is a figure of the interval and has to be there before the others read them.
        ages = [IndexAge(first_step, steps, age=redraws.age)] if redraws.every_steps else []
        return [
            *ages,
            *_pictures(training, "retrievegan", model, first_step, steps, draw),
            *_boards(training, "retrievegan", first_step, steps, embeddings),
        ]

    training.fit(
        Stage(
            "retrievegan",
            model,
            steps=steps,
            images_per_step=config.training.batch_size,
            batches=lambda step, share, seed: training_scenes(
                run, data, step, redraws.candidates(step), share=share, seed=seed
            ),
            scenes_of=lambda step, seed: _scenes_of(training, step, seed),
            callbacks=callbacks,
            record=lambda step: {
                **_earlier_weights(run),
                "fallback_objects": sum(foreign.values()),
                "other_category_objects": foreign,
            },
            break_every_steps=redraws.every_steps,
            forget_after=redraws.forget_after,
        )
    )


def training_scenes(
    run: Run,
    data: PreparedData,
    start_step: int,
    candidates: CandidateSource | None,
    *,
    share: Share = WHOLE,
    seed: int | None = None,
) -> tf.data.Dataset:
    """Batches of training scenes from a step on."""
    return scene_dataset(
        data,
        "train",
        run.config,
        batch_size=run.config.training.batch_size,
        seed=run.config.training.seed if seed is None else seed,
        start_step=start_step,
        repeat=True,
        drop_remainder=True,
        candidates=candidates,
        share=share,
    )


def _begins(training: Training, stage: str, steps: int) -> bool:
    """Whether a stage has to be trained; initial weights are then those of the stage."""
    # Asking also waits: what another process writes about the stage before is then written.
    if training.workers.any(bool(training.stop.number)):
        training.stop.number = training.stop.number or int(signal.SIGTERM)
        training.stop.obey(f"before stage {stage}")
    record = training.run.stage_record(stage)
    if "weights" in record and record.get("steps", 0) >= steps:
        return False
    # Whichever stages this process did before.
    tf.keras.utils.set_random_seed(training.run.config.training.seed + STAGES.index(stage))
    return True


def _earlier_weights(run: Run) -> dict[str, str]:
    """Which weights of stages 1 and 2 the joint stage builds on."""
    return {f"{stage}_weights": run.stage_record(stage)["weights_sha256"] for stage in STAGES[:2]}


def _sample_rows(data: PreparedData) -> np.ndarray:
    """Backbone features of evenly spaced rows of the bank, enough for mean and deviation."""
    return np.asarray(data.bank.features[:: max(1, len(data.bank) // _STATISTICS_ROWS)])


def _scenes_of(training: Training, step: int, seed: int) -> list[int]:
    config = training.run.config
    return batch_image_ids(
        training.data,
        "train",
        config,
        batch_size=config.training.batch_size,
        seed=seed,
        step=step,
    )


def _pictures(
    training: Training,
    stage: str,
    model: GuardedModel,
    first_step: int,
    steps: int,
    draw: Callable[[], dict[str, Any]],
) -> Sequence[StageCallback]:
    if not training.workers.is_chief:
        return []
    run = training.run
    return [
        Pictures(
            first_step,
            steps,
            draw=draw,
            folder=run.folder / "logs" / stage,
            picture_folder=run.folder / "pictures",
            every_steps=run.config.training.picture_every_steps,
            write_png=_write_png,
            is_sound=lambda: not int(model.guard.skipped_in_row.numpy()),
        )
    ]


def _boards(
    training: Training,
    stage: str,
    first_step: int,
    steps: int,
    embeddings: Callable[[np.ndarray], dict[str, np.ndarray]] | None = None,
) -> Sequence[StageCallback]:
    """What TensorBoard shows beside scalars and pictures."""
    if not training.workers.is_chief:
        return []
    run = training.run
    logs = run.folder / "logs"
    boards: list[StageCallback] = [
        Hyperparameters(
            first_step,
            steps,
            config=run.config,
            trial=str(run.folder.resolve()),
            stage=stage,
            folder=logs,
            figures=lambda: run.stage_record(stage),
            is_last=stage == STAGES[-1],
        )
    ]
    if embeddings is not None:
        bank = training.data.bank
        folder = logs / stage
        boards.append(Projector(first_step, steps, bank=bank, embeddings=embeddings, folder=folder))
    return boards


def _write_png(path: Path, picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, encode_png(picture))
