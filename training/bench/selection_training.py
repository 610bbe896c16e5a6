"""Trains φ by the selection loss alone."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from rgan_tf.backbones import load_backbone
from rgan_tf.config import Config, changed
from rgan_tf.data.pipeline import scene_dataset, scenes_once
from rgan_tf.data.prepared import PreparedData
from rgan_tf.model.networks import build_patch_embedding
from rgan_tf.model.patch_embedding import PatchEmbeddingModel
from rgan_tf.progress import followed, note
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.retrieval.embedding import PatchEmbedding
from rgan_tf.runs import Run
from training.bench.selection_variants import VARIANTS
from training.evaluation.retrieval import retrieval_metrics
from training.first_stages import load_first_stages
from training.stages.task import half_size_of, sample_features

_LEARNED = "retrieval/learned/"


def compare_variants(
    args: argparse.Namespace, run: Run, data: PreparedData, also: Mapping[str, PreparedData]
) -> dict[str, Any]:
    """Trains and measures every variant; see `rgan bench selection`."""
    # Batches hold the features of all candidates, however many there are.
    every = {"exact_candidates": run.config.retrieval.candidates}
    every["embedding_learning_rate"] = args.learning_rate
    base = changed(run.config, retrieval=every, training={"seed": args.seed})
    stages = load_first_stages(run)
    training = stages.candidates(base, data, ["train"])["train"]
    judged = {
        name: (each, stages.candidates(base, each, [args.split])[args.split])
        for name, each in {"": data, **also}.items()
    }
    results, others = {}, {}
    for name in args.variants:
        config = changed(base, retrieval=VARIANTS[name])
        model, trained = _train(args, config, run, data, training, name)
        figures = {
            place: _figures(args, config, model.average, each, table)
            for place, (each, table) in judged.items()
        }
        results[name] = {**trained, **_learned(figures[""])}
        if also:
            results[name]["also"] = {place: _learned(figures[place]) for place in also}
        others = {key: value for key, value in figures[""].items() if _LEARNED not in key}
        note(f"{name}: {results[name]}")
    return {
        "run": args.run,
        "split": args.split,
        "candidates": run.config.retrieval.candidates,
        "steps": args.steps,
        "scenes_per_step": args.scenes,
        "variants": results,
        "others": others,
    }


def _figures(
    args: argparse.Namespace,
    config: Config,
    embedding: PatchEmbedding,
    data: PreparedData,
    table: CandidateSource,
) -> dict[str, float]:
    scenes = scenes_once(data, args.split, config, batch_size=args.scenes, candidates=table)
    found = retrieval_metrics(embedding, scenes, data, table, seed=args.seed)
    return {name: round(value, 4) for name, value in found.items()}


def _learned(figures: Mapping[str, float]) -> dict[str, float]:
    return {
        name.removeprefix(_LEARNED): value
        for name, value in figures.items()
        if name.startswith(_LEARNED)
    }


def _train(
    args: argparse.Namespace,
    config: Config,
    run: Run,
    data: PreparedData,
    table: CandidateSource,
    name: str,
) -> tuple[PatchEmbeddingModel, dict[str, float]]:
    """Trains φ; returns the model, its last losses and its scale."""
    tf.keras.utils.set_random_seed(args.seed)  # for the initial weights, as in training
    wants_half = config.retrieval.half_size_patches
    backbone = load_backbone(config.retrieval.backbone, args.weights_dir) if wants_half else None
    half_size = half_size_of(data, backbone)
    layers = [build_patch_embedding(config, run.feature_size) for _ in range(2)]
    layers[0].set_statistics(sample_features(data.bank, half_size))
    forced = name != "iterative_without_teacher_forcing"
    model = PatchEmbeddingModel(config, *layers, teacher_forcing=forced)
    model.compile()
    step = tf.function(model.train_step, autograph=False)
    batches = scene_dataset(
        data,
        "train",
        config,
        batch_size=args.scenes,
        seed=args.seed,
        candidates=table,
        half_size=half_size,
    )
    losses = []
    for batch in followed(batches.take(args.steps), name, args.steps):
        model.reset_metrics()
        losses.append(step(batch)["loss"])
    last = losses[-max(1, args.steps // 10) :]
    return model, {
        "loss": round(float(tf.reduce_mean(last)), 4),
        "scale": round(float(model.embedding.scale), 2),
    }
