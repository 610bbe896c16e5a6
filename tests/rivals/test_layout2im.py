"""layout2im: its size, its two paths, the losses that tie them, and what each of them teaches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.model.flops import count_flops
from rgan_tf.rivals.layout2im.discriminators import build_discriminators
from rgan_tf.rivals.layout2im.fuser import ConvolutionalLstm, SequenceFuser
from rgan_tf.rivals.layout2im.model import kl_loss, latent_loss
from rgan_tf.rivals.layout2im.networks import Layout2imRival
from rgan_tf.rivals.layout2im.sizes import PUBLIC, SCALED
from rgan_tf.rivals.noise import row_normals, row_order

FEW = {"adversarial_image", "adversarial_object", "auxiliary"}


@pytest.fixture(scope="module")
def scaled(tables):
    """At our size, for the built-in world's tables."""
    tf.keras.utils.set_random_seed(1)
    return Layout2imRival(tables(22, 7), SCALED, keeps_padding=True)


@pytest.fixture(scope="module")
def networks(kept_rival):
    return kept_rival("layout2im").networks


@pytest.fixture(scope="module")
def taped(kept_rival, scenes):
    """The terms of a step, and the tape that watched them."""
    model = kept_rival("layout2im")
    with tf.GradientTape(persistent=True) as tape:
        terms = model.compute_terms(scenes, tf.constant(0))
        losses = {name: tf.reduce_sum(term) for name, term in terms.generator.items()}
    return model, terms, tape, losses


def seeds_of(*numbers: int) -> tf.Tensor:
    return tf.constant([[number, 7] for number in numbers])


@pytest.mark.usefixtures("without_draws")
def test_public_size_has_the_public_counts(tables, counted):
    networks = Layout2imRival(tables(184, 7), PUBLIC)
    assert counted(networks.crop_encoder) == 12_011_840
    assert counted(networks.embedding) == 11_776
    encoder = networks.layout_encoder
    kernels = [counted(encoder.first), *map(counted, encoder.convolutions)]
    assert kernels == [8_192, 131_072, 524_288, 2_097_152]
    assert sum(map(counted, encoder.normalizations)) == 2 * 184 * (64 + 128 + 256 + 512)
    layers = [counted(layer) for layer in networks.fuser.lstms]
    assert layers == [8_192_512, 1_229_056, 819_456]
    bottleneck = sum(map(counted, networks.decoder.residuals))
    assert bottleneck == 443_904
    assert counted(networks.decoder) - bottleneck == 1_862_211
    assert counted(networks) == 27_684_739
    discriminators = build_discriminators(tables(184, 7), PUBLIC)
    assert counted(discriminators.image) == 10_141_440
    assert counted(discriminators.object) == 10_330_041


@pytest.mark.thorough
def test_public_size_for_visual_genome(tables, counted):
    networks = Layout2imRival(tables(179, 46), PUBLIC)
    assert counted(networks) == 27_654_979
    assert counted(networks.fuser) == 10_241_024  # does not depend on the vocabulary


@pytest.mark.thorough  # that of our own generator stays
def test_our_size_keeps_to_the_operations_of_an_image(scaled, tables, counted):
    assert counted(scaled) == 2_441_043
    objects, boxes = tf.TensorSpec([1, 8], tf.int32), tf.TensorSpec([1, 8, 4], tf.float32)

    def draw(objects, boxes):
        return scaled.synthesise({"objects": objects}, boxes, tf.zeros([1], tf.int32)).images

    assert 1.5e9 < count_flops(draw, objects, boxes) <= 1.6e9


def test_scales_start_near_one_and_shifts_at_zero(scaled):
    for layer in (*scaled.crop_encoder.normalizations, *scaled.layout_encoder.normalizations):
        scales = layer.scale.embeddings.numpy()
        assert abs(scales.mean() - 1) < 0.005 and 0.015 < scales.std() < 0.025
        assert not layer.shift.embeddings.numpy().any()
        assert not layer.normalization.trainable_variables  # it has no scale of its own


