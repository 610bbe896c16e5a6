"""The refiner against convolving concatenated maps edge by edge."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.generator.refiner import RefinerLayer, TripletMapConvolution
from rgan_tf.graph import tensors

_TRIPLES = np.array([[[0, 1, 1], [2, 1, 0], [1, 2, 2], [-1, -1, -1]]], np.int32)


def _leaky(values):
    return tf.nn.leaky_relu(values, alpha=0.2)


def _inputs():
    rng = np.random.default_rng(0)
    maps = tf.constant(rng.normal(size=(1, 3, 6, 5, 4)), tf.float32)
    vectors = tf.constant(rng.normal(size=(1, 4, 7)), tf.float32)
    return maps, vectors, tf.constant(_TRIPLES)


def _concatenated(layer, maps, vectors, edge):
    """conv([subject map; predicate repeated; object map]) of one edge, with one joint kernel."""
    subject, _, target = _TRIPLES[0, edge]
    channels, width, filters = maps.shape[-1], vectors.shape[-1], layer.filters
    repeated = tf.broadcast_to(vectors[0, edge], [*maps.shape[2:4], width])
    joined = tf.concat([maps[0, subject], repeated, maps[0, target]], axis=-1)[tf.newaxis]
    ends = layer.ends.kernel
    predicate = tf.reshape(layer.taps.kernel, [width, 3, 3, filters])
    kernel = tf.concat(
        [ends[..., :filters], tf.transpose(predicate, [1, 2, 0, 3]), ends[..., filters:]], axis=2
    )
    assert kernel.shape == (3, 3, 2 * channels + width, filters)
    return tf.nn.conv2d(joined, kernel, 1, "SAME")[0] + layer.bias


def test_split_convolution_equals_convolution_of_the_concatenation():
    maps, vectors, triples = _inputs()
    layer = TripletMapConvolution(filters=3)
    graph = tensors.dense_to_graph_tensor(maps, vectors, triples)
    arguments = (tensors.flatten_batch(maps), tensors.flatten_batch(vectors), graph)
    layer(*arguments)
    layer.bias.assign([0.5, -1.0, 2.0])

    edges = layer(*arguments)

    for edge in range(3):
        expected = _concatenated(layer, maps, vectors, edge)
        np.testing.assert_allclose(edges[edge], expected, atol=1e-5)


def test_layer_equals_averaging_role_specific_messages_per_edge():
    maps, vectors, triples = _inputs()
    layer = RefinerLayer(channels=4, hidden=3)
    layer(maps, vectors, triples)

    refined = layer(maps, vectors, triples)

    role_kernels = tf.split(layer.messages.kernel, 2, axis=2)  # subject, object
    received = [[] for _ in range(3)]
    for edge in range(3):
        hidden = _leaky(_concatenated(layer.edge, maps, vectors, edge))[tf.newaxis]
        for end, kernel in zip((0, 2), role_kernels, strict=True):
            message = tf.nn.conv2d(hidden, kernel, 1, "SAME") + layer.messages.bias
            received[_TRIPLES[0, edge, end]].append(message)
    for node, messages in enumerate(received):
        update = layer.update(_leaky(tf.add_n(messages) / len(messages)))[0]
        np.testing.assert_allclose(refined[0, node], maps[0, node] + update, atol=1e-5)
        assert np.abs(update).max() > 1e-3  # the refiner does something


def test_padded_triples_and_other_graphs_have_no_influence():
    maps, vectors, triples = _inputs()
    layer = RefinerLayer(channels=4, hidden=3)
    plain = layer(maps, vectors, triples)
    without = layer(maps, vectors[:, :3], triples[:, :3])
    np.testing.assert_allclose(without, plain, atol=1e-6)
    other = layer(
        tf.concat([5.0 - maps, maps], 0),
        tf.concat([3.0 * vectors, vectors], 0),
        tf.concat([triples[:, ::-1], triples], 0),
    )
    np.testing.assert_allclose(other[1:], plain, atol=1e-5)


@pytest.mark.parametrize(
    "layer", [TripletMapConvolution(filters=2), RefinerLayer(channels=4, hidden=2)]
)
def test_serialisation_round_trip(layer):
    maps, vectors, triples = _inputs()
    arguments = (maps, vectors, triples)
    if isinstance(layer, TripletMapConvolution):
        graph = tensors.dense_to_graph_tensor(*arguments)
        arguments = (tensors.flatten_batch(maps), tensors.flatten_batch(vectors), graph)
    copy = tf.keras.layers.deserialize(tf.keras.layers.serialize(layer))
    layer(*arguments)
    copy(*arguments)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(*arguments), layer(*arguments))
    assert copy.get_config() == layer.get_config()


@pytest.mark.parametrize("name", ["channels", "hidden"])
def test_size_below_one_is_refused_with_its_value(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        RefinerLayer(**{"channels": 2, "hidden": 2, name: 0})
