"""φ's own stage: it learns what goes together, from the selection loss alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.losses.retrieval import selection_loss
from rgan_tf.model.networks import build_patch_embedding
from rgan_tf.model.patch_embedding import PatchEmbeddingModel
from rgan_tf.model.retrieval_losses import anchor_mask

B, O, K, WIDTH = 6, 3, 4, 10  # noqa: E741 - the dimension letter of objects
APART = [[0, 0, 1, 0.2], [0, 0.3, 1, 0.5], [0, 0.6, 1, 0.8]]  # boxes without a common pixel


@pytest.fixture
def config(tiny_config):
    """Every object is a query."""
    retrieval = dataclasses.replace(tiny_config.retrieval, selection_loss="every_object")
    return dataclasses.replace(tiny_config, retrieval=retrieval)


def scenes(seed: int) -> dict[str, tf.Tensor]:
    """Own patches of a scene have a sign in common, which half of the candidates have too."""
    rng = np.random.default_rng(seed)
    style = rng.choice([-1.0, 1.0], [B, 1, 1])
    own = rng.normal(size=[B, O, WIDTH]) * 0.5
    own[..., :1] += 3 * style
    candidates = rng.normal(size=[B, O, K, WIDTH]) * 0.5
    candidates[..., :1] -= 3 * style[:, :, None]
    return {
        "objects": tf.constant(rng.integers(1, 5, [B, O]), tf.int32),
        "boxes": tf.constant(np.tile(APART, [B, 1, 1]), tf.float32),
        "patch_features": tf.constant(own, tf.float32),
        "candidate_features": tf.constant(candidates, tf.float32),
        "candidate_valid": tf.ones([B, O, K], tf.bool),
    }


def made(config) -> PatchEmbeddingModel:
    tf.keras.utils.set_random_seed(0)
    model = PatchEmbeddingModel(config, *(build_patch_embedding(config, WIDTH) for _ in range(2)))
    model.compile()
    return model


def numbers(layer) -> list[np.ndarray]:
    return [variable.numpy() for variable in layer.variables]


def test_the_loss_is_that_of_the_joint_stage(config):
    model, batch = made(config), scenes(0)
    expected = selection_loss(
        model.embedding(batch["patch_features"]),
        model.embedding(batch["candidate_features"]),
        batch["candidate_valid"],
        batch["objects"] > 0,
        tf.zeros([B], tf.int32),  # does not matter where every object is a query
        scale=model.embedding.scale,
        form="every_object",
    )
    reported = model.train_step(batch)
    assert float(reported["loss"]) == pytest.approx(float(tf.reduce_mean(expected)), rel=1e-5)


def test_it_learns_what_goes_together_and_keeps_the_average(config):
    model = made(config)
    first = numbers(model.average)
    step = tf.function(model.train_step, autograph=False)
    for number in range(60):
        step(scenes(number))
        model.reset_metrics()
    batch = scenes(1000)
    own = model.average(batch["patch_features"])
    others = model.average(batch["candidate_features"])
    near = np.linalg.norm(own[:, 0] - own[:, 1], axis=-1)
    far = np.linalg.norm(own[:, :1, None] - others[:, 1:2], axis=-1).min(axis=(1, 2))
    assert (near < far).mean() > 0.8
    moved = [np.abs(a - b).max() for a, b in zip(first, numbers(model.average), strict=True)]
    assert max(moved) > 0
    assert model.inference_networks() is model.average
    behind = zip(numbers(model.average), numbers(model.embedding), strict=True)
    assert max(np.abs(a - b).max() for a, b in behind) > 0


def test_a_step_that_is_not_finite_changes_nothing(config):
    model, batch = made(config), scenes(0)
    before = [*numbers(model.embedding), *numbers(model.average)]
    reported = model.train_step({**batch, "patch_features": batch["patch_features"] * np.nan})
    assert float(reported["guard/skipped"]) == 1 and int(model.step) == 1
    for old, new in zip(before, [*numbers(model.embedding), *numbers(model.average)], strict=True):
        np.testing.assert_array_equal(old, new)


def test_two_replicas_learn_what_one_does(config, two_replicas):
    alone = made(config)
    with two_replicas.scope():
        both = made(config)

    @tf.function(autograph=False)
    def everywhere(batch):
        return two_replicas.run(both.train_step, args=(batch,))

    for number in range(2):
        alone.train_step(scenes(number))
        everywhere(scenes(number))
    for one, other in zip(numbers(alone.average), numbers(both.average), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_queries_have_another_object_beside_them(config):
    boxes = tf.constant([[[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0, 0.6, 1, 1]]], tf.float32)
    mask = tf.constant([[True, True, True]])
    # The first overlaps both others, which are apart.
    assert anchor_mask(config.retrieval, mask, boxes).numpy().tolist() == [[False, True, True]]
    shared = dataclasses.replace(config.retrieval, shared_pixels=True)
    assert anchor_mask(shared, mask, boxes).numpy().all()
    alone = tf.constant([[True, False, False]])
    assert anchor_mask(config.retrieval, alone, boxes).numpy().tolist() == alone.numpy().tolist()
