"""Predicted boxes are valid whatever the vectors and weights are."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.graph.box_predictor import BoxPredictor

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
    for _ in range(200):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(layer(vectors) - target))
        gradients = tape.gradient(loss, layer.trainable_variables)
        assert all(gradient is not None for gradient in gradients)
        optimizer.apply_gradients(zip(gradients, layer.trainable_variables, strict=True))
    assert float(loss) < 0.02


def test_serialisation_round_trip():
    layer = BoxPredictor(hidden=3, minimum_size=0.1)
    copy = tf.keras.layers.deserialize(tf.keras.layers.serialize(layer))
    vectors = tf.random.stateless_normal([1, 2, 4], [0, 1])
    layer(vectors)
    copy(vectors)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(vectors), layer(vectors))
    assert copy.get_config() == layer.get_config()


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
