"""Training from Python: `train` is what `rgan train` calls."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from rgan_tf.arguments import list_of, whole_number
from rgan_tf.backbones import Backbone, load_backbone
from rgan_tf.bank.same_weights import check_backbone
from rgan_tf.config import Config, changed
from rgan_tf.config_files import config_from_dict, config_to_dict
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.fixed_order import fix_order_of_process
from rgan_tf.losses.own import Loss, check_names
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.model.cooccurrence import TripletSampler
from rgan_tf.model.retrievegan import generator_losses
from rgan_tf.progress import note
from rgan_tf.registered_names import RIVALS, RULES
from rgan_tf.retrieval.registry import check_retriever, retriever_for
from rgan_tf.retrieval.retriever import Retriever, is_learning
from rgan_tf.retrieval.rules import LEARNED
from rgan_tf.rivals.attngan.sentences import Dictionary
from rgan_tf.runs import (
    EMBEDDING,
    Run,
    check_run_folder,
    check_stages_fit,
    create_run,
    is_finished,
    open_run,
    run_name,
    stages_of,
    take_stages,
    training_lock,
    uses_embedding,
)
from training.configuration import at_most, named_config
from training.replicas import grown_with_replicas
from training.stages.cooccurrence import CooccurrenceTask
from training.stages.earlier import check_comes_first
from training.stages.embedding import EmbeddingTask
from training.stages.retrievegan import RetrieveGANTask
from training.stages.rivals import rival_tasks
from training.stages.sg2im import Sg2imTask
from training.stages.task import Task
from training.stop import StopSignals
from training.trainer import Trainer
from training.workers import Workers, start_workers

# Keras gives every model an optimizer, so these would change one that nobody uses, and say so in
# the logs.
_OF_ONE_OPTIMIZER = (
    tf.keras.callbacks.LearningRateScheduler,
    tf.keras.callbacks.ReduceLROnPlateau,
)


class Trained(NamedTuple):
    """The result of training.

    Attributes:
      run: the opened run folder; `evaluate`, `write_report` and `RetrieveGAN.from_run` take it.
      stages: name -> record of each stage, with its `steps`; empty if it has not begun.
    """

    run: Run
    stages: dict[str, dict[str, Any]]


def train(
    config: Config | str | Path,
    data: PreparedData | str | Path,
    run: Run | str | Path,
    *,
    retriever: Retriever | None = None,
    losses: Sequence[Loss] = (),
    callbacks: Sequence[tf.keras.callbacks.Callback] = (),
    stages_from: Run | str | Path | None = None,
    as_they_are: bool = False,
    max_steps: int | None = None,
    profile_at: int | None = None,
    weights_dir: str | Path | None = None,
) -> Trained:
    """Trains the stages of a run; skips finished stages and resumes unfinished ones.

    SIGTERM and Ctrl-C end it after the current step, and the same call resumes. A callback that
    sets `self.model.stop_training` also ends it, without an error.

    Args:
      config: a `Config`, a YAML file, or the name of a shipped config.
      data: a folder made by `prepare`, or an opened one.
      run: the run folder, or the `run` of an earlier call; resumed if it exists.
      retriever: of the joint stage, replaces that of the config; see `Retriever`.
      losses: of the joint stage, in addition to those of the config. Neither is stored in the run:
        a call that resumes it must pass them again, and so must `evaluate` and
        `RetrieveGAN.from_run` with the retriever. A config that names a registered retriever
        (`register_retriever`) is stored.
      callbacks: ordinary Keras callbacks, called in every stage. An epoch is a logging interval of
        the config, `self.model.step.numpy()` the step of the stage, and `on_train_begin` may be
        called more than once per stage. If several processes train, each calls its own. Not those
        that set the rate of `model.optimizer`: the models of stages 1 and 3 learn by their
        `generator_optimizer` and `discriminator_optimizer`.
      stages_from: a run, by its folder or opened, whose first two stages are copied; it may differ
        only in the joint stage.
      as_they_are: copy them even if training them with this config or data would give others.
      max_steps: maximum number of steps per stage.
      profile_at: step of a TensorBoard profile in each stage, or None.
      weights_dir: folder with backbone weight files.

    Returns:
      The run and the records of its stages.

    Raises:
      BadInput: if config, data, run and machine do not fit together; nothing is written then.
      ValueError: if two losses have one name; nothing is written then either.
      CorruptData: if a file is damaged.
      Diverged: after too many rollbacks.
      Interrupted: if a signal came; everything is saved.

    Example:
      ```python
      import rgan_tf

      trained = rgan_tf.train("procedural_64", "DATA", "RUN", max_steps=100)
      print(trained.stages["retrievegan"])
      ```
    """
    if isinstance(config, Config):
        config = config_from_dict(config_to_dict(config))  # validated like a file
    else:
        config = named_config(config)
    run = run_name(run)
    if max_steps is not None:
        config = at_most(config, max_steps)
    losses = list_of(losses, "losses", Loss, "rgan_tf.Loss")
    callbacks = list_of(callbacks, "callbacks", tf.keras.callbacks.Callback, "Keras callbacks")
    for callback in callbacks:
        if isinstance(callback, _OF_ONE_OPTIMIZER):
            raise BadInput(
                f"callbacks: {type(callback).__name__} sets the rate of model.optimizer, by which "
                "stages 1 and 3 do not learn; set that of model.generator_optimizer and "
                "model.discriminator_optimizer in a callback of your own"
            )
    if profile_at is not None and whole_number(profile_at, "--profile") < 0:
        raise BadInput(f"--profile {profile_at}: must be a step, at least 0")
    if as_they_are and not stages_from:
        raise BadInput("--as-they-are: only applies to --stages-from; name a run there")
    if config.training.deterministic:
        if config.retrieval.index == "scann":
            raise BadInput(
                "retrieval.index=scann: ScaNN divides a bank otherwise each time, and "
                "training.deterministic promises the same result; set retrieval.index to exact"
            )
        fix_order_of_process()
    workers = start_workers()  # first, because a cluster can only be formed at the start
    config = grown_with_replicas(config, workers.replicas)
    workers.check_fits(config.training)
    if not isinstance(data, PreparedData):
        data = PreparedData.open(data)
    data.verify()
    check_data_fits(config, data)
    _check_triplets(config, data)
    _check_own(config, retriever, losses)
    if (retriever is not None or losses) and config.training.jit_compile == "auto":
        # Only their author knows whether XLA compiles them.
        config = changed(config, training={"jit_compile": False})
    source = None
    if stages_from:
        source = open_run(run_name(stages_from, "--stages-from"), "--stages-from")
    if source is not None:
        check_stages_fit(source, config, data, as_they_are=as_they_are)
    if workers.is_chief:
        check_run_folder(run, config, data)
        if _trains_embedding(config, retriever) and (Path(run) / "run.json").exists():
            check_comes_first(open_run(run))
    # Last, because its weights may have to be downloaded, but before anything is written.
    perceptual = PerceptualDistance(load_backbone(config.losses.perceptual_backbone, weights_dir))
    backbone = _backbone_for_half_size(config, data, retriever, weights_dir)
    with StopSignals() as stop, contextlib.ExitStack() as stack:
        with workers.together():
            if workers.is_chief:
                stack.enter_context(training_lock(run))  # before the config of a run in training
                created = create_run(run, config, data)
                if is_finished(created, config):
                    note(f"--run {run}: has the steps that are asked for; nothing to train")
                if source is not None:
                    take_stages(created, source, as_they_are=as_they_are)
        # Its config may know of more steps than are asked for.
        opened = dataclasses.replace(open_run(run), config=config)
        trainer = Trainer(opened, workers, stop, profile_at=profile_at, callbacks=callbacks)
        for task in _tasks(opened, data, perceptual, workers, backbone, retriever, losses):
            if not trainer.train(task):
                break
    opened = open_run(run)
    return Trained(opened, {stage: opened.stage_record(stage) for stage in stages_of(config)})


def check_data_fits(config: Config, data: PreparedData) -> None:
    """Refuses a data folder on which this config cannot be trained.

    Raises:
      BadInput: if backbone, resolution, patch size, number of scenes or names do not fit.
    """
    data.check_config(config)
    if config.data.redraw_relations:
        data.check_relations_can_be_drawn()
    if config.training.system == "attngan":
        Dictionary(data.vocabulary)  # refuses names that no text can mention
    if data.record_count("train") < config.training.batch_size:
        raise BadInput(
            f"--data {data.folder}: {data.record_count('train')} training scenes are fewer than "
            f"one batch of {config.training.batch_size}; set training.batch_size or add data"
        )


def _check_triplets(config: Config, data: PreparedData) -> None:
    """Refuses data on which stage 2 cannot be trained, before stage 1 has been for hours.

    Raises:
      BadInput: names the data.
    """
    settings, bank = config.cooccurrence, data.bank
    if not settings.steps:
        return
    try:
        boxes = None if settings.shared_pixels else bank.boxes
        TripletSampler(bank.image_ids, bank.category_ids, boxes=boxes)
    except BadInput as error:
        raise BadInput(f"--data {data.folder}: {error}") from error


def _check_own(config: Config, retriever: Retriever | None, losses: Sequence[Loss]) -> None:
    """Refuses what the joint stage would refuse, hours later.

    Raises:
      BadInput: if the retriever is not one or does not fit the config, or no loss has a weight.
      ValueError: if two losses have one name.
    """
    check_names(losses, generator_losses(config))
    system = config.training.system
    if system in RIVALS and (losses or retriever is not None):
        raise BadInput(
            f"training.system={system}: has its own losses and takes no retriever; leave out "
            "retriever and losses"
        )
    weights = [getattr(config.losses, name) for name in generator_losses(config)]
    weights += [loss.weight for loss in losses]
    if system not in RIVALS and config.training.steps and not any(weights):
        raise BadInput(
            "every weight of the generator's losses is 0, so the joint stage has nothing to train "
            "for; set one of losses.* above 0, or training.steps to 0"
        )
    settings = config.retrieval
    if retriever is None and system not in RIVALS and settings.choice not in (LEARNED, *RULES):
        retriever = retriever_for(config)  # a registered one
    if retriever is None:
        return
    check_retriever(retriever)
    if not is_learning(retriever) and (
        settings.candidates > settings.exact_candidates or settings.redraw_every_steps
    ):
        raise BadInput(
            f"retriever {retriever.name}: needs retrieval.candidates of at most "
            f"retrieval.exact_candidates ({settings.exact_candidates}) and no "
            "retrieval.redraw_every_steps"
        )


def _learns(config: Config, retriever: Retriever | None) -> bool:
    """Whether the retrieval of a run learns; a retriever replaces that of the config."""
    if retriever is not None:
        return is_learning(retriever)
    if not uses_embedding(config):
        return False
    return config.retrieval.choice == LEARNED or is_learning(retriever_for(config))


def _trains_embedding(config: Config, retriever: Retriever | None) -> bool:
    """Whether φ has a stage of its own."""
    return EMBEDDING in stages_of(config) and _learns(config, retriever)


def _backbone_for_half_size(
    config: Config,
    data: PreparedData,
    retriever: Retriever | None,
    weights_dir: str | Path | None,
) -> Backbone | None:
    """The network for `retrieval.half_size_patches`; None where nothing learns from the patches.

    Raises:
      BadInput: if its weights are not found, or are not those that made the data's features.
    """
    if not config.retrieval.half_size_patches or not _learns(config, retriever):
        return None
    backbone = load_backbone(config.retrieval.backbone, weights_dir)
    # Loads it: errors before training.
    check_backbone(data.bank, backbone, ", or set retrieval.half_size_patches to 0")
    return backbone


def _tasks(
    run: Run,
    data: PreparedData,
    perceptual: PerceptualDistance,
    workers: Workers,
    backbone: Backbone | None,
    retriever: Retriever | None,
    losses: Sequence[Loss],
) -> Iterator[Task]:
    """One at a time, so that the model of a stage is freed before the next is built."""
    yield Sg2imTask(run, data)
    yield CooccurrenceTask(run, data)
    if run.config.training.system in RIVALS:
        yield from rival_tasks(run, data, perceptual)
    else:
        if _trains_embedding(run.config, retriever):
            yield EmbeddingTask(run, data, backbone=backbone)
        yield RetrieveGANTask(
            run,
            data,
            perceptual,
            workers,
            backbone=backbone,
            retriever=retriever,
            losses=losses,
        )
