"""Own patches that disagree: lights and cuts of their own, exchanges, and what stays the target."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.model import own_patches
from rgan_tf.model.own_patches import outside, relit
from rgan_tf.retrieval.noise import row_uniforms

SEEDS = tf.constant([[1, 2], [3, 4], [1, 2]])


@pytest.fixture
def crops():
    rng = np.random.default_rng(0)
    values = rng.uniform(-0.8, 0.2, [2, 3, 8, 8, 3]).astype(np.float32)
    return tf.constant(np.concatenate([values, values[:1]]))


def test_every_patch_has_a_light_of_its_own_by_its_rows_seed(crops):
    same = tf.tile(crops[:, :1], [1, 3, 1, 1, 1])
    result = relit(same, SEEDS).numpy()
    assert result.shape == crops.shape and np.abs(result).max() <= 1
    np.testing.assert_allclose(result[0], result[2], atol=1e-6)  # same seed, same crops
    means = result.mean(axis=(2, 3))  # [B, O, 3]
    assert np.abs(means[0, 0] - means[0, 1]).max() > 0.02
    assert np.abs(means[0, 1] - means[0, 2]).max() > 0.02
    # A row alone is what it is beside others.
    np.testing.assert_allclose(relit(same[1:2], SEEDS[1:2]), result[1:2], atol=1e-6)


def test_without_any_change_patches_stay_as_they_are(crops, monkeypatch):
    for name, value in {
        "EXPOSURE": 0.0,
        "WHITE_BALANCE": 0.0,
        "SATURATION": (1.0, 1.0),
        "CONTRAST": (1.0, 1.0),
        "SMALLEST_CUT": 1.0,
        "MIRRORED": 0.0,
    }.items():
        monkeypatch.setattr(own_patches, name, value)
    np.testing.assert_allclose(relit(crops, SEEDS), crops, atol=1e-5)
    monkeypatch.setattr(own_patches, "MIRRORED", 1.0)
    np.testing.assert_allclose(relit(crops, SEEDS), crops[..., ::-1, :], atol=1e-5)


def test_exposure_is_a_factor_on_the_light(crops, monkeypatch):
    for name in ("WHITE_BALANCE", "MIRRORED"):
        monkeypatch.setattr(own_patches, name, 0.0)
    for name, value in (("SATURATION", (1.0, 1.0)), ("CONTRAST", (1.0, 1.0))):
        monkeypatch.setattr(own_patches, name, value)
    monkeypatch.setattr(own_patches, "SMALLEST_CUT", 1.0)
    dark = crops * 0.2 - 0.8  # nothing is clipped
    factor = (relit(dark, SEEDS) + 1.0) / (dark + 1.0)  # [B, O, h, w, 3]
    by_patch = tf.reduce_mean(factor, axis=[2, 3, 4]).numpy()
    np.testing.assert_allclose(factor, by_patch[..., None, None, None] + 0 * factor, rtol=1e-3)
    draws = row_uniforms(SEEDS, [3, 11]).numpy()[..., 0]
    np.testing.assert_allclose(by_patch, np.exp(draws - 0.5), rtol=1e-3)


def test_outside():
    boxes = tf.constant([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]])
    share = outside(boxes, tf.constant([[True, False]]), 4)[0, :, :, 0].numpy()
    expected = np.ones((4, 4))
    expected[:2, :2] = 0
    np.testing.assert_array_equal(share, expected)
    assert outside(boxes, tf.constant([[False, False]]), 4).numpy().all()


def with_training(config, **settings):
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **settings))


def test_exchanged_patches_leave_the_losses_of_their_boxes(
    tiny_config, make_batch, make_joint, monkeypatch
):
    config = with_training(tiny_config, exchanged_patches=1.0)
    batch = make_batch(config)
    model = make_joint(config)
    seen = {}
    before = model._altered_patches

    def watched(own, retrieved, mask, row_seeds):
        seen["own"], seen["retrieved"] = own, retrieved
        seen["result"] = before(own, retrieved, mask, row_seeds)
        seen["mask"] = mask
        return seen["result"]

    monkeypatch.setattr(model, "_altered_patches", watched)
    terms = model.compute_terms(batch, tf.constant(0))
    crops, kept = seen["result"]
    exchanged = (seen["mask"] & ~kept).numpy()
    assert exchanged.any() and kept.numpy().any()
    np.testing.assert_array_equal(crops[exchanged], seen["retrieved"].crops[exchanged])
    np.testing.assert_array_equal(crops[kept], seen["own"][kept])
    # The own patches alone give another reconstruction loss; both are finite.
    plain = make_joint(tiny_config).compute_terms(batch, tf.constant(0))
    assert np.isfinite(terms.generator["reconstruction"]).all()
    gap = terms.generator["reconstruction"] - plain.generator["reconstruction"]
    assert np.abs(gap).max() > 1e-4
    whole = exchanged.any(axis=1)
    assert (terms.generator["reconstruction"].numpy()[whole] < 2).all()


@pytest.mark.thorough  # test_exchanged_patches_leave_... stays
def test_relit_rows_are_a_share(tiny_config, make_batch, make_joint):
    batch = make_batch(tiny_config)
    mask = batch["objects"] > 0
    seeds = tf.constant(np.random.default_rng(0).integers(0, 2**31, (4, 2)), tf.int32)
    own = tf.cast(batch["patch_crops"], tf.float32) / 127.5 - 1.0
    own *= tf.cast(mask, tf.float32)[..., None, None, None]
    for share, expected in ((1.0, 4), (0.0, 0)):
        config = with_training(tiny_config, relit_patches=share)
        model = make_joint(config)
        result, kept = model._altered_patches(own, None, mask, lambda purpose: seeds)
        changed = np.abs(result - own).max(axis=(1, 2, 3, 4)) > 0
        assert changed.sum() == expected
        np.testing.assert_array_equal(kept, mask)
        assert not np.asarray(result)[~mask.numpy()].any()  # padding stays empty


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_cut_is_that_of_tensorflow_bit_for_bit(jit_compile):
    """Which XLA cannot compile; it may round the last digit otherwise."""
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(-1, 1, [40, 16, 8, 3]), tf.float32)
    start = rng.uniform(0, 0.25, [40, 2])
    boxes = np.concatenate([start, start + rng.uniform(0.7, 0.75, [40, 2])], 1).astype(np.float32)
    boxes[::4] = boxes[::4, [0, 3, 2, 1]]  # mirrored

    def cut(images):
        columns = own_patches._blend(images, boxes[:, 1], boxes[:, 3], axis=2)
        return own_patches._blend(columns, boxes[:, 0], boxes[:, 2], axis=1)

    found = tf.function(cut, jit_compile=jit_compile)(images).numpy()
    expected = tf.image.crop_and_resize(images, boxes, tf.range(40), [16, 8]).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 if jit_compile else 0)
