"""Stage 3: nine losses, who learns from which of them, replicas, and what is generated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config_files import load_config
from rgan_tf.losses import GENERATOR_LOSSES
from rgan_tf.losses.own import Loss
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.losses.total import mean_loss
from rgan_tf.model.synthesis import reconstruct, synthesise
from rgan_tf.seeds import Purpose
from training.configuration import CONFIG_FOLDER

NINE = {
    "selection",
    "cooccurrence",
    "adversarial_image",
    "adversarial_object",
    "reconstruction",
    "box",
    "auxiliary",
    "perceptual_image",
    "perceptual_object",
}


@pytest.fixture(scope="module")
def batch(tiny_config, make_batch):
    return make_batch(tiny_config)


@pytest.fixture(scope="module")
def taped(tiny_config, make_lasting_joint, batch, perceptual):
    """The model, its terms, and a tape that saw one joint forward pass."""
    model = make_lasting_joint(tiny_config, perceptual=perceptual)
    with tf.GradientTape(persistent=True) as tape:
        terms = model.compute_terms(batch, tf.constant(0))
        losses = {name: tf.reduce_sum(term) for name, term in terms.generator.items()}
        total = mean_loss(terms.generator, model.generator_weights, 4)
    return model, terms, tape, losses, total


def reached(tape, loss, variables) -> set[str]:
    """Names of the variables that receive a finite gradient other than zero."""
    found = set()
    gradients = tape.gradient(loss, variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        if gradient is not None:
            values = tf.convert_to_tensor(gradient).numpy()
            assert np.isfinite(values).all(), variable.name
            if np.abs(values).max() > 0:
                found.add(variable.name)
    return found


def names(variables) -> set[str]:
    return {variable.name for variable in variables}


def test_nine_losses_per_example_and_by_name(taped, tiny_config):
    model, terms, *_ = taped
    always = {entry.name for entry in GENERATOR_LOSSES if not entry.switch}
    assert set(terms.generator) == always == {*NINE, "box_overlap"}
    assert set(terms.discriminator) == {"adversarial_image", "adversarial_object", "auxiliary"}
    weights = {name: getattr(tiny_config.losses, name) for name in terms.generator}
    assert model.generator_weights == weights
    for term in (*terms.generator.values(), *terms.discriminator.values()):
        assert term.shape == [4] and np.isfinite(term).all()


def test_every_parameter_of_phi_encoder_and_generator_learns(taped):
    model, _, tape, _, total = taped
    networks = model.networks
    parts = (networks.embedding, networks.encoder, networks.generator, networks.box_predictor)
    for part in parts:
        assert part.trainable_variables
        assert reached(tape, total, part.trainable_variables) == names(part.trainable_variables)
    assert sum(len(part.trainable_variables) for part in parts) == len(networks.trainable_variables)


def test_frozen_networks_are_not_the_models(tiny_config, make_joint, batch, perceptual):
    """C_occ comes in as numbers of the batch; the backbone is held, but neither owned nor moved."""
    model = make_joint(tiny_config, perceptual=perceptual)
    frozen = perceptual._backbone.perceptual_network().variables
    before = [variable.numpy() for variable in frozen]
    assert before
    owned = {id(variable) for variable in model.variables}
    assert not owned & {id(variable) for variable in frozen}
    kinds = {type(layer).__name__ for layer in model.submodules}
    assert "PatchEmbedding" in kinds and "CooccurrenceEmbedding" not in kinds
    start = [variable.numpy() for variable in model.networks.embedding.trainable_variables]
    model.train_step(batch)
    for old, variable in zip(before, frozen, strict=True):
        np.testing.assert_array_equal(old, variable)
    for old, variable in zip(start, model.networks.embedding.trainable_variables, strict=True):
        assert (old != variable.numpy()).any()


@pytest.mark.parametrize("image_loss", ["adversarial_image", "adversarial_object", "auxiliary"])
def test_phi_learns_from_images_alone(taped, image_loss):
    model, _, tape, losses, _ = taped
    variables = model.networks.embedding.trainable_variables
    assert reached(tape, losses[image_loss], variables) == names(variables)


@pytest.mark.parametrize("loss", ["cooccurrence", "selection", "perceptual_image"])
def test_phi_learns_from_each_retrieval_loss_alone(taped, loss):
    model, _, tape, losses, _ = taped
    networks = model.networks
    variables = networks.embedding.trainable_variables
    assert reached(tape, losses[loss], variables) == names(variables)
    if loss != "perceptual_image":
        assert not reached(tape, losses[loss], networks.generator.trainable_variables)
        assert not reached(tape, losses[loss], networks.encoder.trainable_variables)


@pytest.mark.parametrize("loss", ["reconstruction", "perceptual_object", "box"])
def test_phi_learns_nothing_from_the_own_patches(taped, loss):
    model, _, tape, losses, _ = taped
    assert not reached(tape, losses[loss], model.networks.embedding.trainable_variables)


class Blind:
    """Discriminators that pass no gradient back to the images."""

    def __init__(self, discriminators):
        self._inner = discriminators

    def image(self, images):
        return self._inner.image(tf.stop_gradient(images))

    def crops(self, images, boxes):
        return self._inner.crops(tf.stop_gradient(images), boxes)

    def object(self, crops):
        return self._inner.object(crops)


def without_normalization(config):
    """Spectral normalisation changes kernels at every call, so two calls would differ."""
    settings = dataclasses.replace(config.discriminators, spectral_normalization=False)
    return dataclasses.replace(config, discriminators=settings)


def test_sharing_one_forward_pass_leaves_the_discriminators_gradients_alone(
    tiny_config, make_joint, batch
):
    model = make_joint(without_normalization(tiny_config))
    variables = model.discriminators.trainable_variables
    gradients, passed_back = [], []
    for view in (model.discriminators, Blind(model.discriminators)):
        model.discriminators = view
        with tf.GradientTape(persistent=True) as tape:
            terms = model.compute_terms(batch, tf.constant(0))
            loss = mean_loss(terms.discriminator, model.discriminator_weights, 4)
            adversarial = tf.reduce_sum(terms.generator["adversarial_image"])
        gradients.append(tape.gradient(loss, variables))
        passed_back.append(reached(tape, adversarial, model.networks.generator.trainable_variables))
    for shared, separate in zip(*gradients, strict=True):
        # The real and the fake image cancel in the bias of the last layer, and only there.
        assert np.abs(shared).max() > 0 or shared.shape == [1]
        np.testing.assert_allclose(shared, separate, rtol=1e-4, atol=1e-6)
    assert passed_back[0] and not passed_back[1]  # the two views do differ


@pytest.mark.thorough
def test_joint_step_under_two_replicas(
    tiny_config, make_joint, batch, two_replicas, fit_once, assert_same_step
):
    single = make_joint(tiny_config)
    with two_replicas.scope():
        double = make_joint(tiny_config, seed=2)
        for a, b in zip(double.variables, single.variables, strict=True):
            a.assign(b)
    figures = fit_once(double, batch)
    assert_same_step(double, single, figures, single.train_step(batch))
    assert {f"loss/generator/{name}" for name in NINE} <= set(figures)
    assert int(double.step.numpy()) == 1


def test_figures_are_the_weighted_sum(tiny_config, make_joint, batch):
    model = make_joint(tiny_config)
    figures = {name: float(value) for name, value in model.train_step(batch).items()}
    weights = tiny_config.losses
    expected = sum(getattr(weights, name) * figures[f"loss/generator/{name}"] for name in NINE)
    assert figures["loss/generator"] == pytest.approx(expected, rel=1e-4)
    parts = ("adversarial_image", "adversarial_object", "auxiliary")
    expected = sum(figures[f"loss/discriminator/{name}"] for name in parts)
    assert figures["loss/discriminator"] == pytest.approx(expected, rel=1e-4)
    assert figures["retrieval/scale"] == pytest.approx(tiny_config.retrieval.initial_scale)
    assert figures["retrieval/temperature"] == tiny_config.retrieval.temperature_start
    assert figures["retrieval/signal_to_noise"] > 0


def test_noise_is_a_function_of_seed_step_row_and_rollback_count(tiny_config, make_joint, batch):
    model = make_joint(tiny_config)

    def seeds(step=0, first_row=0, rows=4, rollback_count=0, purpose=Purpose.GUMBEL_NOISE):
        model.step.assign(step)
        model.rollback_count.assign(rollback_count)
        return model.batch_seeds(purpose, first_row, rows).numpy()

    np.testing.assert_array_equal(seeds(), seeds())
    assert len({tuple(row) for row in seeds()}) == 4
    for other in ({"step": 1}, {"rollback_count": 1}, {"purpose": Purpose.SEED_PATCH}):
        assert (seeds() != seeds(**other)).any(), other
    # However a batch is split, a row keeps its seed.
    np.testing.assert_array_equal(seeds()[2:], seeds(first_row=2, rows=2))
    np.testing.assert_array_equal(seeds(), seeds(rows=9)[:4])


def test_temperature_falls_over_the_first_third(tiny_config, make_joint):
    config = dataclasses.replace(
        tiny_config,
        training=dataclasses.replace(tiny_config.training, steps=30),
        retrieval=dataclasses.replace(tiny_config.retrieval, temperature_end=0.1),
    )
    model = make_joint(config)
    values = []
    for step in (0, 5, 10, 29):
        model.step.assign(step)
        values.append(float(model.temperature()))
    np.testing.assert_allclose(values, [1.0, 0.1**0.5, 0.1, 0.1], rtol=1e-5)


@pytest.fixture(scope="module")
def networks(taped):
    return taped[0].networks


def test_synthesis_takes_whole_candidates(networks, batch):
    made = synthesise(networks, batch, row_seeds=tf.range(4))
    choice, valid = made.choice.numpy(), batch["candidate_valid"].numpy()
    mask = valid.any(axis=2)
    assert (choice[mask] >= 0).all()
    assert np.take_along_axis(valid, np.maximum(choice, 0)[..., None], axis=2)[mask].all()
    wanted = np.take_along_axis(
        batch["candidate_crops"].numpy(),
        np.maximum(choice, 0)[..., None, None, None, None],
        axis=2,
    )[:, :, 0]
    crops = made.crops.numpy()
    np.testing.assert_allclose(crops[mask], wanted[mask] / 127.5 - 1.0, atol=1e-5)
    np.testing.assert_array_equal(crops[~mask], 0.0)
    assert (made.boxes.numpy()[~mask] == 0).all()
    assert made.images.shape == (4, 32, 32, 3) and np.abs(made.images).max() <= 1.0


def test_synthesis_follows_seed_boxes_and_choice(networks, batch):
    plain = synthesise(networks, batch, row_seeds=None)
    again = synthesise(networks, batch, row_seeds=None)
    np.testing.assert_array_equal(plain.images, again.images)
    in_boxes = synthesise(networks, batch, row_seeds=None, boxes=batch["boxes"])
    np.testing.assert_array_equal(in_boxes.boxes, batch["boxes"])
    np.testing.assert_array_equal(in_boxes.choice, plain.choice)
    assert np.abs(in_boxes.images - plain.images).max() > 1e-4
    choices = {
        tuple(synthesise(networks, batch, row_seeds=tf.fill([4], seed)).choice[0].numpy())
        for seed in range(8)
    }
    assert len(choices) > 1
    first = tf.zeros(batch["objects"].shape, tf.int32)
    chosen = synthesise(networks, batch, row_seeds=tf.range(4), locked=first)
    mask = batch["candidate_valid"].numpy().any(axis=2)
    assert (chosen.choice.numpy()[mask] == 0).all()


def test_a_scene_does_not_depend_on_its_neighbours(networks, batch):
    rows = tf.constant([7, 8, 9, 10])
    order = [3, 0, 2, 1]
    made = synthesise(networks, batch, row_seeds=rows)
    shuffled = synthesise(
        networks,
        {name: tf.gather(value, order) for name, value in batch.items()},
        row_seeds=tf.gather(rows, order),
    )
    np.testing.assert_array_equal(shuffled.choice, made.choice.numpy()[order])
    np.testing.assert_allclose(shuffled.images, made.images.numpy()[order], atol=1e-5)


def test_reconstruction_reads_the_own_patches_of_real_objects(networks, batch):
    image = reconstruct(networks, batch, batch["boxes"]).numpy()
    mask = batch["objects"].numpy()[:, :, None, None, None] > 0
    junk = np.where(mask, batch["patch_crops"], 255 - batch["patch_crops"].numpy())
    same = reconstruct(networks, {**batch, "patch_crops": tf.constant(junk)}, batch["boxes"])
    np.testing.assert_array_equal(image, same)
    other = tf.constant(np.where(mask, 255 - junk, junk))
    changed = reconstruct(networks, {**batch, "patch_crops": other}, batch["boxes"]).numpy()
    assert np.abs(image - changed).max() > 1e-3


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["coco_128", "vg_128"])
def test_the_papers_settings_build_and_take_a_step(name, make_joint, make_batch, monkeypatch):
    """Random weights stand in for VGG-19; everything else is as the config says."""
    from rgan_tf.backbones import backbone as module

    config = load_config(CONFIG_FOLDER / f"{name}.yaml", ["training.batch_size=1"])
    monkeypatch.setattr(module, "find_weights", lambda *arguments: None)
    monkeypatch.setattr(module, "load_layers", lambda network, path: None)
    vgg = module.load_backbone(config.losses.perceptual_backbone)
    model = make_joint(config, "adam", features=2048, perceptual=PerceptualDistance(vgg))
    batch = make_batch(config, rows=1, features=2048)
    start = [variable.numpy() for variable in model.networks.trainable_variables]
    figures = model.train_step(batch)
    assert all(np.isfinite(value) for value in figures.values())
    assert {f"loss/generator/{part}" for part in NINE} <= set(figures)
    for before, variable in zip(start, model.networks.trainable_variables, strict=True):
        assert (before != variable.numpy()).any(), variable.name
    assert batch["image"].shape == (1, 128, 128, 3)


def test_a_loss_of_ones_own_is_added_and_reaches_the_patch_embedding(
    tiny_config, batch, make_joint
):
    """Its gradient alone, with every other weight at 0, moves φ through the retrieved patches."""

    def brightness(outputs):
        assert outputs.selected.shape == outputs.reconstructed.shape == batch["image"].shape
        assert outputs.choice_ids.shape == outputs.mask.shape
        return tf.reduce_mean(outputs.selected, axis=[1, 2, 3])

    model = make_joint(tiny_config, losses=[Loss("brightness", brightness, weight=2.0)])
    with tf.GradientTape() as tape:
        terms = model.compute_terms(batch, tf.constant(0)).generator
        loss = tf.reduce_sum(terms["brightness"])
    assert terms["brightness"].shape == [4]
    assert model.generator_weights["brightness"] == 2.0
    assert reached(tape, loss, model.networks.embedding.trainable_variables)
    assert "loss/generator/brightness" in model.train_step(batch)


ADVERSARIAL = {"adversarial_image", "adversarial_object", "auxiliary"}


@pytest.mark.parametrize(("judged", "sees_reconstructions"), [("both", True), ("selected", False)])
def test_paths_that_the_discriminators_see(
    judged, sees_reconstructions, tiny_config, make_joint, batch
):
    config = dataclasses.replace(
        tiny_config, discriminators=dataclasses.replace(tiny_config.discriminators, judged=judged)
    )
    model = make_joint(config)
    # Other pixels of own patches change the reconstructions alone.
    other = {**batch, "patch_crops": 255 - batch["patch_crops"]}
    before, after = (model.compute_terms(each, tf.constant(0)) for each in (batch, other))
    changed = {
        side: {
            name
            for name, term in getattr(before, side).items()
            if np.abs(term - getattr(after, side)[name]).max() > 1e-6
        }
        for side in ("generator", "discriminator")
    }
    of_reconstructions = {"reconstruction", "perceptual_image", "perceptual_object"}
    seen = ADVERSARIAL if sees_reconstructions else set()
    assert changed["generator"] == of_reconstructions | seen
    assert changed["discriminator"] == seen - {"auxiliary"}  # it learns categories from real crops


def test_the_object_distance_does_not_depend_on_what_is_judged(tiny_config, make_joint, batch):
    distances = [
        make_joint(
            dataclasses.replace(
                tiny_config,
                discriminators=dataclasses.replace(tiny_config.discriminators, judged=judged),
            )
        )
        .compute_terms(batch, tf.constant(0))
        .generator["perceptual_object"]
        for judged in ("both", "selected")
    ]
    np.testing.assert_allclose(*distances, rtol=1e-5)
