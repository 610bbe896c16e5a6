"""Triplet convolution against numbers worked by hand and against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.graph import tensors
from rgan_tf.graph.triplet_convolution import TripletConvolution


def _leaky(values):
    return np.where(values > 0, values, 0.01 * values)


def _run(layer, nodes, edges, triples):
    graph = layer(
        tensors.dense_to_graph_tensor(
            tf.constant(nodes, tf.float32), tf.constant(edges, tf.float32), tf.constant(triples)
        )
    )
    return (
        graph.node_sets[tensors.OBJECT][tensors.STATE].numpy(),
        graph.edge_sets[tensors.RELATION][tensors.STATE].numpy(),
    )


def test_numbers_worked_by_hand():
    nodes = [[[1.0], [2.0], [-3.0]]]
    edges = [[[1.0], [-1.0], [50.0]]]
    triples = [[[0, 1, 1], [1, 1, 2], [-1, -1, -1]]]
    layer = TripletConvolution(width=1, hidden=1)
    _run(layer, nodes, edges, triples)
    for part, value in (
        (layer.edge_subject, 1.0),
        (layer.edge_predicate, 2.0),
        (layer.edge_object, 3.0),
        (layer.new_predicate, 1.0),
        (layer.subject_message, 1.0),
        (layer.object_message, 2.0),
        (layer.node_hidden, 1.0),
        (layer.node_output, 1.0),
    ):
        part.kernel.assign([[value]])
    layer.new_predicate.bias.assign([0.5])
    layer.node_output.bias.assign([0.25])

    new_nodes, new_edges = _run(layer, nodes, edges, triples)

    # Edge 0: 1 + 2 * 1 + 3 * 2 = 9.  Edge 1: 2 - 2 - 9 = -9, after the leaky ReLU -0.09.
    np.testing.assert_allclose(new_edges[:2, 0], [9.5, 0.41], rtol=1e-5)
    # Node 0: 9.  Node 1: (2 * 9 - 0.09) / 2.  Node 2: 2 * -0.09, then two leaky ReLUs.
    np.testing.assert_allclose(new_nodes[:, 0], [9.25, 8.955 + 0.25, -1.8e-5 + 0.25], rtol=1e-5)


def test_equals_concatenating_per_edge_and_averaging_messages():
    rng = np.random.default_rng(0)
    nodes = rng.normal(size=(1, 5, 3)).astype(np.float32)
    edges = rng.normal(size=(1, 4, 3)).astype(np.float32)
    triples = np.array([[[0, 1, 1], [2, 1, 0], [3, 1, 3], [4, 1, 2]]], np.int32)
    layer = TripletConvolution(width=3, hidden=6)
    _run(layer, nodes, edges, triples)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])

    new_nodes, new_edges = _run(layer, nodes, edges, triples)

    first = np.concatenate(
        [layer.edge_subject.kernel, layer.edge_predicate.kernel, layer.edge_object.kernel]
    )
    messages = [[] for _ in range(5)]
    for index, (s, _, o) in enumerate(triples[0]):
        joined = np.concatenate([nodes[0, s], edges[0, index], nodes[0, o]])
        hidden = _leaky(joined @ first + layer.edge_predicate.bias.numpy())
        np.testing.assert_allclose(
            new_edges[index],
            hidden @ layer.new_predicate.kernel.numpy() + layer.new_predicate.bias.numpy(),
            rtol=1e-4,
            atol=1e-5,
        )
        messages[s].append(hidden @ layer.subject_message.kernel.numpy())
        messages[o].append(hidden @ layer.object_message.kernel.numpy())
    for node, received in enumerate(messages):
        average = np.mean(received, axis=0) + layer.subject_message.bias.numpy()
        update = _leaky(average) @ layer.node_hidden.kernel.numpy()
        update = _leaky(update + layer.node_hidden.bias.numpy())
        expected = update @ layer.node_output.kernel.numpy() + layer.node_output.bias.numpy()
        np.testing.assert_allclose(new_nodes[node], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["width", "hidden"])
def test_size_below_one_is_refused_with_its_value(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        TripletConvolution(**{"width": 2, "hidden": 2, name: 0})


def test_serialisation_round_trip():
    layer = TripletConvolution(width=2, hidden=3, name="convolution")
    copy = tf.keras.layers.deserialize(tf.keras.layers.serialize(layer))
    nodes, edges, triples = np.ones((1, 2, 2)), np.ones((1, 1, 2)), [[[0, 1, 1]]]
    expected = _run(layer, nodes, edges, triples)
    _run(copy, nodes, edges, triples)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(_run(copy, nodes, edges, triples)[0], expected[0])
    assert copy.get_config() == layer.get_config()
