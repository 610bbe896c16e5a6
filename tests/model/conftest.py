"""Tiny models of both adversarial stages."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from random_scenes import FEATURES, RELATED

from rgan_tf.backbones import load_backbone
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.model.networks import (
    build_discriminators,
    build_retrieval_networks,
    build_sg2im_networks,
)
from rgan_tf.model.retrievegan import RetrieveGANModel
from rgan_tf.model.sg2im import Sg2imModel
from rgan_tf.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def perceptual() -> PerceptualDistance:
    """On the backbone whose weights come with the project."""
    return PerceptualDistance(load_backbone("mobilenet_v2"))


def optimizers(kind: str):
    """One optimiser per side."""
    if kind == "sgd":  # where results are compared: Adam blows up differences of tiny gradients
        return [tf.keras.optimizers.SGD(0.05), tf.keras.optimizers.SGD(0.05)]
    return [tf.keras.optimizers.Adam(2e-3, beta_1=0.0, beta_2=0.9) for _ in range(2)]


@pytest.fixture(scope="session")
def make_joint(vocabulary, pooled_backbone):
    """Makes compiled stage-3 models of any config."""

    def make(
        config, optimizer="sgd", seed=1, features=FEATURES, perceptual=None, reader=None, **others
    ):
        tf.keras.utils.set_random_seed(seed)
        perceptual = perceptual or PerceptualDistance(pooled_backbone)
        model = RetrieveGANModel(
            config,
            build_retrieval_networks(config, vocabulary, features),
            build_retrieval_networks(config, vocabulary, features),
            build_discriminators(config, vocabulary, perceptual=perceptual),
            perceptual,
            reader,
            **others,
        )
        model.compile(*optimizers(optimizer))
        return model

    return make


@pytest.fixture(scope="session")
def make_sg2im(vocabulary):
    """Makes compiled stage-1 models of any config."""

    def make(config, optimizer="sgd", seed=1):
        tf.keras.utils.set_random_seed(seed)
        model = Sg2imModel(
            config,
            build_sg2im_networks(config, vocabulary),
            build_sg2im_networks(config, vocabulary),
            build_discriminators(config, vocabulary),
        )
        model.compile(*optimizers(optimizer))
        return model

    return make


@pytest.fixture(scope="session")
def random_bank(tmp_path_factory) -> PatchBank:
    """60 random patches of 16 px."""
    rows = 60
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("bank") / "bank"
    shape = {"crop_size": 16, "feature_size": FEATURES}
    vocabulary = Vocabulary.from_categories(["thing"])
    with PatchBankWriter(folder, **shape, backbone="random", vocabulary=vocabulary) as writer:
        writer.append(
            rng.integers(0, 256, [rows, 16, 16, 3], np.uint8),
            rng.normal(size=[rows, FEATURES]),
            [{"category_id": 2, "image_id": row, "style": ""} for row in range(rows)],
        )
    return PatchBank.open(folder)


@pytest.fixture(scope="session")
def reader(random_bank) -> PatchReader:
    related = np.random.default_rng(1).normal(size=[len(random_bank), RELATED])
    return PatchReader(random_bank, related.astype(np.float32), crop_size=16)
