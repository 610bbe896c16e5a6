"""Stage 1: its losses, who receives a gradient, and that replicas change nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

TERMS = {"adversarial_image", "adversarial_object", "reconstruction", "box", "auxiliary"}


@pytest.fixture(scope="module")
def batch(tiny_config, make_batch):
    full = make_batch(tiny_config)
    return {name: full[name] for name in ("image", "objects", "boxes", "triples")}


@pytest.fixture(scope="module")
def taped(tiny_config, make_lasting_sg2im, batch):
    model = make_lasting_sg2im(tiny_config)
    with tf.GradientTape(persistent=True) as tape:
        terms = model.compute_terms(batch, tf.constant(0))
        losses = {name: tf.reduce_sum(term) for name, term in terms.generator.items()}
        total = tf.add_n(list(losses.values()))
    return model, terms, tape, losses, total


def reached(tape, loss, variables) -> set[str]:
    gradients = tape.gradient(loss, variables)
    return {
        variable.name
        for variable, gradient in zip(variables, gradients, strict=True)
        if gradient is not None and np.abs(tf.convert_to_tensor(gradient)).max() > 0
    }


def test_losses_are_per_example_and_named(taped):
    _, terms, *_ = taped
    assert set(terms.generator) == {*TERMS, "box_overlap"}
    assert set(terms.discriminator) == {"adversarial_image", "adversarial_object", "auxiliary"}
    for term in (*terms.generator.values(), *terms.discriminator.values()):
        assert term.shape == [4] and np.isfinite(term).all()


def test_encoder_and_decoder_learn(taped):
    model, _, tape, _, total = taped
    networks = model.networks
    for part in (networks.decoder, networks.box_predictor):
        variables = part.trainable_variables
        assert reached(tape, total, variables) == {variable.name for variable in variables}
    # The last layer's predicate vectors have no reader in this stage; all else learns.
    variables = networks.encoder.trainable_variables
    assert len(reached(tape, total, variables)) >= len(variables) - 2


def test_box_loss_leaves_the_decoder_alone(taped):
    model, _, tape, losses, _ = taped
    networks = model.networks
    assert not reached(tape, losses["box"], networks.decoder.trainable_variables)
    assert reached(tape, losses["box"], networks.box_predictor.trainable_variables)
    # Images are drawn in the true layout, so they say nothing about boxes.
    assert not reached(tape, losses["reconstruction"], networks.box_predictor.trainable_variables)


def test_a_row_costs_the_same_beside_other_rows(tiny_config, make_sg2im, batch):
    settings = dataclasses.replace(tiny_config.discriminators, spectral_normalization=False)
    model = make_sg2im(dataclasses.replace(tiny_config, discriminators=settings))
    together = model.compute_terms(batch, tf.constant(0))
    alone = model.compute_terms({k: v[2:3] for k, v in batch.items()}, tf.constant(0))
    for name, term in together.generator.items():
        np.testing.assert_allclose(term[2:3], alone.generator[name], rtol=1e-4, atol=1e-6)


@pytest.mark.thorough
def test_two_replicas_equal_one(
    tiny_config, make_sg2im, batch, two_replicas, fit_once, assert_same_step
):
    # Spectral normalisation stays on: its power iteration sees kernels only, never the batch.
    single = make_sg2im(tiny_config)
    with two_replicas.scope():
        double = make_sg2im(tiny_config, seed=2)
        for a, b in zip(double.variables, single.variables, strict=True):
            a.assign(b)
    assert two_replicas.num_replicas_in_sync == 2
    start = [variable.numpy() for variable in single.networks.trainable_variables]
    figures = single.train_step(batch)
    assert_same_step(double, single, fit_once(double, batch), figures)
    moved = [
        np.abs(before - after.numpy()).max()
        for before, after in zip(start, single.networks.trainable_variables, strict=True)
    ]
    assert max(moved) > 1e-3  # the comparison was not between two models that stood still


@pytest.mark.thorough
def test_learns_one_batch_by_heart(tiny_config, make_sg2im, batch, fit_once):
    losses = dataclasses.replace(
        tiny_config.losses, adversarial_image=0.0, adversarial_object=0.0, auxiliary=0.0
    )
    model = make_sg2im(dataclasses.replace(tiny_config, losses=losses), optimizer="adam")
    first = fit_once(model, batch)
    last = fit_once(model, batch, steps=60)
    assert last["loss/generator/box"] < 0.7 * first["loss/generator/box"]
    assert last["loss/generator"] < 0.8 * first["loss/generator"]