def test_shapes(scaled, tables):
    objects = tf.constant([[2, 5, 9, 0, 0, 0, 0, 0], [3, 3, 4, 8, 21, 0, 0, 0]])
    boxes = tf.tile(tf.constant([[[0.1, 0.2, 0.6, 0.9]]]), [2, 8, 1])
    mean, log_variance = scaled.posterior(tf.zeros([2, 8, 32, 32, 3]), objects)
    assert mean.shape == log_variance.shape == (2, 8, 64)
    assert scaled.draw_codes(seeds_of(1, 2), 8).shape == (2, 8, 64)
    vectors = tf.zeros([5, 128])
    maps = scaled.layout_encoder(vectors, tf.zeros([5, 4]), tf.zeros([5], tf.int32))
    assert maps.shape == (5, 8, 8, 128)  # 512 channels at public size
    canvas = scaled.fuser(tf.zeros([2, 8, 8, 8, 128]), tf.ones([2, 8], tf.bool))
    assert canvas.shape == (2, 8, 8, 32)  # 64 channels at public size
    images = scaled.synthesise({"objects": objects}, boxes, tf.constant([1, 2])).images
    assert images.shape == (2, 64, 64, 3) and np.abs(images).max() <= 1
    discriminators = build_discriminators(tables(22, 7))
    assert discriminators.image(images).shape == (2,)
    logits, classes = discriminators.object(tf.zeros([2, 8, 32, 32, 3]))
    assert logits.shape == (2, 8) and classes.shape == (2, 8, 22)


def test_terms_weights_and_betas_are_the_published_ones(taped):
    model, terms, *_ = taped
    assert model.generator_weights == {
        "reconstruction": 1.0,
        "latent": 10.0,
        "kl": 0.08,
        "adversarial_image": 1.0,
        "adversarial_object": 1.0,
        "auxiliary": 1.0,
    }
    assert set(terms.generator) == set(model.generator_weights)
    assert model.discriminator_weights == dict.fromkeys(FEW, 1.0)
    for term in (*terms.generator.values(), *terms.discriminator.values()):
        assert term.shape == [4] and np.isfinite(term).all()
    for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
        assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.999)


def test_the_game_starts_undecided(tables, scaled):
    """At 2 ln 2 per discriminator and ln(ids) for the classes: spectra are normalised first."""
    from rgan_tf.adapters.addons import normalise_spectra
    from rgan_tf.losses.adversarial import discriminator_loss
    from rgan_tf.losses.basic import auxiliary_loss

    tf.keras.utils.set_random_seed(3)
    discriminators = build_discriminators(tables(22, 7))
    for _ in range(5):
        normalise_spectra(discriminators)
    images = row_normals(seeds_of(1, 2), [64, 64, 3]) / 2
    real, fake = images[:1], images[1:]
    of_image = discriminator_loss(
        discriminators.image(real), discriminators.image(fake), "non_saturating"
    )
    np.testing.assert_allclose(of_image, 2 * math.log(2), atol=0.1)
    there = tf.constant([[True]])
    logits, classes = discriminators.object(images[:, tf.newaxis, :32, :32])
    of_object = discriminator_loss(logits[:1], logits[1:], "non_saturating", there)
    np.testing.assert_allclose(of_object, 2 * math.log(2), atol=0.1)
    np.testing.assert_allclose(
        auxiliary_loss(classes[:1], tf.constant([[4]]), there), math.log(22), atol=0.1
    )


def test_who_learns_from_which_term(taped, reached):
    model, _, tape, losses = taped
    networks = model.networks
    crop = networks.crop_encoder.trainable_variables
    layout = [
        *networks.embedding.trainable_variables,
        *networks.layout_encoder.trainable_variables,
        *networks.fuser.trainable_variables,
    ]
    decoder = networks.decoder.trainable_variables
    for name in ("reconstruction", "latent"):
        for part in (crop, layout, decoder):
            assert len(reached(tape, losses[name], part)) > len(part) // 2, name
    assert reached(tape, losses["kl"], crop)
    assert not reached(tape, losses["kl"], [*layout, *decoder])
    assert not reached(tape, losses["latent"], model.discriminators.trainable_variables)


def test_the_game_on_the_generation_path_leaves_the_crop_encoder_alone(kept_rival, scenes, reached):
    model = kept_rival("layout2im")
    networks, objects, boxes = model.networks, scenes["objects"], scenes["boxes"]
    with tf.GradientTape(persistent=True) as tape:
        codes = networks.draw_codes(seeds_of(1, 2, 3, 4), 6)
        tape.watch(codes)
        order = row_order(objects > 0, seeds_of(1, 2, 3, 4))
        images = networks.draw(objects, boxes, codes, order)
        game = -tf.reduce_sum(model.discriminators.image(images))
        found, _ = networks.posterior(model.discriminators.crops(images, boxes), objects)
        latent = tf.reduce_sum(latent_loss(found, codes, objects > 0))
    assert reached(tape, game, networks.layout_encoder.trainable_variables)
    assert reached(tape, game, networks.decoder.trainable_variables)
    assert not reached(tape, game, networks.crop_encoder.trainable_variables)
    assert reached(tape, latent, networks.crop_encoder.trainable_variables)
    assert reached(tape, latent, [codes]) == {0}


