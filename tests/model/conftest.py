"""Tiny models of both adversarial stages, and random batches that look like the pipeline's."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

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

FEATURES = 12  # Dx
RELATED = 5  # Dc


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary.from_categories(("grass", "house", "sky", "tree"))


@pytest.fixture(scope="session")
def perceptual() -> PerceptualDistance:
    """On the backbone whose weights come with the project."""
    return PerceptualDistance(load_backbone("mobilenet_v2"))


def random_batch(
    config, vocabulary, *, rows: int, seed: int = 0, features: int = FEATURES
) -> dict[str, tf.Tensor]:
    """Scenes of two objects and more, with missing objects, triples and candidates."""
    rng = np.random.default_rng(seed)
    data, k = config.data, config.retrieval.candidates
    count = rng.integers(2, data.max_objects + 1, rows)
    count[0] = data.max_objects
    mask = np.arange(data.max_objects) < count[:, None]  # [B, O]
    objects = rng.integers(2, vocabulary.num_objects, mask.shape) * mask
    corner = rng.random([*mask.shape, 2]) * 0.5
    boxes = np.concatenate([corner, corner + 0.2 + 0.3 * rng.random(corner.shape)], axis=-1)
    triples = np.full([rows, data.max_triples, 3], -1)
    for row in range(rows):
        for index in range(min(count[row], data.max_triples)):
            other = (index + rng.integers(1, count[row])) % count[row]
            predicate = rng.integers(1, len(vocabulary.predicates))
            triples[row, index] = (index, predicate, other)
    valid = (rng.random([*mask.shape, k]) < 0.8) & mask[..., None]
    valid[..., 0] = mask
    crop = [data.crop_size, data.crop_size, 3]
    arrays = {
        "image": rng.uniform(-1, 1, [rows, data.image_size, data.image_size, 3]),
        "image_id": np.arange(rows, dtype=np.int64) + 10,
        "objects": objects.astype(np.int32),
        "boxes": boxes * mask[..., None],
        "triples": triples.astype(np.int32),
        "patch_crops": rng.integers(0, 256, [*mask.shape, *crop], np.uint8),
        "patch_features": rng.normal(size=[*mask.shape, features]),
        "candidate_valid": valid,
        "candidate_ids": np.where(valid, rng.integers(0, 99, valid.shape), -1).astype(np.int32),
        "candidate_crops": rng.integers(0, 256, [*valid.shape, *crop], np.uint8),
        "candidate_features": rng.normal(size=[*valid.shape, features]),
        "candidate_cooccurrence": rng.normal(size=[*valid.shape, RELATED]),
    }
    return {
        name: tf.constant(array.astype(np.float32) if array.dtype == np.float64 else array)
        for name, array in arrays.items()
    }


@pytest.fixture(scope="session")
def make_batch(vocabulary):
    return lambda config, rows=4, **options: random_batch(config, vocabulary, rows=rows, **options)


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
def fit_once():
    """One step of `fit` on one batch; returns the reported figures."""

    def fit(model, batch, steps: int = 1) -> dict[str, float]:
        rows = len(batch["objects"])
        dataset = tf.data.Dataset.from_tensor_slices(batch).repeat().batch(rows, True)
        history = model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)
        return {name: values[-1] for name, values in history.history.items()}

    return fit


@pytest.fixture(scope="session")
def assert_same_step():
    """Two models, started alike, that did one step: same weights and same figures."""

    def compare(one, other, figures, other_figures):
        for part in ("networks", "average", "discriminators"):
            variables = getattr(one, part).variables
            assert variables
            for a, b in zip(variables, getattr(other, part).variables, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=a.name)
        assert set(figures) == set(other_figures)
        for name, value in figures.items():
            other_value = float(other_figures[name])
            assert other_value == pytest.approx(float(value), rel=1e-4, abs=1e-5), name

    return compare


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
