"""`rgan train`: config and data to a run folder, through all three stages."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

CONFIG_FOLDER = Path(__file__).parent / "configs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("config", help="a YAML file, or the name of a shipped config")
    parser.add_argument("--data", help="folder made by `rgan prepare`")
    parser.add_argument("--run", help="run folder; continued if it exists")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="overrides",
        help="override one setting of the config; may be given several times",
    )
    parser.add_argument(
        "--stages-from",
        metavar="RUN",
        help="take the first two stages from this run, which may differ in the joint stage only",
    )
    parser.add_argument(
        "--as-they-are",
        action="store_true",
        help="with --stages-from: take them even if training them with this config gave others",
    )
    parser.add_argument("--max-steps", type=int, help="at most so many steps per stage")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved config only")
    parser.add_argument(
        "--profile",
        type=int,
        metavar="STEP",
        help="TensorBoard profile of ten steps from this one on; SIGUSR1 asks for one at any time",
    )
    parser.add_argument("--weights-dir", help="folder with backbone weight files")


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Trains what is missing and returns the stages' records."""
    from rgan_tf.config import config_to_dict, load_config
    from rgan_tf.errors import BadInput

    overrides = list(args.overrides)
    config = load_config(config_path(args.config), overrides)
    if args.profile is not None and args.profile < 0:
        raise BadInput(f"--profile {args.profile}: must be a step, at least 0")
    if args.as_they_are and not args.stages_from:
        raise BadInput("--as-they-are: says how --stages-from is meant; name a run by it")
    if args.max_steps is not None:
        if args.max_steps < 1:
            raise BadInput(f"--max-steps {args.max_steps}: must be at least 1")
        for section in ("sg2im", "cooccurrence", "training"):
            steps = min(args.max_steps, getattr(config, section).steps)
            overrides.append(f"{section}.steps={steps}")
        config = load_config(config_path(args.config), overrides)
    if args.dry_run:
        return {"config": config_to_dict(config)}
    if not args.data or not args.run:
        raise BadInput("rgan train: --data and --run are needed (or --dry-run)")

    from rgan_tf.backbones import load_backbone
    from rgan_tf.fixed_order import fix_order_of_process
    from rgan_tf.losses.perceptual import PerceptualDistance
    from rgan_tf.runs import (
        STAGES,
        check_run_folder,
        check_stages_fit,
        create_run,
        open_run,
        take_stages,
        training_lock,
    )
    from training.stages.cooccurrence import CooccurrenceTask
    from training.stages.retrievegan import RetrieveGANTask
    from training.stages.sg2im import Sg2imTask
    from training.stop import StopSignals
    from training.trainer import Trainer
    from training.workers import start_workers

    if config.training.deterministic:
        fix_order_of_process()
    workers = start_workers()  # before anything else: a cluster forms in the beginning or never
    check_replicas_fit(config, workers)
    data = open_data(config, args.data)
    source = open_run(args.stages_from) if args.stages_from else None
    if source is not None:
        check_stages_fit(source, config, data.fingerprint, as_they_are=args.as_they_are)
    if workers.is_chief:
        check_run_folder(args.run, config, data)
    # Last, as its weights may have to be fetched; and before anything is written.
    backbone = load_backbone(config.losses.perceptual_backbone, args.weights_dir)
    perceptual = PerceptualDistance(backbone)
    with StopSignals() as stop, contextlib.ExitStack() as stack:
        with workers.together():
            if workers.is_chief:
                run = create_run(args.run, config, data)
                stack.enter_context(training_lock(run))
                if source is not None:
                    take_stages(run, source, as_they_are=args.as_they_are)
        run = open_run(args.run)
        trainer = Trainer(run, workers, stop, profile_at=args.profile)
        trainer.train(Sg2imTask(run, data))
        trainer.train(CooccurrenceTask(run, data))
        trainer.train(RetrieveGANTask(run, data, perceptual, workers))
    return {"run": str(args.run), **{stage: run.stage_record(stage) for stage in STAGES}}


def open_data(config, folder: str):
    """The data of a training, whole and fit for the config.

    Raises:
      BadInput: if it is no prepared data, or does not fit.
      CorruptData: if a file of it is damaged.
    """
    from rgan_tf.data.prepared import PreparedData

    data = PreparedData.open(folder)
    data.verify()
    check_data_fits(config, data)
    return data


def check_replicas_fit(config, workers) -> None:
    """Refuses what these devices cannot train.

    Raises:
      BadInput: if a batch does not fall into equal parts, or XLA cannot run on them.
    """
    import tensorflow as tf

    from rgan_tf.errors import BadInput

    settings = config.training
    parts = workers.replicas * settings.accumulate_steps
    if settings.batch_size % parts:
        raise BadInput(
            f"training.batch_size {settings.batch_size} does not fall into {parts} equal parts "
            f"({workers.replicas} replicas, training.accumulate_steps "
            f"{settings.accumulate_steps}); choose a multiple of {parts}"
        )
    if settings.jit_compile and workers.replicas > 1 and not tf.config.list_physical_devices("GPU"):
        raise BadInput(
            "training.jit_compile: XLA cannot compile for several CPU replicas; set it to false"
        )


def config_path(name: str) -> Path:
    """A config file by path, or a shipped one by name.

    Raises:
      BadInput: if there is neither; names the shipped ones.
    """
    from rgan_tf.errors import BadInput
    from rgan_tf.near_names import near_names

    path = Path(name)
    shipped = {file.stem: file for file in sorted(CONFIG_FOLDER.glob("*.yaml"))}
    # A folder of that name is a run or data, and no config.
    if not path.is_file() and name in shipped:
        return shipped[name]
    if not path.exists():
        advice = near_names(path.stem, shipped)
        advice = f"; {advice}" if advice.startswith("did") else ""
        raise BadInput(
            f"config {name}: No such file, and no shipped config has this name; shipped are "
            f"{', '.join(shipped)}{advice}"
        )
    return path


def check_data_fits(config, data) -> None:
    """Refuses a data folder that this config cannot be trained on.

    Raises:
      BadInput: if backbone, resolution, patch size or amount do not fit.
    """
    from rgan_tf.errors import BadInput

    data.check_config(config)
    if data.record_count("train") < config.training.batch_size:
        raise BadInput(
            f"--data {data.folder}: {data.record_count('train')} training scenes are fewer than "
            f"one batch of {config.training.batch_size}; set training.batch_size or add data"
        )
