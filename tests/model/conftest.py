"""Tiny models of both adversarial stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable

import numpy as np
import pytest
import tensorflow as tf
from random_scenes import FEATURES, RELATED

from rgan_tf.backbones import load_backbone
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.config import Config
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


class BuiltParts:
    """Networks that tests take and give back: making the variables takes most of a model's time.

    What is taken again has the weights that it was built with. No test gets what another holds: a
    model is new each time, and only its networks are not.
    """

    def __init__(self):
        self._free: dict[Hashable, list[tuple]] = {}
        self._taken: list[tuple[Hashable, tuple]] = []

    def take(self, kind: Hashable, seed: int, build: Callable[[], tuple]) -> tuple:
        """The networks of a kind as that seed makes them: (networks, average, discriminators)."""

        def built() -> tuple:
            # Only here: TensorFlow makes all its kernels anew after it, in half a second.
            tf.keras.utils.set_random_seed(seed)
            return build()

        if tf.distribute.has_strategy():  # such variables are of the strategy's devices
            return built()
        free = self._free.setdefault((kind, seed), [])
        if free:
            parts, weights = free.pop()
            for variable, value in zip(_variables(parts), weights, strict=True):
                variable.assign(value)
        else:
            parts = built()
            weights = [variable.numpy() for variable in _variables(parts)]
        self._taken.append(((kind, seed), (parts, weights)))
        return parts

    def give_back(self, held: int = 0) -> None:
        """What was taken since so much was held may be taken by others."""
        for kind, entry in self._taken[held:]:
            self._free[kind].append(entry)
        del self._taken[held:]

    @property
    def held(self) -> int:
        """How many are taken."""
        return len(self._taken)


def _variables(parts: tuple) -> list[tf.Variable]:
    return [variable for part in parts for variable in part.variables]


def _built_alike(config: Config) -> Config:
    """The same for configs whose networks are built alike."""
    plain, of_phi = Config(), ("embedding_sizes", "embedding_start", "initial_scale")
    judging = {"judged": plain.discriminators.judged, "augmentation": "none"}
    return dataclasses.replace(
        config,
        retrieval=dataclasses.replace(
            plain.retrieval, **{name: getattr(config.retrieval, name) for name in of_phi}
        ),
        training=dataclasses.replace(plain.training, seed=config.training.seed),
        losses=plain.losses,
        discriminators=dataclasses.replace(config.discriminators, **judging),
    )


@pytest.fixture(scope="session")
def built_parts() -> BuiltParts:
    return BuiltParts()


@pytest.fixture
def given_back(built_parts):
    """What a test takes is free after it."""
    held = built_parts.held
    yield
    built_parts.give_back(held)


@pytest.fixture(scope="session")
def make_lasting_joint(vocabulary, pooled_backbone, built_parts):
    """Makes compiled stage-3 models of any config; for fixtures that several tests share."""

    def make(
        config, optimizer="sgd", seed=1, features=FEATURES, perceptual=None, reader=None, **others
    ):
        perceptual = perceptual or PerceptualDistance(pooled_backbone)

        def build():
            return (
                build_retrieval_networks(config, vocabulary, features),
                build_retrieval_networks(config, vocabulary, features),
                build_discriminators(config, vocabulary, perceptual=perceptual),
            )

        maps = config.discriminators.feature and perceptual._backbone.name  # which are judged
        kind = ("joint", _built_alike(config), features, maps)
        networks, average, discriminators = built_parts.take(kind, seed, build)
        model = RetrieveGANModel(
            config, networks, average, discriminators, perceptual, reader, **others
        )
        model.compile(*optimizers(optimizer))
        return model

    return make


@pytest.fixture
def make_joint(make_lasting_joint, given_back):
    """Makes compiled stage-3 models of any config, for one test."""
    return make_lasting_joint


@pytest.fixture(scope="session")
def make_lasting_sg2im(vocabulary, built_parts):
    """Makes compiled stage-1 models of any config; for fixtures that several tests share."""

    def make(config, optimizer="sgd", seed=1):
        def build():
            return (
                build_sg2im_networks(config, vocabulary),
                build_sg2im_networks(config, vocabulary),
                build_discriminators(config, vocabulary),
            )

        model = Sg2imModel(config, *built_parts.take(("sg2im", _built_alike(config)), seed, build))
        model.compile(*optimizers(optimizer))
        return model

    return make


@pytest.fixture
def make_sg2im(make_lasting_sg2im, given_back):
    """Makes compiled stage-1 models of any config, for one test."""
    return make_lasting_sg2im


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
