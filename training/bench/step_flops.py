"""Counts the operations of a training step, of RetrieveGAN and of the rivals."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.backbones import load_backbone
from rgan_tf.config import Config, changed
from rgan_tf.data.prepared import PreparedData
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.model.adversarial_model import AdversarialModel
from rgan_tf.model.flops import count_flops
from rgan_tf.registered_names import RIVALS
from rgan_tf.rivals.pastegan.selector import TRAINING_CANDIDATES
from rgan_tf.rivals.registry import rival_model
from training.bench.joint_step import (
    Batch,
    build_joint_step,
    padded,
    random_table,
    training_batches,
)


def training_gflop(config: Config, data: PreparedData, *, weights_dir: str | None) -> float:
    """GFLOP of one step of `training.system`, at the first batch; see `step_gflop`."""
    if config.training.system in RIVALS:
        backbone = load_backbone(config.losses.perceptual_backbone, weights_dir)
        model = rival_model(config, data.vocabulary, PerceptualDistance(backbone))
        # A rival that draws from patches takes a few; a batch of many would not hold their pixels.
        config = changed(config, retrieval={"candidates": TRAINING_CANDIDATES})
        batches = training_batches(config, data, random_table(config, data))
    else:
        model, batches, _ = build_joint_step(
            config, data, random_table(config, data), weights_dir=weights_dir
        )
    return step_gflop(model, next(iter(batches)))


def step_gflop(model: AdversarialModel, batch: Batch) -> float:
    """GFLOP of one step up to the gradients, as TensorFlow's profiler counts them.

    The profiler counts nothing whose size depends on the batch, such as the number of objects. So a
    step over all padded places is counted too; of the difference, the share of real places is
    added.
    """

    def gradients(values: Batch):
        rows = tf.shape(values["objects"])[0]
        return model._part_gradients(values, tf.constant(0), rows)[0]

    rest = count_flops(gradients, batch)
    with padded(model):
        whole = count_flops(gradients, batch)
    share = float(tf.reduce_mean(tf.cast(batch["objects"] > 0, tf.float32)))
    return (rest + share * (whole - rest)) / 1e9
