"""Counts of one joint step, on zeros instead of data and random frozen networks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from rgan_tf.backbones.backbone import Backbone
from rgan_tf.backbones.networks import SPECS
from rgan_tf.config import Config
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.model.flops import count_weights
from rgan_tf.model.networks import (
    build_discriminators,
    build_retrieval_networks,
    build_sg2im_networks,
)
from rgan_tf.model.retrievegan import RetrieveGANModel
from rgan_tf.model.sg2im import Sg2imModel
from rgan_tf.vocabulary import Vocabulary
from training.bench.joint_step import Batch
from training.bench.step_flops import step_gflop

_BYTES = 4  # of a float32


def joint_cost(config: Config, categories: int) -> dict[str, Any]:
    """See `rgan bench cost`."""
    width = _random_network(config.retrieval.backbone).feature_size
    vocabulary = Vocabulary.from_categories([f"category {n}" for n in range(categories)])
    perceptual = PerceptualDistance(_random_network(config.losses.perceptual_backbone))
    model = RetrieveGANModel(
        config,
        build_retrieval_networks(config, vocabulary, width, precision=config.training.precision),
        build_retrieval_networks(config, vocabulary, width),
        build_discriminators(config, vocabulary, perceptual=perceptual),
        perceptual,
    )
    first = Sg2imModel(
        config,
        build_sg2im_networks(config, vocabulary),
        build_sg2im_networks(config, vocabulary),
        build_discriminators(config, vocabulary),
    )
    batch = _full_scene(config, width)
    generator, discriminators = count_weights(model.networks), count_weights(model.discriminators)
    return {
        "gflop_per_scene": round(step_gflop(model, batch), 2),
        "sg2im_gflop_per_scene": round(step_gflop(first, batch), 2),
        "input_megabytes_per_scene": round(sum(v.nbytes for v in batch.values()) / 1e6, 2),
        "million_weights": {
            "generator_side": round(generator / 1e6, 2),
            "discriminators": round(discriminators / 1e6, 2),
        },
        "trained_variables": len(model.networks.trainable_variables)
        + len(model.discriminators.trainable_variables),
        # The average follows the generator's side; each optimiser has two moments.
        "state_megabytes": round(_BYTES * (4 * generator + 3 * discriminators) / 1e6),
    }


def _random_network(name: str) -> Backbone:
    """Its layers, without a weight file."""
    spec = dataclasses.replace(SPECS[name], weight_files=(), partial_weight_files=())
    return Backbone(name, spec, None)


def _full_scene(config: Config, width: int) -> Batch:
    """One scene in which every place is taken, as `scene_dataset` would give it."""
    data, k = config.data, config.retrieval.candidates
    side, crop = (data.image_size, data.image_size, 3), (data.crop_size, data.crop_size, 3)
    objects = (1, data.max_objects)
    each = (*objects, k)
    return {
        "image": np.zeros((1, *side), np.float32),
        "image_id": np.zeros(1, np.int64),
        "objects": np.ones(objects, np.int32),
        "boxes": np.zeros((*objects, 4), np.float32),
        "triples": np.zeros((1, data.max_triples, 3), np.int32),
        "patch_rows": np.zeros(objects, np.int32),
        "patch_crops": np.zeros((*objects, *crop), np.uint8),
        "patch_features": np.zeros((*objects, width), np.float32),
        "candidate_ids": np.zeros(each, np.int32),
        "candidate_valid": np.ones(each, bool),
        "candidate_crops": np.zeros((*each, *crop), np.uint8),
        "candidate_features": np.zeros((*each, width), np.float32),
        "candidate_cooccurrence": np.zeros((*each, config.cooccurrence.sizes[-1]), np.float32),
    }
