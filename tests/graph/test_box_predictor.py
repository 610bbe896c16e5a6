"""Predicted boxes are valid whatever the vectors and weights are."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.graph.box_predictor import BoxPredictor, instance_features

_LAYER = BoxPredictor(hidden=8, minimum_size=0.05)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31 - 1),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e4, 1e8]),
    weight_scale=st.sampled_from([0.1, 1.0, 50.0]),
)
def test_boxes_are_always_ordered_inside_and_not_too_small(seed, scale, weight_scale):
    rng = np.random.default_rng(seed)
    vectors = (rng.normal(size=(2, 6, 5)) * scale).astype(np.float32)
    _LAYER(vectors)
    _LAYER.set_weights([rng.normal(size=w.shape) * weight_scale for w in _LAYER.get_weights()])

    boxes = _LAYER(vectors).numpy()

    assert np.all(np.isfinite(boxes))
    assert boxes.min() >= 0.0 and boxes.max() <= 1.0
    assert np.all(boxes[..., 2:] - boxes[..., :2] >= 0.05 - 1e-6)


def test_numbers_worked_by_hand():
    layer = BoxPredictor(hidden=1, minimum_size=0.2)
    vectors = tf.ones([1, 1, 1])
    layer(vectors)
    layer.hidden_layer.set_weights([np.ones([1, 1]), np.zeros(1)])
    # Shares sigmoid(0) = 0.5 for height and width, 0.75 and 0.25 for the free room.
    layer.output_layer.set_weights(
        [np.zeros([1, 4]), np.array([0.0, 0.0, np.log(3.0), -np.log(3.0)])]
    )
    # Height = width = 0.2 + 0.8 * 0.5 = 0.6; free room 0.4.
    np.testing.assert_allclose(layer(vectors)[0, 0], [0.3, 0.1, 0.9, 0.7], rtol=1e-5)


def test_every_variable_learns_and_can_fit_a_box():
    tf.keras.utils.set_random_seed(0)
    layer = BoxPredictor(hidden=16)
    vectors = tf.random.stateless_normal([1, 4, 6], [0, 1])
    target = tf.constant(
        [[[0.1, 0.2, 0.4, 0.9], [0.5, 0.5, 1.0, 1.0], [0, 0, 1, 1], [0, 0, 0.1, 1]]]
    )
    layer(vectors)
    optimizer = tf.keras.optimizers.Adam(0.03)
    optimizer.build(layer.trainable_variables)

    @tf.function(autograph=False)
    def train():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(layer(vectors) - target))
        gradients = tape.gradient(loss, layer.trainable_variables)
        assert all(gradient is not None for gradient in gradients)
        optimizer.apply_gradients(zip(gradients, layer.trainable_variables, strict=True))
        return loss

    for _ in range(200):
        loss = train()
    assert float(loss) < 0.02


ALONE, LEFT, RIGHT = (0, 1), (0, 2), (1, 2)


def randomised(**arguments):
    """A layer for vectors of size 5 whose weights, zeros too, are drawn at random."""
    layer = BoxPredictor(hidden=8, **arguments)
    layer(np.zeros([1, 1, 5], np.float32), np.array([[ALONE]]))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer


def test_features_of_instances_worked_by_hand():
    features = instance_features(tf.constant([[ALONE, LEFT, RIGHT, (1, 3)]]))
    np.testing.assert_array_equal(features[0, 0], np.zeros(4))  # to the bit
    np.testing.assert_allclose(
        features[0, 1:],
        [[-0.5, -1.0, -1.0, 0.5], [0.5, 1.0, -1.0, 0.5], [0.0, 0.0, 0.0, 2 / 3]],
        atol=1e-6,
    )


@pytest.mark.parametrize("count", [1, 2, 3, 8, 30])
def test_features_are_bounded_and_all_different_within_a_group(count):
    places = np.array([[(rank, count) for rank in range(count)]])
    features = instance_features(places).numpy()[0]
    assert features.min() >= -2.0 and features.max() <= 1.0
    assert len(np.unique(features, axis=0)) == count


def test_codes_part_look_alikes_and_leave_the_others_alone():
    vectors = np.tile(np.random.default_rng(1).normal(size=5), [1, 4, 1]).astype(np.float32)
    layer = randomised(instance_codes=True)
    plain = BoxPredictor(hidden=8)
    plain(vectors)
    plain.set_weights(layer.get_weights()[:4])

    boxes = layer(vectors, np.array([[ALONE, LEFT, RIGHT, ALONE]])).numpy()

    np.testing.assert_array_equal(boxes[:, [0, 3]], plain(vectors).numpy()[:, [0, 3]])
    assert np.abs(boxes[0, 1] - boxes[0, 2]).max() > 1e-3
    assert np.abs(boxes[0, 1] - boxes[0, 0]).max() > 1e-3


def test_fresh_codes_change_nothing():
    vectors = tf.random.stateless_normal([1, 2, 5], [0, 1])
    layer, plain = BoxPredictor(hidden=8, instance_codes=True), BoxPredictor(hidden=8)
    places = np.array([[LEFT, RIGHT]])
    layer(vectors, places)
    plain(vectors)
    plain.set_weights(layer.get_weights()[:4])
    np.testing.assert_array_equal(layer(vectors, places), plain(vectors))


def test_without_codes_there_are_no_weights_for_them_and_instances_have_no_influence():
    vectors = tf.random.stateless_normal([1, 2, 5], [0, 1])
    layer = randomised()
    assert [weight.name.split("/", 1)[-1] for weight in layer.weights] == [
        "hidden_layer/kernel:0",
        "hidden_layer/bias:0",
        "output_layer/kernel:0",
        "output_layer/bias:0",
    ]
    assert len(randomised(instance_codes=True).weights) == 5
    np.testing.assert_array_equal(layer(vectors, np.array([[LEFT, RIGHT]])), layer(vectors))


def test_codes_without_instances_are_refused():
    with pytest.raises(ValueError, match="needs instances, got None"):
        BoxPredictor(instance_codes=True)(np.zeros([1, 2, 5], np.float32))


@pytest.mark.parametrize("instance_codes", [True, False])
def test_only_codes_can_fit_two_boxes_to_one_vector(instance_codes):
    tf.keras.utils.set_random_seed(0)
    layer = BoxPredictor(hidden=16, instance_codes=instance_codes)
    vectors, places = tf.ones([1, 3, 4]), np.array([[LEFT, RIGHT, ALONE]])
    target = tf.constant([[[0.3, 0.0, 0.7, 0.4], [0.3, 0.6, 0.7, 1.0], [0.3, 0.3, 0.7, 0.7]]])
    layer(vectors, places)
    optimizer = tf.keras.optimizers.Adam(0.03)
    optimizer.build(layer.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(layer(vectors, places) - target))
        gradients = tape.gradient(loss, layer.trainable_variables)
        optimizer.apply_gradients(zip(gradients, layer.trainable_variables, strict=True))
        return loss

    for _ in range(200):
        loss = step()
    assert (float(loss) < 0.02) == instance_codes, float(loss)


@pytest.mark.parametrize("instance_codes", [True, False])
def test_serialisation_round_trip(instance_codes):
    layer = BoxPredictor(hidden=3, minimum_size=0.1, instance_codes=instance_codes)
    copy = tf.keras.layers.deserialize(tf.keras.layers.serialize(layer))
    vectors, places = tf.random.stateless_normal([1, 2, 4], [0, 1]), np.array([[LEFT, RIGHT]])
    layer(vectors, places)
    copy(vectors, places)
    weights = [np.full(weight.shape, 0.3, np.float32) for weight in layer.get_weights()]
    layer.set_weights(weights)
    copy.set_weights(weights)
    np.testing.assert_array_equal(copy(vectors, places), layer(vectors, places))
    assert copy.get_config() == layer.get_config()
    assert copy.get_config()["instance_codes"] is instance_codes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"minimum_size": 0.0}, "minimum_size must be in .*, got 0.0"),
        ({"minimum_size": 1.0}, "minimum_size must be in .*, got 1.0"),
    ],
)
def test_bad_argument_is_refused_with_its_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        BoxPredictor(**arguments)
