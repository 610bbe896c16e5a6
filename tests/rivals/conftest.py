"""Tiny rivals, and which variables a loss reaches."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.rivals.attngan import sizes as attngan_sizes
from rgan_tf.rivals.attngan.image_encoder import ImageFeatures
from rgan_tf.rivals.attngan.model import build_attngan
from rgan_tf.rivals.layout2im import sizes as layout2im_sizes
from rgan_tf.rivals.layout2im.model import build_layout2im
from rgan_tf.rivals.pastegan import sizes as pastegan_sizes
from rgan_tf.rivals.pastegan.model import build_pastegan
from rgan_tf.rivals.sg2im import sizes as sg2im_sizes
from rgan_tf.rivals.sg2im.model import build_sg2im
from rgan_tf.vocabulary import Vocabulary

SCENE = ("image", "objects", "boxes", "triples")
PATCHES = ("patch_crops", "candidate_crops", "candidate_valid")  # what PasteGAN reads beside it

TINY = {
    "sg2im": sg2im_sizes.Sizes(
        width=8,
        hidden=8,
        layers=2,
        box_hidden=8,
        mask_width=4,
        mask_doublings=2,
        noise_channels=4,
        decoder_channels=(16, 8),
        discriminator_channels=(8, 8, 8),
        discriminator_hidden=8,
    ),
    "layout2im": layout2im_sizes.Sizes(
        crop_channels=(8, 8, 8),
        embedding=4,
        code=4,
        layout_channels=(8, 8, 8),
        sequence_channels=(8, 8),
        blocks=1,
        decoder_channels=(8, 8, 8),
        image_channels=(4, 8),
        object_channels=(4, 8),
        crop_size=16,
    ),
    "pastegan": pastegan_sizes.Sizes(
        published=False,
        width=8,
        hidden=8,
        layers=2,
        box_hidden=8,
        crop_channels=8,
        refiner_layers=2,
        refiner_hidden=8,
        flow_channels=4,
        canvas_channels=8,
        canvas_blocks=1,
        decoder_channels=(8, 8),
        discriminator_channels=(8, 8, 8),
        discriminator_hidden=8,
    ),
    "attngan": attngan_sizes.Sizes(
        embedding=8, hidden=4, code=8, noise=8, width=8, residuals=1, discriminator_width=8
    ),
}
SIZES = {
    "sg2im": sg2im_sizes,
    "layout2im": layout2im_sizes,
    "pastegan": pastegan_sizes,
    "attngan": attngan_sizes,
}


@pytest.fixture(scope="session")
def builders(pooled_backbone, tiny_attngan):
    """name -> (function that builds a compiled model, module of its sizes)."""
    perceptual = PerceptualDistance(pooled_backbone)
    build = {
        "sg2im": build_sg2im,
        "layout2im": build_layout2im,
        "pastegan": functools.partial(build_pastegan, perceptual=perceptual),
        "attngan": functools.partial(build_attngan, features=tiny_attngan["features"]),
    }
    return {name: (build[name], SIZES[name]) for name in build}


@pytest.fixture(scope="session")
def tiny_rival(builders, tiny_config, vocabulary):
    """Makes compiled rivals of very small networks: (name, seed) -> model."""

    def make(name: str, seed: int = 1, config=tiny_config, **options):
        tf.keras.utils.set_random_seed(seed)
        return builders[name][0](config, vocabulary, TINY[name], **options)

    return make


@pytest.fixture(scope="session")
def kept_rival(tiny_rival):
    """name -> a tiny rival that is built once; not to be changed, which the session's end checks.

    Not for `test_attngan`: layers that are made in a `tf.Graph` end those of the class before.
    """
    kept = {}

    def keep(name: str):
        if name not in kept:
            model = tiny_rival(name)
            kept[name] = model, state_of(model)
        return kept[name][0]

    yield keep
    for name, (model, state) in kept.items():
        assert_unchanged(name, model, state)


def state_of(model) -> list[np.ndarray]:
    """Values of everything that a step could change."""
    return [variable.numpy() for variable in model.variables]


def assert_unchanged(name: str, model, state: list[np.ndarray]) -> None:
    changed = [
        variable.name
        for variable, value in zip(model.variables, state, strict=True)
        if not np.array_equal(variable, value)
    ]
    assert not changed, f"a test changed {changed[:3]} of {name}, which all tests share"


@pytest.fixture(scope="session")
def tiny_attngan(pooled_backbone) -> dict:
    """Widths of a very small AttnGAN, and a "network" that only shrinks the image."""
    return {"sizes": TINY["attngan"], "features": ImageFeatures(pooled_backbone, side=32)}


@pytest.fixture(scope="session")
def scenes(tiny_config, make_batch):
    """Four random scenes with padding and candidates, as tensors of a batch."""
    full = make_batch(tiny_config)
    return {name: full[name] for name in (*SCENE, *PATCHES)}


@pytest.fixture(scope="session")
def reached():
    """Names of the variables, or numbers of the tensors, that a loss has a gradient to."""

    def find(tape, loss, sources) -> set:
        gradients = tape.gradient(loss, sources)
        return {
            getattr(source, "name", None) if isinstance(source, tf.Variable) else number
            for number, (source, gradient) in enumerate(zip(sources, gradients, strict=True))
            if gradient is not None and np.abs(tf.convert_to_tensor(gradient)).max() > 0
        }

    return find


def count(part: tf.Module) -> int:
    """Trainable numbers of a network."""
    return sum(int(np.prod(variable.shape)) for variable in part.trainable_variables)


def table_of(objects: int, predicates: int) -> Vocabulary:
    """A vocabulary with that many rows in its tables, reserved ones included."""
    return Vocabulary.from_categories(
        [f"c{index}" for index in range(objects - 2)],
        [f"p{index}" for index in range(predicates - 1)],
    )


@pytest.fixture
def without_draws(monkeypatch):
    """New weights are zeros: where shapes alone matter, drawing millions would take seconds."""

    def zeros(self, shape, dtype=None, **kwargs):
        return tf.zeros(shape, dtype or tf.float32)

    for name in ("RandomNormal", "TruncatedNormal", "VarianceScaling"):
        monkeypatch.setattr(f"keras.src.initializers.initializers.{name}.__call__", zeros)


@pytest.fixture(scope="session")
def counted():
    return count


@pytest.fixture(scope="session")
def tables():
    return table_of
