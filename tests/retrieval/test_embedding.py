"""The two learned embeddings: unit vectors, statistics, the learned scale, the distance helper."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.retrieval.distance import l2_distance, pairwise_distance
from rgan_tf.retrieval.embedding import CooccurrenceEmbedding, PatchEmbedding
from rgan_tf.retrieval.temperature import exponential_temperature


@pytest.mark.parametrize("kind", [PatchEmbedding, CooccurrenceEmbedding])
@pytest.mark.parametrize("leading", [(7,), (2, 3), (2, 3, 4)])
def test_vectors_have_length_one_and_keep_leading_axes(kind, leading):
    tf.keras.utils.set_random_seed(0)  # of few hidden units all may be 0 for one input
    features = np.random.default_rng(0).normal(size=(*leading, 10)).astype(np.float32)
    layer = kind(sizes=(9, 5))
    vectors = layer(features)
    assert vectors.shape == (*leading, 5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-5)
    alone = layer(features.reshape(-1, 10)[:1])
    np.testing.assert_allclose(alone[0], np.reshape(vectors, (-1, 5))[0], atol=1e-5)


def test_statistics_standardise_the_input():
    rng = np.random.default_rng(1)
    plain = rng.normal(size=(500, 6)).astype(np.float32)
    plain = (plain - plain.mean(axis=0)) / plain.std(axis=0)
    scaled = plain * np.array([1, 10, 100, 0.1, 5, 0]) + 3
    layer = PatchEmbedding(sizes=(4,))
    layer.set_statistics(scaled)
    reference = PatchEmbedding(sizes=(4,))
    reference(plain)
    reference.set_weights(layer.get_weights())
    reference._mean.assign(np.zeros(6))
    reference._deviation.assign(np.ones(6))
    plain[:, 5] = 0
    np.testing.assert_allclose(layer(scaled), reference(plain), atol=1e-4)
    assert all(v.name.split("/")[-1][:4] not in ("mean", "devi") for v in layer.trainable_weights)


@pytest.mark.parametrize(
    "features, got",
    [
        (np.array([[1.0, np.nan]]), r"float64 \(1, 2\)"),
        (np.array([[1.0, np.inf]]), r"float64 \(1, 2\)"),
        (np.zeros(3, np.float16), r"float16 \(3,\)"),
        (np.zeros([0, 3]), r"float64 \(0, 3\)"),
        (np.full([3, 4], 1e300), r"float64 \(3, 4\)"),
        ([["a", "b"]], r"<U1 \(1, 2\)"),
        ([[1, 2], [3]], r"object \(\)"),
    ],
)
def test_statistics_of_what_is_not_a_number_are_refused(features, got):
    """Every vector would be NaN from then on."""
    layer = PatchEmbedding(sizes=(4,))
    with pytest.raises(ValueError, match=f"features must be finite numbers .*, got {got}"):
        layer.set_statistics(features)
    assert not layer.built


ROUGH = (tf.float32, tf.bfloat16, tf.bool)


@pytest.mark.parametrize(
    "features",
    [np.ones([1, 6]), np.arange(5.0)[:, None], *(tf.ones([4, 6], kind) for kind in ROUGH)],
)
def test_statistics_of_few_features_give_a_start(features):
    """One row has no covariance, and that of one column is no matrix."""
    layer = PatchEmbedding(sizes=(4,), start="frozen")
    layer.set_statistics(features)
    assert np.isfinite(layer(tf.cast(features, tf.float32))).all()


def test_features_of_another_width_are_refused():
    layer = PatchEmbedding(sizes=(4,))
    with pytest.raises(ValueError, match="must have a known width, got .*None"):
        layer(tf.keras.Input([None]))
    layer(np.ones([2, 5], np.float32))
    for wrong in (np.ones([2, 6], np.float32), tf.constant(1.0)):
        with pytest.raises(ValueError, match="is incompatible with the layer"):
            layer(wrong)
    with pytest.raises(ValueError, match=r"features must be \[N, 5\], .*got \(3, 6\)"):
        layer.set_statistics(np.ones([3, 6]))


@pytest.mark.parametrize("use", [lambda layer: layer.scale, lambda layer: layer.untrained(0)])
def test_what_needs_weights_says_so_before_there_are_any(use):
    with pytest.raises(ValueError, match="has no weights yet; call it, or build it, first"):
        use(PatchEmbedding(sizes=(4,)))


def test_scale_starts_as_given_and_stays_positive():
    layer = PatchEmbedding(sizes=(4,), initial_scale=10.0)
    layer.build((None, 3))
    np.testing.assert_allclose(layer.scale, 10.0, rtol=1e-6)
    optimizer = tf.keras.optimizers.SGD(1.0)
    for _ in range(50):
        with tf.GradientTape() as tape:
            loss = layer.scale
        (variable,) = [v for v in layer.trainable_variables if "log_scale" in v.name]
        optimizer.apply_gradients([(tape.gradient(loss, variable), variable)])
    assert 0 < float(layer.scale) < 1


@pytest.mark.parametrize(
    "layer", [PatchEmbedding(sizes=(7, 4), initial_scale=3.0), CooccurrenceEmbedding(sizes=(4,))]
)
def test_config_round_trip(layer):
    again = tf.keras.layers.deserialize(tf.keras.layers.serialize(layer))
    assert type(again) is type(layer) and again.get_config() == layer.get_config()


def test_frozen_start_is_the_whitened_backbone_and_learns_from_there():
    rng = np.random.default_rng(4)
    features = (rng.normal(size=(300, 3)) @ rng.normal(size=(3, 12)) * 2).astype(np.float32)
    features += rng.normal(size=features.shape).astype(np.float32)
    layer = PatchEmbedding(sizes=(6, 4), start="frozen")
    layer.set_statistics(features)
    standard = layer.standardise(features).numpy()
    variances, directions = np.linalg.eigh(np.cov(standard.T.astype(np.float64)))
    plain = standard @ (directions[:, :-5:-1] / variances[:-5:-1] ** 0.25)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    start = layer(features).numpy()
    np.testing.assert_allclose(start @ start.T, plain @ plain.T, atol=1e-4)  # up to signs
    assert not [v for v in layer.trainable_variables if "components" in v.name]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(features)[:, 0])
    kernel = layer._output.kernel
    assert np.abs(tape.gradient(loss, kernel)).max() > 0
    other = PatchEmbedding(sizes=(6, 4), start="random")
    other.set_statistics(features)
    assert np.abs(other(features).numpy() @ other(features).numpy().T - plain @ plain.T).max() > 0.5


def test_frozen_start_with_fewer_features_than_dimensions():
    layer = PatchEmbedding(sizes=(6,), start="frozen")
    layer.set_statistics(np.random.default_rng(0).normal(size=(50, 4)))
    vectors = layer(np.random.default_rng(1).normal(size=(7, 4)))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"sizes": ()},
        {"sizes": 4},
        {"sizes": np.array([4, 0])},
        {"sizes": (4, 0)},
        {"sizes": (4, 2.5)},
        {"sizes": (4, None)},
        {"sizes": (4, float("inf"))},
        {"sizes": (4, True)},
        {"sizes": "12"},
        {"initial_scale": 0.0},
        {"initial_scale": float("inf")},
        {"initial_scale": float("nan")},
        {"initial_scale": "10"},
        {"initial_scale": 1e-300},
        {"start": "cold"},
    ],
)
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="got"):
        PatchEmbedding(**options)


def test_distance_and_its_gradient_are_finite_and_exact_near_zero():
    base = np.full(16, 0.25)
    near = base + 1e-4 * np.arange(16)
    assert float(l2_distance(tf.constant(base), tf.constant(base))) == 0
    expected = np.linalg.norm(near - base)
    single = [tf.constant(part, tf.float32) for part in (base, near)]
    np.testing.assert_allclose(l2_distance(*single), expected, rtol=1e-4)
    for other in (single[0], single[1]):
        with tf.GradientTape() as tape:
            tape.watch(other)
            distance = l2_distance(other, single[0])
        gradient = tape.gradient(distance, other).numpy()
        length = np.linalg.norm(gradient)
        assert length == pytest.approx(0.0 if other is single[0] else 1.0, abs=1e-4)
    with pytest.raises(ValueError, match="l2_distance: vectors must be float, got int32"):
        l2_distance([1, 2], [3, 4])
    for other in ([0, 1], np.array([0.0, 1.0])):  # they take the type of the tensor
        assert l2_distance(other, tf.constant([3.0, 5.0])) == l2_distance([3.0, 5.0], other) == 5.0


def test_pairwise_distance():
    vectors = tf.constant([[[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]])
    np.testing.assert_allclose(pairwise_distance(vectors)[0], [[0, 5, 0], [5, 0, 5], [0, 5, 0]])


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 1.0), (50, 10**-0.5), (100, 0.1), (100_000, 0.1)]
)
def test_temperature_falls_exponentially_then_stays(step, expected):
    options = dict(start=1.0, end=0.1, anneal_steps=100)
    value = exponential_temperature(tf.constant(step, tf.int64), **options)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_temperature_without_annealing_and_out_of_range():
    assert float(exponential_temperature(0, start=1.0, end=0.2, anneal_steps=0)) == pytest.approx(
        0.2
    )
    with pytest.raises(ValueError, match="end=0"):
        exponential_temperature(0, start=1.0, end=0, anneal_steps=1)
    with pytest.raises(ValueError, match="got -1"):
        exponential_temperature(0, start=1.0, end=0.1, anneal_steps=-1)