def captured(model, scenes, monkeypatch) -> list[np.ndarray]:
    """Both images of a step: the reconstructed and the generated ones."""
    images = []
    draw = type(model.networks).draw

    def keep(self, *arguments):
        images.append(draw(self, *arguments))
        return images[-1]

    with monkeypatch.context() as patch:
        patch.setattr(type(model.networks), "draw", keep)
        terms = model.compute_terms(scenes, tf.constant(0))
    (both,) = images
    return [*(part.numpy() for part in tf.split(both, 2)), terms]


def test_the_real_crop_is_read_on_one_path_and_the_drawn_code_on_the_other(
    kept_rival, scenes, monkeypatch
):
    model = kept_rival("layout2im")
    reconstructed, generated, terms = captured(model, scenes, monkeypatch)
    other_image = {**scenes, "image": -scenes["image"]}
    changed, same, _ = captured(model, other_image, monkeypatch)
    assert np.abs(changed - reconstructed).max() > 1e-5
    np.testing.assert_array_equal(same, generated)

    class Shifted(type(model.networks)):
        """Draws other codes from the prior."""

        def draw_codes(self, seeds, objects):
            return super().draw_codes(seeds + 1, objects)

    monkeypatch.setattr(model.networks, "__class__", Shifted)
    same, changed, _ = captured(model, scenes, monkeypatch)
    np.testing.assert_array_equal(same, reconstructed)
    assert np.abs(changed - generated).max() > 1e-5


