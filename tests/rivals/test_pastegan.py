"""PasteGAN: its size, its selector, its two branches, and what each loss teaches."""

from __future__ import annotations

import dataclasses
import math
import types

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.fixed_order import FixedOrderTape
from rgan_tf.generator.layout import crop_objects
from rgan_tf.generator.refiner import RefinerLayer
from rgan_tf.graph.encoder import GraphEncoding
from rgan_tf.model.flops import count_flops
from rgan_tf.retrieval.candidates import CandidateTable
from rgan_tf.retrieval.patches import own_crops
from rgan_tf.rivals.pastegan.candidates import NearestPatches
from rgan_tf.rivals.pastegan.flow import FlowNet, warp
from rgan_tf.rivals.pastegan.matching import crop_matching_loss, without_weight_gradients
from rgan_tf.rivals.pastegan.networks import PasteganRival
from rgan_tf.rivals.pastegan.published import PublishedCropEncoder, PublishedFuser
from rgan_tf.rivals.pastegan.scaled import WarpingRefinerLayer
from rgan_tf.rivals.pastegan.selector import draw_position, pick_at_test, pick_in_training
from rgan_tf.rivals.pastegan.sizes import PUBLIC, SCALED, Sizes
from rgan_tf.rivals.sg2im.discriminators import build_discriminators
from rgan_tf.seeds import Purpose

TINY_PUBLISHED = Sizes(
    width=8,
    hidden=8,
    layers=2,
    box_hidden=8,
    encoder_channels=(4, 8, 8),
    crop_channels=8,
    refiner_layers=2,
    refiner_hidden=8,
    flow_channels=4,
    canvas_channels=16,
    canvas_blocks=1,
    decoder_channels=(16, 8),
)
GAME = [
    f"adversarial_{what}_{branch}" for what in ("image", "object") for branch in ("selected", "own")
]


@pytest.fixture(scope="module")
def scaled(tables):
    """At our size, for the built-in world's tables."""
    tf.keras.utils.set_random_seed(1)
    return PasteganRival(tables(22, 7), SCALED)


@pytest.fixture(scope="module")
def published(vocabulary):
    tf.keras.utils.set_random_seed(1)
    return PasteganRival(vocabulary, TINY_PUBLISHED, image_size=32, crop_size=16)


@pytest.fixture(scope="module")
def taped(kept_rival, scenes):
    """The terms of a step, and the tape that watched them."""
    model = kept_rival("pastegan")
    with tf.GradientTape(persistent=True) as tape:
        terms = model.compute_terms(scenes, tf.constant(0))
        losses = {name: tf.reduce_sum(term) for name, term in terms.generator.items()}
    return model, terms, tape, losses


def encoding_of(networks, scenes) -> GraphEncoding:
    return networks.encoder({name: scenes[name] for name in ("objects", "triples")})


def seeds_of(*numbers: int) -> tf.Tensor:
    return tf.constant([[number, 7] for number in numbers])


