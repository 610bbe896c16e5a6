"""The retrieval layer: noise per row, first query, precision, export, and the mixed patch."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.losses.retrieval import cooccurrence_loss, draw_anchors, selection_loss
from rgan_tf.retrieval.embedding import CooccurrenceEmbedding, PatchEmbedding
from rgan_tf.retrieval.noise import draw_noise, stateless_uniform
from rgan_tf.retrieval.patches import mix_patches
from rgan_tf.retrieval.selection import best_candidate
from rgan_tf.retrieval.selector import GroupRetrieval


@pytest.fixture
def graphs(make_graphs):
    features, valid, _, _ = make_graphs(0, batch=6)
    return tf.constant(features), tf.constant(valid)


SEEDS = tf.constant([[7, 1], [8, 1], [9, 1], [7, 1], [1, 7], [0, 0]])


def test_a_row_depends_on_its_own_seed_only(graphs):
    features, valid = graphs
    layer = GroupRetrieval()
    together = layer(features, valid, SEEDS, scale=3.0)
    for row in range(6):
        alone = layer(
            features[row : row + 1], valid[row : row + 1], SEEDS[row : row + 1], scale=3.0
        )
        np.testing.assert_array_equal(alone.weights[0], together.weights[row])
        np.testing.assert_array_equal(alone.order[0], together.order[row])


def test_seeds_repeat_and_differ(graphs):
    features, valid = (tf.repeat(part[:1], 200, axis=0) for part in graphs)
    seeds = tf.stack([tf.range(200) // 2, tf.ones(200, tf.int32)], axis=-1)
    select = tf.function(GroupRetrieval())  # row by row it is slow
    choice = select(features, valid, seeds, scale=1.0).choice.numpy()
    np.testing.assert_array_equal(choice[::2], choice[1::2])
    assert len(np.unique(choice, axis=0)) > 50


def test_deterministic_selection_starts_from_the_nearest_prefiltered_candidate(graphs):
    features, valid = graphs
    distances = np.random.default_rng(1).random(valid.shape).astype(np.float32)
    selection = GroupRetrieval()(features, valid, scale=1e4, distances=tf.constant(distances))
    best = np.where(valid, distances, np.inf).reshape(6, -1).argmin(axis=1)
    objects, candidates = np.divmod(best, valid.shape[2])
    np.testing.assert_array_equal(selection.order[:, 0], objects)
    np.testing.assert_array_equal(selection.choice.numpy()[np.arange(6), objects], candidates)


def test_deterministic_selection_without_distances_starts_from_the_first_candidate(graphs):
    features, valid = graphs
    valid = tf.concat([tf.zeros([6, 1, 6], tf.bool), valid[:, 1:]], axis=1)
    selection = GroupRetrieval()(features, valid, scale=1e4)
    first = valid.numpy().reshape(6, -1).argmax(axis=1)
    objects, candidates = np.divmod(first, 6)
    np.testing.assert_array_equal(selection.order[:, 0], objects)
    np.testing.assert_array_equal(selection.choice.numpy()[np.arange(6), objects], candidates)


def test_seed_patch_is_uniform_over_valid_candidates():
    valid = tf.constant(np.array([[1, 1, 0], [0, 1, 1]], bool)[None].repeat(5000, axis=0))
    seeds = tf.stack([tf.range(5000), tf.zeros(5000, tf.int32)], axis=-1)
    identity = tf.tile(tf.reshape(tf.eye(6), [1, 2, 3, 6]), [5000, 1, 1, 1])
    _, scores = tf.function(draw_noise)(seeds, tf.constant([2, 3]))
    share = tf.reduce_mean(best_candidate(identity, valid, scores), axis=0).numpy()
    np.testing.assert_allclose(share, [0.25, 0.25, 0, 0, 0.25, 0.25], atol=0.03)


def test_noise_is_gumbel_and_independent_of_the_seed_patch():
    seeds = tf.stack([tf.range(2000), tf.zeros(2000, tf.int32)], axis=-1)
    gumbel, scores = (
        part.numpy().ravel() for part in tf.function(draw_noise)(seeds, tf.constant([5, 10]))
    )
    assert np.isfinite(gumbel).all()
    assert abs(gumbel.mean() - np.euler_gamma) < 0.02
    assert abs(gumbel.std() - np.pi / np.sqrt(6)) < 0.02
    assert abs(np.mean(gumbel <= 0) - np.exp(-1)) < 0.01
    assert scores.min() >= 0 and scores.max() < 1
    assert abs(np.corrcoef(gumbel, scores)[0, 1]) < 0.02


def test_random_numbers_are_the_same_with_xla():
    def draw(seeds):
        return draw_noise(seeds, [3, 4]), stateless_uniform([5], seeds[0])

    plain, compiled = tf.function(draw)(SEEDS), tf.function(draw, jit_compile=True)(SEEDS)
    np.testing.assert_array_equal(plain[0][1], compiled[0][1])
    np.testing.assert_array_equal(plain[1], compiled[1])
    np.testing.assert_allclose(plain[0][0], compiled[0][0], rtol=1e-5, atol=1e-6)


def test_mixed_precision_leaves_the_selection_alone(graphs):
    # The candidates of an object differ by less than half precision can tell.
    features, valid = graphs
    features = 1.0 + 1e-4 * features
    before = GroupRetrieval()(features, valid, SEEDS, scale=3e4)
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        embedding = PatchEmbedding(sizes=(16, 4))
        vectors = embedding(features)
        assert vectors.dtype == tf.float32 and embedding.scale.dtype == tf.float32
        assert embedding._hidden[0].compute_dtype == "float16"
        after = GroupRetrieval()(features, valid, SEEDS, scale=3e4)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert after.weights.dtype == tf.float32
    np.testing.assert_array_equal(after.weights, before.weights)


def test_runs_inside_a_saved_model(graphs, tmp_path):
    features, valid = graphs
    layer = GroupRetrieval(straight_through=True)

    class Module(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 5, 6, 8]),
                tf.TensorSpec([None, 5, 6], tf.bool),
                tf.TensorSpec([None, 2], tf.int32),
                tf.TensorSpec([None, 5], tf.int32),
            ]
        )
        def select(self, features, valid, seeds, locked):
            return layer(features, valid, seeds, scale=3.0, locked=locked)._asdict()

    locked = tf.constant([[-1, 2, -1, -1, 0]] * 6)
    tf.saved_model.save(Module(), str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    expected = layer(features, valid, SEEDS, scale=3.0, locked=locked)._asdict()
    for name, value in loaded.select(features, valid, SEEDS, locked).items():
        np.testing.assert_array_equal(value, expected[name])


def test_the_config_holds_plain_values():
    layer = GroupRetrieval(temperature=np.float32(0.5), straight_through=np.False_)
    assert json.loads(json.dumps(layer.get_config()))["temperature"] == 0.5


def test_config_round_trip():
    layer = GroupRetrieval(straight_through=False, name="selector")
    again = tf.keras.layers.deserialize(tf.keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config() and not again.straight_through


def test_mixed_patch_of_one_hot_weights_is_that_crop():
    crops = np.random.default_rng(2).integers(0, 256, (1, 2, 3, 4, 4, 3)).astype(np.uint8)
    weights = tf.constant([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    mixed = mix_patches(weights, tf.constant(crops)).numpy()
    np.testing.assert_allclose(mixed[0, 0], crops[0, 0, 1] / 127.5 - 1, atol=1e-6)
    assert not mixed[0, 1].any()
    floats = mix_patches(weights, tf.constant(crops / 127.5 - 1, tf.float32)).numpy()
    np.testing.assert_allclose(floats, mixed, atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "crops", "message"),
    [
        (
            [2, 3, 4],
            tf.ones([2, 3, 4, 5, 5, 3], tf.int32),
            "crops must be uint8, or float .* int32",
        ),
        ([2, 3], tf.ones([2, 3, 4, 5, 5, 3]), r"weights must be \[B, O, K\]"),
        ([2, 3, 1], tf.ones([2, 3, 4, 5, 5, 3]), r"got shapes \(2, 3, 1\) and \(2, 3, 4, "),
    ],
)
def test_crops_that_would_be_mixed_wrongly_are_refused(weights, crops, message):
    with pytest.raises(ValueError, match=message):
        mix_patches(tf.ones(weights), crops)
    assert mix_patches([[[1.0]]], [[[[[[0.5]]]]]]).shape == [1, 1, 1, 1, 1]


def test_gradient_to_a_weight_is_the_inner_product_with_its_crop():
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 256, (2, 2, 3, 4, 4, 3)).astype(np.uint8)
    incoming = rng.normal(size=(2, 2, 4, 4, 3)).astype(np.float32)
    weights = tf.constant(rng.random((2, 2, 3)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss = tf.reduce_sum(mix_patches(weights, tf.constant(crops)) * incoming)
    expected = np.einsum("bohwc,bokhwc->bok", incoming, crops / 127.5 - 1)
    np.testing.assert_allclose(tape.gradient(loss, weights), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("path", ["image", "cooccurrence", "one_step", "iterative"])
def test_every_loss_trains_the_embedding_and_none_the_frozen_parts(path):
    rng = np.random.default_rng(4)
    features = tf.Variable(rng.normal(size=(4, 3, 5, 12)), dtype=tf.float32)  # of the backbone
    crops = tf.constant(rng.integers(0, 256, (4, 3, 5, 4, 4, 3)), tf.uint8)
    mask, valid = tf.fill([4, 3], True), tf.fill([4, 3, 5], True)
    embedding, frozen = PatchEmbedding(sizes=(8, 4)), CooccurrenceEmbedding(sizes=(6,))
    with tf.GradientTape() as tape:
        vectors = embedding(tf.stop_gradient(features))
        selection = GroupRetrieval()(vectors, valid, SEEDS[:4], scale=embedding.scale)
        if path == "image":
            loss = tf.reduce_sum(tf.square(mix_patches(selection.weights, crops) - 0.3))
        elif path == "cooccurrence":
            loss = tf.reduce_sum(cooccurrence_loss(selection.weights, frozen(features), mask))
        else:
            own = embedding(features[:, :, 0])
            anchors = draw_anchors(mask, tf.constant([1, 2]))
            loss = tf.reduce_sum(
                selection_loss(own, vectors, valid, mask, anchors, scale=embedding.scale, form=path)
            )
    trained = tape.gradient(loss, embedding.trainable_variables + frozen.trainable_variables)
    count = len(embedding.trainable_variables)
    assert all(float(tf.norm(gradient)) > 0 for gradient in trained[:count])
    assert all(gradient is None for gradient in trained[count:])


WRONG_TEMPERATURES = [0.0, -1.0, float("nan"), None, tf.constant(0.5), tf.Variable(0.5)]


@pytest.mark.parametrize("temperature", WRONG_TEMPERATURES)
def test_a_temperature_is_a_number_above_zero(temperature):
    """A layer with a tensor could not be saved, or not be loaded again."""
    with pytest.raises(ValueError, match="temperature must be (above 0|a number)"):
        GroupRetrieval(temperature=temperature)


@pytest.mark.parametrize("straight_through", [True, False])
@pytest.mark.parametrize("embedding", [None, PatchEmbedding(sizes=(6, 4))])
def test_what_stands_in_padding_does_not_matter(straight_through, embedding):
    rng = np.random.default_rng(0)
    features = tf.constant(rng.normal(size=[4, 3, 5, 8]), tf.float32)
    valid = rng.random([4, 3, 5]) < 0.6
    valid[0, 0] = False
    valid[1] = False  # a scene without candidates
    valid[2, 0, 0] = False  # the first of all candidates
    seeds = tf.constant(rng.integers(0, 99, [4, 2]), tf.int32)
    layer = GroupRetrieval(embedding=embedding, straight_through=straight_through)
    layer(features, valid, seeds)  # builds it
    share = tf.constant(rng.normal(size=[4, 3, 5]), tf.float32)
    for drawn in (seeds, None):
        found = []
        for padding in (0.0, np.nan, np.inf):
            inputs = tf.where(valid[..., None], features, padding)
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                weights = layer(inputs, valid, drawn, scale=3.0).weights
                loss = tf.reduce_sum(weights * share)
            sources = [inputs, *layer.trainable_variables]
            found.append([weights, *tape.gradient(loss, sources)])
        assert np.abs(found[0][1]).max() > 0
        for other in found[1:]:
            for one, two in zip(found[0], other, strict=True):
                np.testing.assert_array_equal(one, two)


WRONG = {
    "candidates": {"candidates": tf.ones([3, 5, 8])},
    "valid": {"valid": tf.fill([2, 3, 1], True)},
    "seeds": {"seeds": tf.zeros([1, 2], tf.int32)},
    "seeds of three": {"seeds": tf.zeros([2, 3], tf.int32)},
    "seeds of one row": {"seeds": [1, 2]},
    "locked": {"locked": tf.zeros([2], tf.int32)},
    "ids": {"ids": tf.zeros([2, 3], tf.int32)},
    "distances": {"distances": tf.zeros([2, 3])},
    "temperature": {"temperature": tf.ones([2])},
    "scale": {"scale": "large"},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_argument_of_another_shape_is_named(wrong):
    right = {
        "candidates": tf.ones([2, 3, 5, 8]),
        "valid": tf.fill([2, 3, 5], True),
        "seeds": tf.zeros([2, 2], tf.int32),
        "locked": tf.fill([2, 3], -1),
        "ids": tf.zeros([2, 3, 5], tf.int32),
        "distances": tf.zeros([2, 3, 5]),
        "temperature": 1.0,
        "scale": 2,
    }
    GroupRetrieval()(**right)
    with pytest.raises(ValueError, match=f"{wrong.split()[0]} must be "):
        GroupRetrieval()(**{**right, **WRONG[wrong]})


@pytest.mark.parametrize("seeds", [None, tf.zeros([0, 2], tf.int32)])
def test_no_scenes_give_no_choices(seeds):
    selection = GroupRetrieval()(tf.zeros([0, 3, 5, 8]), tf.fill([0, 3, 5], True), seeds)
    assert selection.weights.shape == [0, 3, 5] and selection.choice.shape == [0, 3]
