"""`rgan bench selection`: what the selection loss alone teaches φ, in each of its forms."""

from __future__ import annotations

import argparse
from typing import Any

VARIANTS: dict[str, dict[str, Any]] = {
    "one_step": {"selection_loss": "one_step"},
    "iterative": {"selection_loss": "iterative"},
    "iterative_without_teacher_forcing": {"selection_loss": "iterative"},
    "scale_starts_at_5": {"initial_scale": 5.0},
    "scale_starts_at_40": {"initial_scale": 40.0},
    "layers_256_128": {"embedding_sizes": (256, 128)},
    "layers_512_128": {"embedding_sizes": (512, 128)},
    "layers_512_256_128": {"embedding_sizes": (512, 256, 128)},
    "layers_1024_128": {"embedding_sizes": (1024, 128)},
}
"""Name -> what it changes in `retrieval` of the run's config."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--run", required=True, help="a run; its first two stages are used")
    parser.add_argument("--data", help="prepared folder; without it, what the run was trained on")
    parser.add_argument("--split", default="val", choices=("val", "test"), help="for the figures")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=1000, help="of the training of φ")
    parser.add_argument("--scenes", type=int, default=32, help="per step")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Trains φ anew by the selection loss alone, once per variant, and measures its retrieval.

    No image is generated, so a variant takes a minute or two; the joint stage trains φ by eight
    more losses. The candidates are those that the run's encoder pre-filters.

    Returns:
      `variants`: name -> `loss` (mean of the last tenth of the steps), `scale` (α at the end) and
      the figures of `rgan eval --only retrieval` for the trained φ; `others` holds those of the
      simpler choices.

    Raises:
      BadInput: for an unknown variant or a number that is not positive.
    """
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.errors import BadInput
    from rgan_tf.runs import open_run

    if min(args.steps, args.scenes, args.learning_rate) <= 0:
        raise BadInput("rgan bench selection: steps, scenes and learning rate must be above 0")
    unknown = sorted(set(args.variants) - set(VARIANTS))
    if unknown:
        raise BadInput(f"--variants {unknown[0]}: unknown; known are {', '.join(VARIANTS)}")
    run = open_run(args.run)
    data = PreparedData.open(args.data or run.data)
    data.check_vocabulary(run.vocabulary, f"run {args.run}")
    return _compare(args, run, data)


def _compare(args: argparse.Namespace, run, data) -> dict[str, Any]:
    import dataclasses
    import sys

    import tensorflow as tf

    from rgan_tf.model.networks import build_retrieval_networks
    from training.evaluation.retrieval import retrieval_metrics
    from training.first_stages import load_first_stages

    tables = load_first_stages(run).candidates(run.config, data, ["train", args.split])

    results, others = {}, {}
    for name in args.variants:
        # Without pixels and features of the candidates in the batch: the bank is in memory here.
        changes = {**VARIANTS[name], "exact_candidates": 1}
        retrieval = dataclasses.replace(run.config.retrieval, **changes)
        config = dataclasses.replace(run.config, retrieval=retrieval)
        tf.keras.utils.set_random_seed(args.seed)  # of the initial weights, as in training
        networks = build_retrieval_networks(config, run.vocabulary, run.feature_size)
        networks.embedding.set_statistics(data.bank.features)
        forced = name != "iterative_without_teacher_forcing"
        trained = _train(args, config, networks.embedding, data, tables["train"], forced)
        figures = retrieval_metrics(
            networks,
            _scenes(data, args.split, config, tables[args.split], args.scenes),
            data,
            tables[args.split],
            seed=args.seed,
            library=_library(networks, data, tables[args.split], config),
        )
        learned = {
            key.removeprefix("retrieval/learned/"): round(value, 4)
            for key, value in figures.items()
            if "/learned/" in key
        }
        others = {key: round(value, 4) for key, value in figures.items() if "/learned/" not in key}
        results[name] = {**trained, **learned}
        print(f"{name}: {results[name]}", file=sys.stderr, flush=True)
    return {
        "run": args.run,
        "split": args.split,
        "candidates": run.config.retrieval.candidates,
        "steps": args.steps,
        "scenes_per_step": args.scenes,
        "variants": results,
        "others": others,
    }


def _library(networks, data, table, config):
    from rgan_tf.bank.patch_reader import PatchReader
    from rgan_tf.retrieval.learned import LearnedRetriever
    from rgan_tf.retrieval.patch_library import PatchLibrary

    reader = PatchReader(data.bank, table.cooccurrence, crop_size=config.data.crop_size)
    return PatchLibrary(LearnedRetriever(config, networks.embedding), reader)


def _scenes(data, split, config, table, batch_size):
    from rgan_tf.data.pipeline import scene_dataset

    return scene_dataset(
        data,
        split,
        config,
        batch_size=batch_size,
        seed=0,
        repeat=False,
        augment=False,
        candidates=table,
    )


def _train(args, config, embedding, data, table, teacher_forcing: bool) -> dict[str, float]:
    """Trains an embedding; returns its last losses and its scale."""
    import numpy as np
    import tensorflow as tf

    from rgan_tf.data.pipeline import scene_dataset
    from rgan_tf.losses.retrieval import draw_anchors, selection_loss
    from rgan_tf.model.retrieval_losses import sharing_objects
    from rgan_tf.seeds import Purpose, derive_seed

    features = tf.constant(data.bank.features_at(np.arange(len(data.bank))))  # [N, Dx]
    training = config.training
    optimizer = tf.keras.optimizers.Adam(args.learning_rate, training.beta_1, training.beta_2)

    @tf.function
    def step(own, ids, valid, objects, boxes, seed):
        mask = objects > 0  # [B, O]
        anchors = draw_anchors(mask, seed)  # [B]
        with tf.GradientTape() as tape:
            losses = selection_loss(
                embedding(own),
                embedding(tf.gather(features, tf.maximum(ids, 0))),
                valid,
                mask,
                anchors,
                scale=embedding.scale,
                form=config.retrieval.selection_loss,
                teacher_forcing=teacher_forcing,
                sharing=sharing_objects(config.retrieval, boxes),
            )  # [B]
            loss = tf.reduce_mean(losses)
        variables = embedding.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    batches = scene_dataset(
        data, "train", config, batch_size=args.scenes, seed=args.seed, candidates=table
    )
    keys = ("patch_features", "candidate_ids", "candidate_valid", "objects", "boxes")
    losses = []
    for number, batch in enumerate(batches.take(args.steps)):
        seed = derive_seed(args.seed, number, 0, Purpose.SELECTION_ANCHOR)
        losses.append(step(*(batch[key] for key in keys), seed))
    last = losses[-max(1, args.steps // 10) :]
    return {
        "loss": round(float(tf.reduce_mean(last)), 4),
        "scale": round(float(embedding.scale), 2),
    }