def random_maps(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


# Sizes.


@pytest.mark.usefixtures("without_draws")
def test_public_size_has_the_public_counts(tables, counted):
    networks = PasteganRival(tables(185, 7), PUBLIC, image_size=32)  # counts know no resolution
    generator = networks.generator
    assert [counted(layer) for layer in generator.refiner] == [10_462_850] * 4
    assert counted(generator.refiner[0].flow) == 297_986
    assert counted(generator.refiner[0].pooled) == 2_426_752
    assert counted(generator.refiner[0].itself) == 657_280
    assert counted(generator.fuser) == 197_376
    assert counted(generator.crop_encoder) == 404_864
    assert [counted(block) for block in generator.canvas_blocks] == [1_181_184] * 6
    assert counted(generator.decoder) == 23_466_883
    assert counted(networks.box_network) == 68_100
    # Both messages of a graph convolution share one bias of 512, as they are added.
    assert [counted(layer) for layer in networks.encoder.convolutions] == [1_116_416 - 512] * 4
    # Of the public ones are never used: a layer in each refiner, most of the fuser, a copy of the
    # encoder and a linear map of object vectors.
    unused = 4 * 787_968 + 3_872_000 - 197_376 + 404_864 + 128 * 128 + 128
    assert counted(networks) == 84_813_839 - unused - 4 * 512


def test_discriminators_have_the_public_counts_and_shapes(tables, counted):
    discriminators = build_discriminators(tables(185, 7), PUBLIC)
    assert counted(discriminators.image) == 659_521
    assert discriminators.image(tf.zeros([2, 64, 64, 3])).shape == (2, 6, 6)
    assert discriminators.object.trunk(tf.zeros([5, 32, 32, 3])).shape == (5, 2, 2, 256)


def test_our_size_has_its_count(scaled, counted):
    assert counted(scaled) == 2_273_227


@pytest.mark.thorough
def test_our_size_keeps_to_the_operations_of_an_image(scaled):
    graph = {
        "objects": tf.TensorSpec([1, 8], tf.int32),
        "triples": tf.TensorSpec([1, 16, 3], tf.int32),
        "candidate_crops": tf.TensorSpec([1, 8, 3, 32, 32, 3], tf.uint8),
        "candidate_valid": tf.TensorSpec([1, 8, 3], tf.bool),
    }

    def draw(graph):
        return scaled.synthesise(graph, None, tf.zeros([1], tf.int32)).images

    assert 1.5e9 < count_flops(draw, graph) <= 1.6e9


def test_shapes(scaled, published, scenes):
    assert scaled.encode_crops(tf.zeros([5, 32, 32, 3])).shape == (5, 8, 8, 64)
    publicly = PublishedCropEncoder(channels=(64, 128, 256), output=128)
    assert publicly(tf.zeros([5, 32, 32, 3])).shape == (5, 4, 4, 128)
    drawing = published.synthesise(scenes, None, tf.constant([1, 2, 3, 4]))
    assert drawing.images.shape == (4, 32, 32, 3) and np.abs(drawing.images).max() <= 1
    is_there = scenes["objects"].numpy() > 0
    assert not drawing.boxes.numpy()[~is_there].any()  # padded objects have no box
    assert drawing.boxes.numpy()[is_there].any(axis=-1).all()


def test_published_widths_that_do_not_fit_are_refused(vocabulary):
    with pytest.raises(ValueError, match="canvas has width . crop_channels = 16 channels, got 24"):
        PasteganRival(vocabulary, dataclasses.replace(TINY_PUBLISHED, canvas_channels=24))
    odd = dataclasses.replace(TINY_PUBLISHED, crop_channels=4, canvas_channels=12)
    with pytest.raises(ValueError, match="must be equal, got 8 and 4"):
        PasteganRival(vocabulary, odd)


# The flow net.


def test_warp_by_hand():
    maps = tf.reshape(tf.range(9.0), [1, 3, 3, 1])  # rows 0 1 2, 3 4 5, 6 7 8
    one_cell = 2 / (3 - 1)

    def warped(y: float, x: float) -> np.ndarray:
        return warp(maps, tf.fill([1, 3, 3, 2], 1.0) * [y, x])[0, ..., 0].numpy()

    np.testing.assert_array_equal(warped(0, 0), [[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    np.testing.assert_array_equal(warped(one_cell, 0), [[3, 4, 5], [6, 7, 8], [0, 0, 0]])
    np.testing.assert_array_equal(warped(0, -one_cell), [[0, 0, 1], [0, 3, 4], [0, 6, 7]])
    # Half a cell between two neighbours, and between the last one and the zeros outside.
    half = [[0.5, 1.5, 1.0], [3.5, 4.5, 2.5], [6.5, 7.5, 4.0]]
    np.testing.assert_allclose(warped(0, one_cell / 2), half)


@pytest.mark.parametrize(("side", "channels", "hidden"), [(8, 64, 32), (4, 128, 128)])
def test_flow_starts_as_the_identity_and_learns(side, channels, hidden, reached):
    tf.keras.utils.set_random_seed(2)
    flow, maps = FlowNet(channels=hidden), random_maps(3, side, side, channels)
    with tf.GradientTape() as tape:
        warped = flow(maps)
        loss = tf.reduce_sum(warped * random_maps(3, side, side, channels, seed=1))
    change = float(tf.norm(warped - maps) / tf.norm(maps))
    assert 0 < change < 0.01
    variables = flow.trainable_variables
    assert len(variables) == 10
    for convolution, _ in flow.hidden:
        assert 0.009 < np.std(convolution.kernel) < 0.011 and not np.any(convolution.bias)
    assert reached(tape, loss, variables) == {variable.name for variable in variables}


def test_refiner_without_flow_is_the_plain_one_and_with_it_warps_all_but_the_residual():
    maps, vectors = random_maps(1, 3, 8, 8, 4), random_maps(1, 2, 7)
    triples = tf.constant([[[0, 1, 1], [2, 1, 0]]])
    plain = RefinerLayer(channels=4, hidden=3)
    without = WarpingRefinerLayer(flow_channels=0, channels=4, hidden=3)
    warping = WarpingRefinerLayer(flow_channels=4, channels=4, hidden=3)
    for layer in (plain, without, warping):
        layer(maps, vectors, triples)
    without.set_weights(plain.get_weights())
    np.testing.assert_array_equal(without(maps, vectors, triples), plain(maps, vectors, triples))
    for part in ("edge", "messages", "update"):
        getattr(warping, part).set_weights(getattr(plain, part).get_weights())
    near = warping(maps, vectors, triples)
    np.testing.assert_allclose(near, plain(maps, vectors, triples), atol=0.05)
    warping.flow = tf.zeros_like  # everything out of the map
    moved = warping(maps, vectors, triples)
    np.testing.assert_allclose(moved, maps + plain(tf.zeros_like(maps), vectors, triples))
    assert np.abs(moved - near).max() > 0.01


# The selector.


def test_draws_are_uniform_and_each_row_has_its_own():
    rows, draw = 2000, tf.function(draw_position, autograph=False)  # row by row it is slow
    valid = tf.constant(
        [[True, True, True], [True, False, True], [False] * 3, [False, True, False]]
    )
    valid = tf.tile(valid[tf.newaxis], [rows, 1, 1])
    seeds = seeds_of(*range(rows))
    drawn = draw(valid, seeds).numpy()  # [rows, 4]
    deviation = math.sqrt(rows * 2 / 9)
    assert (np.abs(np.bincount(drawn[:, 0]) - rows / 3) < 3 * deviation).all()
    assert set(drawn[:, 1]) == {0, 2}
    assert abs((drawn[:, 1] == 0).sum() - rows / 2) < 3 * math.sqrt(rows / 4)
    assert (drawn[:, 2] == -1).all() and (drawn[:, 3] == 1).all()
    np.testing.assert_array_equal(draw(valid, seeds), drawn)
    np.testing.assert_array_equal(draw_position(valid[5:7], seeds[5:7]), drawn[5:7])
    np.testing.assert_array_equal(draw_position(valid[:9, :1], seeds[:9]), drawn[:9, :1])
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.06


def coloured(rows: int) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Patches that tell who they are: own 10, candidates 20, 30, 40, 50, as pixel values."""
    own = np.full([rows, 2, 4, 4, 3], 10, np.uint8)
    others = np.arange(20, 60, 10, np.uint8)[:, None, None, None]
    others = np.broadcast_to(others, [rows, 2, 4, 4, 4, 3])
    valid = np.ones([rows, 2, 4], bool)
    batch = {"patch_crops": own, "candidate_crops": others, "candidate_valid": valid}
    mask = tf.constant([[True, False]] * rows)
    return {name: tf.constant(values) for name, values in batch.items()}, mask


def shown(picked) -> set[int]:
    """Pixel values of the first object's patches; each patch has one colour."""
    values = np.round((picked.crops[:, 0].numpy() + 1) * 127.5).astype(int)
    assert (values == values[:, :1, :1, :1]).all()
    return set(values[:, 0, 0, 0])


def test_the_own_patch_is_in_the_pool_of_training_and_never_of_a_test():
    batch, mask = coloured(40)
    seeds = seeds_of(*range(40))
    training, test = pick_in_training(batch, mask, seeds), pick_at_test(batch, mask, seeds)
    assert shown(training) == {10, 20, 30} and shown(test) == {20, 30, 40}
    is_own = training.choice[:, 0] == 0
    colour = (training.crops[:, 0, 0, 0, 0] + 1) * 127.5
    np.testing.assert_array_equal(is_own, np.round(colour) == 10)
    for picked in (training, test):
        assert (picked.choice.numpy()[:, 1] == -1).all()
        assert not picked.crops[:, 1].numpy().any()  # padding
    # Without candidates: the own patch in training, none at test.
    nothing = {**batch, "candidate_valid": tf.zeros_like(batch["candidate_valid"])}
    assert shown(pick_in_training(nothing, mask, seeds)) == {10}
    empty = pick_at_test(nothing, mask, seeds)
    assert not empty.crops.numpy().any() and (empty.choice.numpy() == -1).all()


def test_candidates_of_other_categories_are_masked_and_never_filled():
    own, bank = (
        types.SimpleNamespace(category_ids=np.array(values)) for values in ([2, 3, 4], [2, 3, 2, 3])
    )
    ids = np.array([[2, 0, -1, -1, -1], [3, 2, 1, -1, -1], [0, 1, 2, 3, -1]], np.int32)
    source = CandidateTable(ids, np.zeros([4, 1], np.float32))
    nearest = NearestPatches(source, own, bank, count=3)
    assert (nearest.k, nearest.rows) == (3, 3)
    found = nearest.ids_of(np.array([[0, 1], [2, -1]]))
    np.testing.assert_array_equal(found, [[[2, 0, -1], [3, -1, 1]], [[-1, -1, -1], [-1, -1, -1]]])
    assert NearestPatches(source, own, bank, count=9).k == 5


def test_pixels_of_masked_candidates_are_not_read(kept_rival, scenes):
    networks = kept_rival("pastegan").networks
    seeds = tf.constant([1, 2, 3, 4])
    images = networks.synthesise(scenes, scenes["boxes"], seeds).images
    valid = scenes["candidate_valid"]
    assert not tf.reduce_all(valid)
    noise = tf.where(valid[..., None, None, None], scenes["candidate_crops"], 255)
    other = {**scenes, "candidate_crops": noise}
    np.testing.assert_array_equal(networks.synthesise(other, scenes["boxes"], seeds).images, images)
    black = {**scenes, "candidate_crops": scenes["candidate_crops"] // 8}
    assert np.abs(networks.synthesise(black, scenes["boxes"], seeds).images - images).max() > 1e-4


def test_a_graph_without_patches_is_refused(scaled):
    graph = {"objects": tf.zeros([1, 2], tf.int32), "triples": tf.fill([1, 1, 3], -1)}
    with pytest.raises(ValueError, match="no candidate_crops and no candidate_valid"):
        scaled.synthesise(graph, None, tf.constant([1]))


# The published modules.


def test_the_image_node_has_a_zero_crop(published, scenes, monkeypatch):
    seen = []
    encode = published.generator.encode
    monkeypatch.setattr(
        published.generator, "encode", lambda crops: seen.append(crops) or encode(crops)
    )
    crops = random_maps(4, 6, 16, 16, 3)
    published.draw(crops, encoding_of(published, scenes), scenes["boxes"])
    by_scene = tf.reshape(seen[0], [4, 7, 16, 16, 3])
    np.testing.assert_array_equal(by_scene[:, :-1], crops)
    assert not by_scene[:, -1].numpy().any()


def test_an_image_of_the_published_modules_is_its_own(published, scenes):
    crops, encoding = random_maps(4, 6, 16, 16, 3), encoding_of(published, scenes)
    together = published.draw(crops, encoding, scenes["boxes"])
    alone = published.draw(
        crops[1:2], GraphEncoding(*[part[1:2] for part in encoding]), scenes["boxes"][1:2]
    )
    np.testing.assert_allclose(alone, together[1:2], atol=1e-5)
    # Nor do padded objects matter.
    is_there = encoding.object_mask[:, :, None, None, None]
    assert not tf.reduce_all(is_there)
    other = published.draw(tf.where(is_there, crops, 9.0), encoding, scenes["boxes"])
    np.testing.assert_allclose(other, together, atol=1e-5)


def test_the_published_fuser_shares_a_pixel_among_the_boxes_that_cover_it():
    tf.keras.utils.set_random_seed(3)
    fuser, size = PublishedFuser(channels=6), 16
    keys, queries = random_maps(2, 3, 4, 4, 6), random_maps(2, 3, 4, 4, 6, seed=1)
    boxes = tf.constant([[[0.0, 0.0, 0.5, 0.75], [0.25, 0.25, 0.75, 0.5], [0, 0, 1, 1]]] * 2)
    mask = tf.constant([[True, True, False]] * 2)
    weights = fuser.weights(keys, queries, boxes, mask, size).numpy()
    assert weights.shape == (2, 3, size, size) and (weights >= 0).all()
    covered = np.zeros([size, size], bool)
    covered[:8, :12], covered[4:12, 4:8] = True, True
    np.testing.assert_allclose(weights.sum(axis=1), [covered] * 2, atol=1e-6)
    assert not weights[:, 2].any()  # padding
    shared = weights[0, :2, 4:8, 4:8]
    assert ((shared > 0) & (shared < 1)).all() and shared.std() > 0.01
    # Large logits of another scene change nothing.
    loud = tf.concat([keys[:1], 100 * keys[1:]], axis=0)
    np.testing.assert_array_equal(fuser.weights(loud, queries, boxes, mask, size)[0], weights[0])


# Branches and losses.


def test_own_crops_in_the_generation_branch_give_the_reconstruction(kept_rival, scenes):
    model = kept_rival("pastegan")
    nothing = {**scenes, "candidate_valid": tf.zeros_like(scenes["candidate_valid"])}
    terms = model.compute_terms(nothing, tf.constant(0)).generator
    pairs = [("perceptual_selected", "perceptual_image")]
    for what in ("adversarial_image", "adversarial_object", "auxiliary"):
        pairs.append((f"{what}_selected", f"{what}_own"))
    for one, other in pairs:  # means, whose last bit depends on the row
        np.testing.assert_allclose(terms[one], terms[other], rtol=1e-6)
    networks, encoding = model.networks, encoding_of(model.networks, scenes)
    own = own_crops(scenes, encoding.object_mask)
    twice = GraphEncoding(*[tf.concat([part, part], 0) for part in encoding])
    boxes = tf.concat([scenes["boxes"]] * 2, 0)
    first, second = tf.split(networks.draw(tf.concat([own, own], 0), twice, boxes), 2)
    np.testing.assert_allclose(first, second, atol=1e-6)  # likewise, on some processors
    # With candidates the branches differ.
    differ = model.compute_terms(scenes, tf.constant(0)).generator
    assert (differ["perceptual_selected"] != differ["perceptual_image"]).numpy().any()


def test_terms_weights_and_betas_are_the_published_ones(taped):
    model, terms, *_ = taped
    assert model.generator_weights == {
        "reconstruction": 1.0,
        "box": 10.0,
        **dict.fromkeys(GAME, 0.01),
        "auxiliary_selected": 0.1,
        "auxiliary_own": 0.1,
        "perceptual_image": 1.0,
        "perceptual_object": 0.5,
        "perceptual_selected": 0.5,
        "crop_matching": 10.0,
    }
    # A mean over both branches where the published loss is a sum.
    assert model.discriminator_weights == {
        "adversarial_image": 2.0,
        "adversarial_object": 2.0,
        "auxiliary": 1.0,
    }
    assert set(terms.generator) == set(model.generator_weights)
    assert set(terms.discriminator) == set(model.discriminator_weights)
    for term in (*terms.generator.values(), *terms.discriminator.values()):
        assert term.shape == [4] and np.isfinite(term).all()
    for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
        assert (optimizer.beta_1, optimizer.beta_2) == (0.9, 0.999)


def test_each_of_the_four_paths_of_the_game_moves_the_generator(taped, reached):
    model, _, tape, losses = taped
    generator = model.networks.generator
    for name in GAME:
        found = reached(tape, losses[name], generator.trainable_variables)
        for part in (generator.crop_encoder, generator.fuser, generator.decoder):
            assert found & {variable.name for variable in part.trainable_variables}, name
    (kernel,) = (v for v in generator.decoder.trainable_variables if "to_image/kernel" in v.name)
    of_each = {name: tape.gradient(losses[name], kernel).numpy() for name in GAME}
    for one, other in ((a, b) for a in GAME for b in GAME if a < b):
        assert np.abs(of_each[one] - of_each[other]).max() > 0


@pytest.mark.thorough  # the four paths of the game stay
def test_leaving_one_path_out_changes_no_other(kept_rival, scenes):
    model = kept_rival("pastegan")
    kernel = model.networks.generator.decoder.to_image.kernel
    with tf.GradientTape(persistent=True) as tape:
        terms = model.compute_terms(scenes, tf.constant(0)).generator
        each = {name: tf.reduce_sum(terms[name]) for name in GAME}
        kept = {
            left_out: tf.reduce_sum([each[name] for name in GAME if name != left_out])
            for left_out in GAME
        }
    of_each = {name: tape.gradient(each[name], kernel) for name in GAME}
    for left_out in GAME:
        expected = sum(of_each[name] for name in GAME if name != left_out)
        np.testing.assert_allclose(tape.gradient(kept[left_out], kernel), expected, atol=1e-3)
        assert np.abs(of_each[left_out]).max() > 0.01


def test_who_learns_from_which_term(taped, reached):
    model, _, tape, losses = taped
    networks = model.networks
    boxes = networks.box_network.trainable_variables
    generator = networks.generator.trainable_variables
    assert reached(tape, losses["box"], boxes)
    assert not reached(tape, losses["box"], generator)
    for name in losses.keys() - {"box"}:
        assert not reached(tape, losses[name], boxes), name  # images are drawn in the true boxes
        assert reached(tape, losses[name], generator), name
    flow = [v for layer in networks.generator.refiner for v in layer.flow.trainable_variables]
    assert reached(tape, losses["reconstruction"], flow)


def test_crop_matching_is_zero_where_the_image_shows_the_patches(kept_rival, scenes):
    networks = kept_rival("pastegan").networks
    mask = scenes["objects"] > 0
    cut = crop_objects(scenes["image"], scenes["boxes"], 16)  # [B, O, 16, 16, 3]
    there = tf.where(mask[:, :, None, None, None], cut, 0.0)
    loss = crop_matching_loss(networks.encode_crops, cut, there, mask)
    np.testing.assert_array_equal(loss, np.zeros(4))
    # Padding does not count, one changed object does, and the loss is a mean over objects.
    wrong = there + tf.where(mask, 0.0, 5.0)[:, :, None, None, None]
    np.testing.assert_array_equal(
        crop_matching_loss(networks.encode_crops, cut, wrong, mask), np.zeros(4)
    )
    one = tf.concat([there[:, :1] + 1.0, there[:, 1:]], axis=1)
    changed = crop_matching_loss(networks.encode_crops, cut, one, mask)
    maps = [networks.encode_crops(crops[:, 0]) for crops in (cut, one)]
    expected = np.abs(maps[0] - maps[1]).mean(axis=(1, 2, 3)) / mask.numpy().sum(axis=1)
    np.testing.assert_allclose(changed, expected, rtol=1e-4)


@pytest.mark.parametrize("in_graph", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_crop_matching_teaches_neither_the_encoder_nor_the_patches(
    kept_rival, scenes, in_graph, reached
):
    networks = kept_rival("pastegan").networks
    encoder = networks.generator.crop_encoder.trainable_variables
    mask = scenes["objects"] > 0
    generated, selected = random_maps(4, 6, 16, 16, 3), random_maps(4, 6, 16, 16, 3, seed=1)

    def gradients(generated, selected):
        with FixedOrderTape(persistent=True) as tape:
            tape.watch([generated, selected])
            loss = tf.reduce_sum(
                crop_matching_loss(networks.encode_crops, generated, selected, mask)
            )
            taught = tf.reduce_sum(
                tf.abs(
                    networks.encode_crops(generated[:, 0]) - networks.encode_crops(selected[:, 0])
                )
            )
        sources = [generated, selected, *encoder]
        return [
            [0.0 if each is None else tf.reduce_max(tf.abs(each)) for each in found]
            for found in (tape.gradient(loss, sources), tape.gradient(taught, sources))
        ]

    found, publicly = (tf.function(gradients) if in_graph else gradients)(generated, selected)
    assert float(found[0]) > 0 and not any(float(each) for each in found[1:])
    assert all(float(each) > 0 for each in publicly[:2])  # what the public code does
    assert any(float(each) > 0 for each in publicly[2:])


def test_without_weight_gradients_passes_the_same_gradient_on():
    dense = tf.keras.layers.Dense(3)
    values = random_maps(2, 4)
    results = []
    for encode in (dense, without_weight_gradients(dense)):
        with tf.GradientTape() as tape:
            tape.watch(values)
            result = encode(values)
            loss = tf.reduce_sum(tf.square(result))
        results.append((result, tape.gradient(loss, values)))
    for plain, frozen in zip(*results, strict=True):
        np.testing.assert_allclose(frozen, plain, rtol=1e-6)


@pytest.mark.thorough  # the test of own crops above compares the branches
def test_crop_matching_is_of_the_generation_branch(kept_rival, scenes):
    """Own patches that were not drawn change the reconstruction, and not the matching."""
    model = kept_rival("pastegan")
    mask = scenes["objects"] > 0
    picked = pick_in_training(scenes, mask, model.batch_seeds(Purpose.PATCH_CHOICE, 0, 4))
    of_others = (picked.choice > 0)[:, :, None, None, None]
    assert tf.reduce_any(of_others)
    darker = tf.where(of_others, scenes["patch_crops"] // 4, scenes["patch_crops"])
    before = model.compute_terms(scenes, tf.constant(0)).generator
    after = model.compute_terms({**scenes, "patch_crops": darker}, tf.constant(0)).generator
    np.testing.assert_array_equal(after["crop_matching"], before["crop_matching"])
    np.testing.assert_array_equal(after["perceptual_selected"], before["perceptual_selected"])
    assert (after["reconstruction"] != before["reconstruction"]).numpy().any()


def test_crop_matching_moves_refiner_fuser_and_decoder(taped, reached):
    model, _, tape, losses = taped
    generator = model.networks.generator
    for part in (*generator.refiner, generator.fuser, generator.decoder):
        assert reached(tape, losses["crop_matching"], part.trainable_variables)
