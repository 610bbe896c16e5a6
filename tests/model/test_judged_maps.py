"""The joint stage with a discriminator on the maps of the perceptual network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.model.judgement import (
    ADVERSARIAL_FEATURE,
    Judge,
    Judgement,
    discriminator_terms,
    generator_terms,
)
from rgan_tf.model.networks import build_discriminators
from rgan_tf.seeds import derive_batch_seeds


def changed(config, *, training=None, **discriminators):
    return dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, **(training or {})),
        discriminators=dataclasses.replace(config.discriminators, **discriminators),
    )


@pytest.fixture(scope="module")
def config(tiny_config):
    return changed(tiny_config, feature=True, feature_channels=6)


@pytest.fixture(scope="module")
def batch(config, make_batch):
    return make_batch(config)


@pytest.fixture(scope="module")
def discriminators(config, vocabulary, pooled_backbone):
    tf.keras.utils.set_random_seed(3)
    return build_discriminators(config, vocabulary, perceptual=PerceptualDistance(pooled_backbone))


def test_terms_are_means_over_heads_and_paths_by_hand():
    objects, mask = tf.constant([[2]]), tf.constant([[True]])

    def judgement(*heads):
        feature = [tf.constant(head, tf.float32) for head in heads]
        classes = tf.zeros([1, 1, 4])
        return Judgement(tf.zeros([1, 1, 1]), tf.zeros([1, 1]), classes, tf.zeros([1, 1]), feature)

    real = judgement([[[0.5, 1.5]]], [[[2.0]]])
    fakes = [judgement([[[-2.0, 0.0]]], [[[1.0]]]), judgement([[[3.0, 5.0]]], [[[-0.5]]])]
    theirs = generator_terms(fakes, objects, mask, form="hinge")[ADVERSARIAL_FEATURE]
    # -1 on average over (-1, 1, 4, -0.5)
    np.testing.assert_allclose(theirs, [-(-1.0 + 1.0 + 4.0 - 0.5) / 4])
    ours = discriminator_terms(real, fakes, objects, mask, form="hinge")[ADVERSARIAL_FEATURE]
    # real: 0.25 and 0; generated: 0.5 and 2, then 5 and 0.5
    np.testing.assert_allclose(ours, [(0.25 + 0.5 + 2.0 + 0.25 + 5.0 + 0.5) / 4])
    bare = [fake._replace(feature=()) for fake in fakes]
    assert ADVERSARIAL_FEATURE not in generator_terms(bare, objects, mask, form="hinge")
    assert ADVERSARIAL_FEATURE not in discriminator_terms(
        bare[0], bare, objects, mask, form="hinge"
    )


def _feature_logits(config, discriminators, perceptual, batch, maps_from):
    images = [batch["image"], batch["image"][::-1] * 0.5]
    judge = Judge(config, discriminators, perceptual.maps)
    judgements = judge(
        images,
        [batch["boxes"]] * 2,
        batch["objects"] > 0,
        lambda purpose: derive_batch_seeds(5, 1, purpose, rows=4),
        maps_from and [perceptual.maps(part) for part in maps_from],
    )
    return [head.numpy() for judgement in judgements for head in judgement.feature]


def test_maps_at_hand_are_used_unless_images_are_augmented(
    config, discriminators, pooled_backbone, batch
):
    perceptual = PerceptualDistance(pooled_backbone)

    def logits(config, maps_from):
        return _feature_logits(config, discriminators, perceptual, batch, maps_from)

    images = [batch["image"], batch["image"][::-1] * 0.5]
    augmented = changed(config, augmentation="color,translation,cutout")
    own, given, other = (logits(config, part) for part in (None, images, images[::-1]))
    assert len(own) == 2 and own[0].shape == (4, 4, 4)
    np.testing.assert_allclose(given, own, atol=1e-6)
    assert np.abs(other[0] - own[0]).max() > 1e-3
    shown, ignored = (logits(augmented, part) for part in (None, images))
    np.testing.assert_allclose(shown, ignored, atol=1e-6)
    assert np.abs(shown[0] - own[0]).max() > 1e-3


@pytest.fixture(scope="module")
def taped(config, make_lasting_joint, batch):
    model = make_lasting_joint(config)
    with tf.GradientTape(persistent=True) as tape:
        terms = model.compute_terms(batch, tf.constant(0))
        losses = {
            side: tf.reduce_sum(getattr(terms, side)[ADVERSARIAL_FEATURE])
            for side in ("generator", "discriminator")
        }
    return model, tape, losses


def reached(tape, loss, variables) -> list[bool]:
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    return [float(tf.norm(tf.convert_to_tensor(gradient))) > 0 for gradient in gradients]


@pytest.mark.parametrize(
    "augmentation",
    [pytest.param("none", marks=pytest.mark.thorough), "color,translation,cutout"],
)
def test_the_gradient_reaches_generator_and_phi(config, make_joint, batch, augmentation):
    model = make_joint(changed(config, augmentation=augmentation))
    with tf.GradientTape(persistent=True) as tape:
        terms = model.compute_terms(batch, tf.constant(0))
        loss = tf.reduce_sum(terms.generator[ADVERSARIAL_FEATURE])
    networks = model.networks
    assert all(reached(tape, loss, networks.generator.trainable_variables))
    assert all(reached(tape, loss, networks.embedding.trainable_variables))


def test_each_side_trains_its_own(taped):
    model, tape, losses = taped
    heads = model.discriminators.feature.trainable_variables
    # The real and the generated images cancel in the bias of the last layer, and only there.
    kernels = [variable for variable in heads if "kernel" in variable.name]
    assert kernels and all(reached(tape, losses["discriminator"], kernels))
    for part in (model.discriminators.image, model.discriminators.object):
        assert not any(reached(tape, losses["discriminator"], part.trainable_variables))
    mixing = {id(variable) for variable in model.discriminators.feature.mixing.variables}
    assert mixing and not mixing & {id(v) for v in model.discriminators.trainable_variables}


@pytest.mark.thorough  # who trains what stays; test_retrievegan: frozen
def test_a_step_moves_the_heads_and_nothing_that_is_frozen(
    config, vocabulary, make_joint, make_batch, perceptual
):
    """On a pretrained network (another than the config's: this one comes with the project)."""
    model = make_joint(config, perceptual=perceptual)
    frozen = [
        *perceptual._backbone.perceptual_network().variables,
        *model.discriminators.feature.mixing.variables,
    ]
    owned = {id(variable) for variable in model.variables}
    assert not owned & {id(v) for v in perceptual._backbone.perceptual_network().variables}
    heads = [v for v in model.discriminators.feature.trainable_variables if "kernel" in v.name]
    assert len(model.discriminators.feature.heads) == 4
    before = [[variable.numpy() for variable in part] for part in (frozen, heads)]
    figures = model.train_step(make_batch(config))
    for old, variable in zip(before[0], frozen, strict=True):
        np.testing.assert_array_equal(old, variable)
    for old, variable in zip(before[1], heads, strict=True):
        assert (old != variable.numpy()).any(), variable.name
    assert {f"loss/{side}/{ADVERSARIAL_FEATURE}" for side in ("generator", "discriminator")} <= set(
        figures
    )
    assert model.generator_weights[ADVERSARIAL_FEATURE] == config.losses.adversarial_feature
    assert all(np.isfinite(value) for value in figures.values())


def test_the_first_stage_has_no_heads(config, make_sg2im, batch):
    model = make_sg2im(config)
    assert model.discriminators.feature is None
    terms = model.compute_terms(batch, tf.constant(0))
    assert ADVERSARIAL_FEATURE not in {*terms.generator, *terms.discriminator}
    assert ADVERSARIAL_FEATURE not in model.discriminator_weights


@pytest.fixture(scope="module")
def plain(config, make_lasting_joint, batch):
    model = make_lasting_joint(config)
    return model, model.train_step(batch)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "settings",
    [
        {"accumulate_steps": 2, "recompute": True},
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_speed_switches_do_not_change_the_step(
    config, make_joint, batch, plain, assert_same_step, settings
):
    model = make_joint(changed(config, training=settings))
    figures = dict(model.train_step(batch))
    figures["retrieval/signal_to_noise"] = plain[1]["retrieval/signal_to_noise"]
    assert_same_step(model, plain[0], figures, plain[1])


@pytest.mark.thorough
def test_two_replicas_make_the_same_step(
    config, make_joint, batch, two_replicas, fit_once, plain, assert_same_step
):
    with two_replicas.scope():
        double = make_joint(config)
    figures = fit_once(double, batch)
    figures["retrieval/signal_to_noise"] = plain[1]["retrieval/signal_to_noise"]
    assert_same_step(double, plain[0], figures, plain[1])


def test_half_precision_gives_finite_losses(config, vocabulary, pooled_backbone, batch):
    perceptual = PerceptualDistance(pooled_backbone)
    half = build_discriminators(config, vocabulary, precision="float16", perceptual=perceptual)
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    assert half.feature.heads[0].compute_dtype == "float16"
    assert half.feature.mixing.compute_dtype == "float32"
    for logits in half.feature(perceptual.maps(batch["image"])):
        assert logits.dtype == tf.float32 and np.isfinite(logits).all()


def test_a_checkpoint_brings_heads_and_mixing_back(config, vocabulary, pooled_backbone, tmp_path):
    def make(seed):
        tf.keras.utils.set_random_seed(seed)
        one = changed(config, training={"seed": seed})
        perceptual = PerceptualDistance(pooled_backbone)
        return build_discriminators(one, vocabulary, perceptual=perceptual)

    first, second, again = make(1), make(2), make(1)
    kernels = [part.feature.mixing.get_weights() for part in (first, second, again)]
    for one, other, same in zip(*kernels, strict=True):
        assert (one != other).any()
        np.testing.assert_array_equal(one, same)
    path = tf.train.Checkpoint(networks=first).write(str(tmp_path / "weights"))
    status = tf.train.Checkpoint(networks=second).read(path)
    status.assert_existing_objects_matched().assert_consumed()
    for one, other in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_checkpoint_from_before_still_fits_a_run_without_heads(
    tiny_config, config, vocabulary, pooled_backbone, tmp_path
):
    """Nothing was added to the object graph of discriminators without heads."""
    plain = build_discriminators(tiny_config, vocabulary)
    path = tf.train.Checkpoint(discriminators=plain).write(str(tmp_path / "weights"))
    names = [name for name, _ in tf.train.list_variables(path)]
    assert names and not any("feature" in name for name in names)
    with_heads = build_discriminators(
        config, vocabulary, perceptual=PerceptualDistance(pooled_backbone)
    )
    with pytest.raises(AssertionError):
        tf.train.Checkpoint(discriminators=with_heads).read(path).assert_existing_objects_matched()
