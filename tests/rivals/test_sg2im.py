"""sg2im: its size, its layout with masks and noise, its losses, and what each of them teaches."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.generator.layout import box_coverage
from rgan_tf.model.flops import count_flops
from rgan_tf.rivals.sg2im.discriminators import build_discriminators
from rgan_tf.rivals.sg2im.graph_network import GraphConvolution
from rgan_tf.rivals.sg2im.layout import scene_layout
from rgan_tf.rivals.sg2im.model import relation_loss, squared_box_loss
from rgan_tf.rivals.sg2im.networks import Sg2imRival
from rgan_tf.rivals.sg2im.sizes import PUBLIC, SCALED
from rgan_tf.seeds import Purpose, derive_row_seeds

FEW = {"adversarial_image", "adversarial_object", "auxiliary"}


@pytest.fixture(scope="module")
def scaled(tables):
    """At our size, for the built-in world's tables."""
    tf.keras.utils.set_random_seed(1)
    return Sg2imRival(tables(22, 7), SCALED)


@pytest.fixture(scope="module")
def graph(scaled):
    objects = [[2, 5, 9, 0, 0, 0, 0, 0], [3, 3, 4, 8, 21, 0, 0, 0]]
    triples = np.full([2, 16, 3], -1)
    triples[:, 0], triples[1, 1] = (0, 1, 1), (4, 2, 2)
    return {"objects": tf.constant(objects), "triples": tf.constant(triples, tf.int32)}


@pytest.fixture(scope="module")
def encoding(scaled, graph):
    return scaled.encoder(graph)


def noise_of(networks, seed: int, rows: int) -> tf.Tensor:
    return networks.draw_noise(derive_row_seeds(tf.fill([rows], seed), Purpose.LAYOUT_NOISE))


@pytest.mark.usefixtures("without_draws")
def test_public_size_has_the_public_counts(tables, counted):
    coco = Sg2imRival(tables(185, 7), PUBLIC, relations=True)
    assert [counted(layer) for layer in coco.encoder.convolutions] == [1_116_416] * 5
    assert counted(coco.box_network) == 68_100
    assert counted(coco.mask_network) == 591_489
    assert counted(coco.decoder) == 21_752_707
    assert counted(coco.relation_head) == 139_271
    assert counted(coco) == 28_158_223
    discriminators = build_discriminators(tables(185, 7), PUBLIC)
    assert counted(discriminators.image) == 659_521
    assert counted(discriminators.image.classifier) == 257
    assert counted(build_discriminators(tables(184, 7), PUBLIC).object) == 1_112_057  # "1.11 M"


@pytest.mark.thorough
def test_public_size_for_visual_genome(tables, counted):
    genome = Sg2imRival(tables(180, 46), PUBLIC, relations=True)
    assert counted(genome.relation_head) == 159_278
    assert counted(genome) == 27_591_093 + 591_489


def test_our_size_has_its_counts(scaled, counted):
    assert sum(map(counted, scaled.encoder.convolutions)) == 5_582_080
    assert counted(scaled.box_network) == 68_100
    assert counted(scaled.decoder) == 3_733_587
    assert counted(scaled.mask_network) == 148_289 + 128 * 64 + 64  # and the narrowing


@pytest.mark.thorough
def test_our_size_keeps_to_the_operations_of_an_image(scaled):
    objects, triples = tf.TensorSpec([1, 8], tf.int32), tf.TensorSpec([1, 16, 3], tf.int32)

    def draw(objects, triples):
        graph = {"objects": objects, "triples": triples}
        return scaled.synthesise(graph, None, tf.zeros([1], tf.int32)).images

    assert 1.5e9 < count_flops(draw, objects, triples) <= 1.6e9


def test_shapes(scaled, graph, encoding):
    boxes, masks = scaled.predict_boxes(graph, encoding), scaled.predict_masks(encoding)
    assert boxes.shape == (2, 8, 4)
    assert masks.shape == (2, 8, 16, 16)
    assert 0 < masks.numpy().min() and masks.numpy().max() < 1
    noise = noise_of(scaled, 1, 2)
    assert scaled.layout(encoding, boxes, masks, noise).shape == (2, 64, 64, 160)
    drawing = scaled.synthesise(graph, None, tf.constant([1, 2]))
    assert drawing.images.shape == (2, 64, 64, 3) and np.abs(drawing.images).max() <= 1
    assert not drawing.boxes[0, 3:].numpy().any()  # padded objects have no box