def test_regression_compares_the_mean_and_not_a_sample(kept_rival, scenes, monkeypatch):
    """Another posterior noise moves the reconstruction and leaves the latent term alone."""
    model = kept_rival("layout2im")
    reconstructed, _, terms = captured(model, scenes, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(
            "rgan_tf.rivals.layout2im.model.row_normals",
            lambda seeds, shape: row_normals(seeds + 1, shape),
        )
        other, _, other_terms = captured(model, scenes, monkeypatch)
    assert np.abs(other - reconstructed).max() > 1e-6
    np.testing.assert_array_equal(terms.generator["latent"], other_terms.generator["latent"])


def test_kl_by_hand():
    there = tf.constant([[True, True, False]])
    zero = tf.zeros([1, 3, 2])
    np.testing.assert_allclose(kl_loss(zero, zero, there), [0.0], atol=1e-7)
    # Per number: -(1 + 0 - 1 - 1) / 2 = 0.5 for a mean of 1; two numbers, two objects.
    one = kl_loss(tf.ones([1, 3, 2]), zero, there)
    np.testing.assert_allclose(one, [2.0], rtol=1e-6)
    # Variance e: -(1 + 1 - e) / 2 = 0.359.
    wide = kl_loss(zero, tf.ones([1, 3, 2]), there)
    np.testing.assert_allclose(wide, [4 * (math.e - 2) / 2], rtol=1e-5)
    # A sum over objects: it doubles when each is there twice.
    twice = kl_loss(tf.ones([1, 4, 2]), tf.zeros([1, 4, 2]), tf.ones([1, 4], tf.bool))
    np.testing.assert_allclose(twice, 2 * one, rtol=1e-6)


def test_latent_loss_of_a_blind_encoder_is_four_fifths():
    codes = row_normals(seeds_of(1), [400, 64])
    there = tf.ones([1, 400], tf.bool)
    blind = latent_loss(tf.zeros_like(codes), codes, there)
    np.testing.assert_allclose(blind, [math.sqrt(2 / math.pi)], atol=0.01)
    assert float(latent_loss(codes, codes, there)[0]) == 0.0


def test_absent_steps_carry_the_state():
    tf.keras.utils.set_random_seed(1)
    fuser = SequenceFuser(channels=(4, 4), kernel=3)
    maps = row_normals(seeds_of(1, 2), [3, 4, 4, 5])
    everything = fuser(maps, tf.ones([2, 3], tf.bool))
    for place in range(4):  # a padded step anywhere
        padded = tf.concat([maps[:, :place], 9 * maps[:, :1], maps[:, place:]], axis=1)
        there = tf.constant([[step != place for step in range(4)]] * 2)
        np.testing.assert_allclose(fuser(padded, there), everything, atol=1e-6)
    one = fuser(maps[:, :1], tf.ones([2, 1], tf.bool))
    only_first = fuser(maps, tf.constant([[True, False, False]] * 2))
    np.testing.assert_allclose(only_first, one, atol=1e-6)
    assert not fuser(maps, tf.zeros([2, 3], tf.bool)).numpy().any()
    assert np.abs(everything - fuser(maps[:, ::-1], tf.ones([2, 3], tf.bool))).max() > 1e-4


def test_lstm_equals_that_of_keras():
    tf.keras.utils.set_random_seed(2)
    ours = ConvolutionalLstm(channels=3, kernel=5)
    theirs = tf.keras.layers.ConvLSTM2D(
        3,
        5,
        padding="same",
        recurrent_activation="sigmoid",
        unit_forget_bias=False,
        return_sequences=True,
    )
    maps = row_normals(seeds_of(1, 2), [3, 4, 4, 2])
    there = tf.ones([2, 3], tf.bool)
    ours(maps, there), theirs(maps)
    theirs.set_weights([ours.of_input.kernel, ours.of_state.kernel, ours.of_input.bias])
    np.testing.assert_allclose(ours(maps, there), theirs(maps), atol=1e-5)


def test_padding_changes_no_image(networks, scenes):
    def pad(values):
        return tf.concat([values, tf.ones_like(values[:, :2])], axis=1)

    seeds = tf.constant([5, 6, 7, 8])
    images = networks.synthesise(scenes, scenes["boxes"], seeds).images
    padded = {"objects": tf.pad(scenes["objects"], [[0, 0], [0, 2]])}
    wider = networks.synthesise(padded, pad(scenes["boxes"]), seeds).images
    np.testing.assert_allclose(wider, images, atol=1e-6)
    compiled = type(networks).draw  # with padding computed, as under XLA
    codes = networks.draw_codes(seeds_of(1, 2, 3, 4), 6)
    order = row_order(scenes["objects"] > 0, seeds_of(1, 2, 3, 4))
    values = [scenes["objects"], scenes["boxes"], codes, order]
    kept = networks.keeps_padding
    networks.keeps_padding = True
    everything = compiled(networks, *values)
    networks.keeps_padding = kept
    np.testing.assert_allclose(everything, networks.draw(*values), atol=1e-6)


def test_relations_are_not_read(networks, scenes):
    seeds = tf.constant([5, 6, 7, 8])
    images = networks.synthesise(scenes, scenes["boxes"], seeds).images
    for triples in (scenes["triples"][:, ::-1], -tf.ones_like(scenes["triples"])):
        other = {"objects": scenes["objects"], "triples": triples}
        np.testing.assert_array_equal(
            networks.synthesise(other, scenes["boxes"], seeds).images, images
        )


def test_order_is_a_permutation_of_the_seed_with_padding_last(scenes):
    there = scenes["objects"] > 0
    order = row_order(there, seeds_of(1, 2, 3, 4)).numpy()
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(6), [4, 1]))
    in_order = np.take_along_axis(there.numpy(), order, axis=1)
    assert all((np.diff(row.astype(int)) <= 0).all() for row in in_order)
    np.testing.assert_array_equal(order, row_order(there, seeds_of(1, 2, 3, 4)))
    full = tf.ones([50, 6], tf.bool)
    first = row_order(full, seeds_of(*range(50))).numpy()[:, 0]
    assert set(first) == set(range(6))


def test_the_order_and_the_code_are_part_of_the_sample(networks, scenes):
    order = row_order(scenes["objects"] > 0, seeds_of(1, 2, 3, 4))
    codes = networks.draw_codes(seeds_of(1, 2, 3, 4), 6)
    image = networks.draw(scenes["objects"], scenes["boxes"], codes, order)
    other = networks.draw(scenes["objects"], scenes["boxes"], codes, order[:, ::-1])
    assert np.abs(image - other).max() > 1e-5
    other = networks.draw(scenes["objects"], scenes["boxes"], codes + 1, order)
    assert np.abs(image - other).max() > 1e-5


def test_boxes_have_to_be_given(networks, scenes):
    with pytest.raises(ValueError, match="predicts no boxes"):
        networks.synthesise(scenes, None, tf.constant([1, 2, 3, 4]))


def test_a_thin_box_owns_a_pixel(networks):
    """Its object is on the canvas; the public loader loses it."""
    vectors = tf.ones([1, 8])
    thin = tf.constant([[0.5, 0.2, 0.5, 0.9]])
    blank = networks.layout_encoder(0 * vectors, thin, tf.constant([2]))
    drawn = networks.layout_encoder(vectors, thin, tf.constant([2]))
    assert np.abs(drawn - blank).max() > 1e-3
