"""Builds the joint training step with untrained weights, for timing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.backbones import load_backbone
from rgan_tf.config import Config, changed
from rgan_tf.data.pipeline import scene_dataset, worker_count
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.model.adversarial_model import AdversarialModel
from rgan_tf.model.retrievegan import RetrieveGANModel
from rgan_tf.retrieval.candidates import CandidateSource, CandidateTable
from training.stages.retrievegan import build_retrievegan, patch_reader

Batch = dict[str, tf.Tensor]


def build_joint_step(
    config: Config, data: PreparedData, table: CandidateSource, *, weights_dir: str | None
) -> tuple[RetrieveGANModel, Iterator[Batch], Callable[[Batch], dict[str, tf.Tensor]]]:
    """The model, its training batches and its compiled step.

    Raises:
      BadInput: if the config trains a rival, whose step this is not.
    """
    check_system(config)
    perceptual = PerceptualDistance(load_backbone(config.losses.perceptual_backbone, weights_dir))
    reader = patch_reader(config, data.bank, table.cooccurrence)
    model = build_retrievegan(config, data.vocabulary, perceptual, reader)
    return model, iter(training_batches(config, data, table)), tf.function(model.train_step)


def check_system(config: Config) -> None:
    """Refuses a config that trains a rival.

    Raises:
      BadInput: then.
    """
    if config.training.system != "retrievegan":
        raise BadInput(
            f"training.system={config.training.system}: only RetrieveGAN's step is measured; leave "
            "this setting out"
        )


@contextlib.contextmanager
def padded(model: AdversarialModel) -> Iterator[None]:
    """Within it the sizes of a step do not depend on its batch, as XLA needs them."""
    config, networks = model.config, model.networks
    model.config = changed(config, training={"jit_compile": True})
    has_own = hasattr(networks, "keeps_padding")  # layout2im encodes object by object
    kept = networks.keeps_padding if has_own else None
    if has_own:
        networks.keeps_padding = True
    try:
        yield
    finally:
        model.config = config
        if has_own:
            networks.keeps_padding = kept


def training_batches(
    config: Config, data: PreparedData, table: CandidateSource, **more: Any
) -> tf.data.Dataset:
    """The batches that training would read; `more` as for `scene_dataset`."""
    return scene_dataset(
        data,
        "train",
        config,
        batch_size=config.training.batch_size,
        seed=config.training.seed,
        candidates=table,
        **more,
    )


def skip_made_ahead(batches: Iterator[Batch]) -> None:
    """Takes what the pipeline may have made while nothing was measured."""
    for _ in range(2 * worker_count() + 1):  # prefetched, in the making, and handed over
        next(batches)


def random_table(config: Config, data: PreparedData) -> CandidateTable:
    """Random candidates of other images, since the cost of a step does not depend on them.

    Of other images like the pre-filter's: between equal vectors distances are mostly rounding.
    """
    rng = np.random.default_rng(0)
    own, images = data.truth("train").image_ids, np.asarray(data.bank.image_ids)
    ids = rng.integers(len(images), size=(len(own), config.retrieval.candidates), dtype=np.int32)
    while (images != images[0]).any() and (of_own := images[ids] == own[:, np.newaxis]).any():
        ids[of_own] = rng.integers(len(images), size=of_own.sum(), dtype=np.int32)
    related = rng.normal(size=(len(data.bank), config.cooccurrence.sizes[-1]))
    return CandidateTable(ids, related.astype(np.float32))