def test_discriminators_have_the_public_shapes(tables):
    discriminators = build_discriminators(tables(22, 7))
    assert discriminators.image(tf.zeros([2, 64, 64, 3])).shape == (2, 6, 6)
    assert discriminators.image(tf.zeros([2, 128, 128, 3])).shape == (2, 14, 14)
    assert discriminators.object.trunk(tf.zeros([5, 32, 32, 3])).shape == (5, 2, 2, 256)
    logits, classes = discriminators.object(tf.zeros([2, 8, 32, 32, 3]))
    assert logits.shape == (2, 8) and classes.shape == (2, 8, 22)


def test_graph_convolution_by_hand():
    """Two nodes, one triple, all kernels of ones: messages are averaged over both ends' triples."""
    layer = GraphConvolution(width=1, hidden=1)
    vectors, predicates = tf.constant([[[1.0], [2.0]]]), tf.constant([[[3.0], [99.0]]])
    triples = tf.constant([[[0, 1, 1], [-1, -1, -1]]])
    layer(vectors, predicates, triples)
    for variable in layer.trainable_variables:
        is_kernel = "kernel" in variable.name
        variable.assign(tf.ones_like(variable) if is_kernel else tf.zeros_like(variable))
    new_vectors, new_predicates = layer(vectors, predicates, triples)
    # g1: 1 + 3 + 2 = 6, three times; each node has one triple, so the mean is 6; g2 keeps it.
    np.testing.assert_allclose(new_vectors[0, :, 0], [6.0, 6.0])
    assert float(new_predicates[0, 0, 0]) == 6.0
    # g2 of a negative mean is cut to 0, and so is g1's.
    negative, _ = layer(-vectors, -predicates, triples)
    assert not negative.numpy().any()


def test_full_masks_give_the_plain_layout_of_boxes(encoding):
    generator = np.random.default_rng(0)
    corner = generator.random([2, 9, 2]) * 0.6
    boxes = tf.constant(np.concatenate([corner, corner + 0.3], -1), tf.float32)
    is_there = tf.pad(encoding.object_mask, [[0, 0], [0, 1]], constant_values=True)
    placed = scene_layout(encoding.vectors, boxes, tf.ones([2, 9, 16, 16]), is_there, 64)
    rows, columns = box_coverage(boxes, 64, 64)
    plain = np.einsum(
        "bor,boc,bow,bo->brcw", rows, columns, encoding.vectors, tf.cast(is_there, tf.float32)
    )
    np.testing.assert_allclose(placed, plain, atol=1e-6 * np.abs(plain).max())
    assert np.abs(plain).max() > 0.01
    half = scene_layout(encoding.vectors, boxes, tf.fill([2, 9, 16, 16], 0.5), is_there, 64)
    np.testing.assert_allclose(half, plain / 2, atol=1e-6 * np.abs(plain).max())


@pytest.mark.parametrize(
    "box", [(0.3, 0.3, 0.3, 0.3), (0.8, 0.6, 0.2, 0.1), (0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0)]
)
def test_empty_and_inverted_boxes_give_a_finite_layout(encoding, box):
    boxes = tf.tile(tf.constant([[box]]), [2, 9, 1])
    with tf.GradientTape() as tape:
        masks = tf.fill([2, 9, 16, 16], 0.5)
        tape.watch([masks, boxes])
        placed = scene_layout(encoding.vectors, boxes, masks, tf.ones([2, 9], tf.bool), 64)
        total = tf.reduce_sum(tf.square(placed))
    assert np.isfinite(placed).all()
    assert all(np.isfinite(gradient).all() for gradient in tape.gradient(total, [masks, boxes]))


def test_masks_learn_through_the_layout_and_not_beside_true_ones(kept_rival, scenes, reached):
    """Fed true masks without a mask loss, as the public code does on COCO, they learn nothing."""
    networks = kept_rival("sg2im").networks
    variables = networks.mask_network.trainable_variables
    with tf.GradientTape(persistent=True) as tape:
        encoding = networks.encoder(scenes)
        noise = noise_of(networks, 0, 4)
        predicted = networks.predict_masks(encoding)
        losses = [
            tf.reduce_mean(
                tf.abs(networks.draw(encoding, scenes["boxes"], masks, noise) - scenes["image"])
            )
            for masks in (predicted, tf.ones_like(predicted))
        ]
    # The last bias cannot be missed; the normalisation's shift before the first layer neither.
    assert reached(tape, losses[0], variables) == {variable.name for variable in variables}
    assert not reached(tape, losses[1], variables)


