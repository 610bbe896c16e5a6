"""Trains φ by the selection loss alone."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.config import changed
from rgan_tf.data.pipeline import scene_dataset, scenes_once
from rgan_tf.data.prepared import PreparedData
from rgan_tf.losses.retrieval import draw_anchors, selection_loss
from rgan_tf.model.networks import build_retrieval_networks
from rgan_tf.model.retrieval_losses import sharing_objects
from rgan_tf.progress import note
from rgan_tf.retrieval.learned import LearnedRetriever
from rgan_tf.retrieval.patch_library import PatchLibrary
from rgan_tf.runs import Run
from rgan_tf.seeds import Purpose, derive_seed
from training.bench.selection import VARIANTS
from training.evaluation.retrieval import retrieval_metrics
from training.first_stages import load_first_stages


def compare_variants(args: argparse.Namespace, run: Run, data: PreparedData) -> dict[str, Any]:
    """Trains and measures every variant; see `rgan bench selection`."""
    tables = load_first_stages(run).candidates(run.config, data, ["train", args.split])

    results, others = {}, {}
    for name in args.variants:
        # Batches without pixels and features of the candidates: the bank is in memory.
        changes = {**VARIANTS[name], "exact_candidates": 1}
        config = changed(run.config, retrieval=changes)
        tf.keras.utils.set_random_seed(args.seed)  # for the initial weights, as in training
        networks = build_retrieval_networks(config, run.vocabulary, run.feature_size)
        networks.embedding.set_statistics(data.bank.features)
        forced = name != "iterative_without_teacher_forcing"
        trained = _train(args, config, networks.embedding, data, tables["train"], forced)
        figures = retrieval_metrics(
            networks,
            scenes_once(
                data, args.split, config, batch_size=args.scenes, candidates=tables[args.split]
            ),
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


def _library(networks, data, table, config):
    reader = PatchReader(data.bank, table.cooccurrence, crop_size=config.data.crop_size)
    return PatchLibrary(LearnedRetriever(config, networks.embedding), reader)


def _train(args, config, embedding, data, table, teacher_forcing: bool) -> dict[str, float]:
    """Trains an embedding; returns its last losses and its scale."""
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
