"""Evaluates one split of a run: loads the networks and runs the tasks asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rgan_tf.backbones import load_backbone
from rgan_tf.data.patch_reader import PatchReader
from rgan_tf.data.pipeline import scene_dataset
from rgan_tf.data.prepared import PreparedData
from rgan_tf.model.bank_features import prefilter
from rgan_tf.model.cooccurrence import same_image_auc
from rgan_tf.model.networks import (
    build_cooccurrence_embedding,
    build_retrieval_networks,
    build_sg2im_networks,
)
from rgan_tf.model.patch_library import library_for
from rgan_tf.runs import Run, load_weights
from training.evaluation.diversity import diversity_metrics
from training.evaluation.images import image_metrics
from training.evaluation.layout import layout_metrics
from training.evaluation.pictures import comparison
from training.evaluation.retrieval import retrieval_metrics
from training.evaluation.systems import systems_of

_CANDIDATES_AT_ONCE = 128  # per object, at the full batch size


def evaluate_split(
    run: Run,
    data: PreparedData,
    split: str,
    *,
    tasks: Sequence[str],
    compared: Sequence[str],
    seed: int,
    metric_backbone: str,
    weights_dir: str | None,
    batch_size: int,
    picture_scenes: int,
) -> tuple[dict[str, Any], np.ndarray]:
    """Runs the tasks on one split.

    Args:
      run, data, split: what is evaluated.
      tasks: names of tasks.
      compared: names of the systems whose images are judged and shown.
      seed: of the random retrieval.
      metric_backbone, weights_dir: network of the distances, and where its weights are.
      batch_size: scenes at once.
      picture_scenes: rows of the picture.

    Returns:
      metric name -> value, and a picture of the first scenes under every system.
    """
    config, vocabulary = run.config, run.vocabulary
    sg2im = build_sg2im_networks(config, vocabulary)
    load_weights(run, "sg2im", sg2im)
    cooccurrence = build_cooccurrence_embedding(config, run.feature_size)
    load_weights(run, "cooccurrence", cooccurrence)
    networks = build_retrieval_networks(config, vocabulary, run.feature_size)
    load_weights(run, "retrievegan", networks)
    table = prefilter(
        config,
        data,
        [split],
        sg2im,
        cooccurrence,
        encoder=run.stage_record("sg2im")["weights_sha256"],
    )[split]

    # The embeddings of so many candidates at a time, whatever their number per object.
    scenes_per_batch = min(
        batch_size, max(1, batch_size * _CANDIDATES_AT_ONCE // config.retrieval.candidates)
    )

    def scenes(name: str = split, candidates=table):
        return scene_dataset(
            data,
            name,
            config,
            batch_size=scenes_per_batch,
            seed=0,
            repeat=False,
            drop_remainder=False,
            augment=False,
            candidates=candidates,
        )

    reader = PatchReader(data.bank, table.cooccurrence, crop_size=config.data.crop_size)
    library = library_for(config, networks, reader)
    systems = systems_of(
        networks, sg2im, image_size=config.data.image_size, seed=seed, library=library
    )
    systems = [system for system in systems if system.name in compared]
    metrics: dict[str, Any] = {}
    if "images" in tasks:
        other = "test" if split == "train" else "train"
        metrics |= image_metrics(
            systems,
            scenes,
            scenes(other, None),
            backbone=load_backbone(metric_backbone, weights_dir),
            split=split,
        )
    if "diversity" in tasks:
        # Not the network of the perceptual loss: that one the generator was trained to please.
        perceptual = load_backbone(metric_backbone, weights_dir)
        metrics |= diversity_metrics(networks, scenes(), perceptual, seed=seed, library=library)
    if "layout" in tasks:
        metrics |= layout_metrics(networks, scenes(candidates=None), vocabulary)
    if "retrieval" in tasks:
        metrics |= retrieval_metrics(networks, scenes(), data, table, seed=seed, library=library)
    if "cooccurrence" in tasks:
        auc = same_image_auc(cooccurrence, data.truth(split))
        metrics["cooccurrence/same_image_auc"] = auc
    first = next(iter(scenes().unbatch().batch(picture_scenes)))
    return metrics, comparison(run, systems, networks, first, seed=seed, library=library)