def test_noise_is_the_only_source_of_diversity(scaled, graph, encoding):
    def draw(*seeds):
        return scaled.synthesise(graph, None, tf.constant(seeds)).images.numpy()

    first = draw(1, 2)
    np.testing.assert_array_equal(first, draw(1, 2))
    other = draw(3, 2)
    assert np.abs(first[0] - other[0]).max() > 1e-3
    np.testing.assert_allclose(first[1], other[1], atol=1e-6)  # its seed is the same
    boxes, masks = scaled.predict_boxes(graph, encoding), scaled.predict_masks(encoding)
    noises = [noise_of(scaled, seed, 2) for seed in (1, 2)]
    assert abs(float(tf.reduce_mean(noises[0]))) < 0.01
    assert abs(float(tf.math.reduce_std(noises[0])) - 1) < 0.01
    still = [scaled.draw(encoding, boxes, masks, 0.0 * noise) for noise in noises]
    np.testing.assert_array_equal(still[0], still[1])
    with tf.GradientTape() as tape:
        tape.watch(noises[0])
        total = tf.reduce_sum(tf.square(scaled.draw(encoding, boxes, masks, noises[0])))
    assert np.abs(tape.gradient(total, noises[0])).max() > 0


def test_terms_weights_and_betas_are_the_published_ones(kept_rival, scenes):
    model = kept_rival("sg2im")
    terms = model.compute_terms(scenes, tf.constant(0))
    assert set(terms.generator) == {*FEW, "reconstruction", "box"}
    assert model.generator_weights == {
        "reconstruction": 1.0,
        "box": 10.0,
        "adversarial_image": 0.01,
        "adversarial_object": 0.01,
        "auxiliary": 0.1,
    }
    assert model.discriminator_weights == dict.fromkeys({*FEW, "auxiliary_generated"}, 1.0)
    for term in (*terms.generator.values(), *terms.discriminator.values()):
        assert term.shape == [4] and np.isfinite(term).all()
    # The class head learns from generated crops too, by the loss that the generator gets.
    np.testing.assert_array_equal(
        terms.discriminator["auxiliary_generated"], terms.generator["auxiliary"]
    )
    for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
        assert (optimizer.beta_1, optimizer.beta_2) == (0.9, 0.999)
    assert model.networks.relation_head is None


def test_box_and_relation_losses_by_hand():
    boxes = tf.constant([[[0.0, 0.0, 0.5, 1.0], [9.0, 9.0, 9.0, 9.0]]])
    target = tf.constant([[[0.0, 0.2, 0.5, 0.8], [0.0, 0.0, 0.0, 0.0]]])
    loss = squared_box_loss(boxes, target, tf.constant([[True, False]]))
    np.testing.assert_allclose(loss, [(0.04 + 0.04) / 4], rtol=1e-6)
    triples = tf.constant([[[0, 2, 1], [-1, -1, -1]]])
    logits = tf.constant([[[0.0, 0.0, np.log(2.0)], [9.0, 0.0, 0.0]]], tf.float32)
    np.testing.assert_allclose(relation_loss(logits, triples), [np.log(2.0)], rtol=1e-6)


def test_relation_head_teaches_boxes_and_embeddings_only(tiny_rival, scenes, reached):
    model = tiny_rival("sg2im", relation_weight=1.0)
    networks = model.networks
    with tf.GradientTape(persistent=True) as tape:
        terms = model.compute_terms(scenes, tf.constant(0))
        loss = tf.reduce_sum(terms.generator["relation"])
    for part in (networks.box_network, networks.encoder, networks.relation_head):
        assert reached(tape, loss, part.trainable_variables)
    embedding = networks.encoder.object_embedding.trainable_variables
    assert reached(tape, loss, embedding)
    for part in (networks.decoder, networks.mask_network):
        assert not reached(tape, loss, part.trainable_variables)


def test_relation_weight_without_its_head_is_refused(kept_rival):
    model = kept_rival("sg2im")
    with pytest.raises(ValueError, match="no relation head"):
        type(model)(
            model.config,
            model.networks,
            model.average,
            model.discriminators,
            relation_weight=1.0,
        )


def test_box_loss_reaches_boxes_and_graph_but_no_image(kept_rival, scenes, reached):
    model = kept_rival("sg2im")
    networks = model.networks
    with tf.GradientTape(persistent=True) as tape:
        terms = model.compute_terms(scenes, tf.constant(0))
        losses = {name: tf.reduce_sum(term) for name, term in terms.generator.items()}
    boxes = networks.box_network.trainable_variables
    assert reached(tape, losses["box"], boxes)
    assert reached(tape, losses["box"], networks.encoder.trainable_variables)
    assert not reached(tape, losses["box"], networks.decoder.trainable_variables)
    # Images are drawn in the true boxes.
    assert not reached(tape, losses["reconstruction"], boxes)
    for name in FEW:
        assert reached(tape, losses[name], networks.decoder.trainable_variables)
        assert reached(tape, losses[name], networks.mask_network.trainable_variables)
