"""The image node, and dense graphs laid out as one GraphTensor."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from rgan_tf.graph import tensors


def test_image_node_is_joined_to_every_present_object():
    objects = tf.constant([[5, 3, 0], [2, 0, 0]])
    triples = tf.constant([[[0, 4, 1], [-1, -1, -1]], [[-1, -1, -1], [-1, -1, -1]]])

    with_image, with_relations = tensors.add_image_node(objects, triples)

    np.testing.assert_array_equal(with_image, [[5, 3, 0, 1], [2, 0, 0, 1]])
    np.testing.assert_array_equal(
        with_relations,
        [
            [[0, 4, 1], [-1, -1, -1], [0, 0, 3], [1, 0, 3], [-1, -1, -1]],
            [[-1, -1, -1], [-1, -1, -1], [0, 0, 3], [-1, -1, -1], [-1, -1, -1]],
        ],
    )


def test_triple_that_touches_padding_or_is_partly_filled_becomes_padding():
    objects = tf.constant([[5, 3, 0]])
    triples = tf.constant([[[0, 4, 2], [2, 4, 0], [0, -1, 1], [1, 2, 0]]])

    _, with_relations = tensors.add_image_node(objects, triples)

    np.testing.assert_array_equal(
        with_relations[0, :4], [[-1, -1, -1], [-1, -1, -1], [-1, -1, -1], [1, 2, 0]]
    )


def test_flat_graph_keeps_each_edge_inside_its_own_graph():
    nodes = tf.reshape(tf.range(6, dtype=tf.float32), [2, 3, 1])
    edges = tf.zeros([2, 2, 1])
    triples = tf.constant([[[0, 1, 2], [-1, -1, -1]], [[2, 1, 1], [0, 1, 0]]])

    graph = tensors.dense_to_graph_tensor(nodes, edges, triples)

    flat = tensors.flatten_batch(nodes)
    subjects = tensors.nodes_to_edges(graph, tensors.SUBJECT_END, flat)[:, 0]
    objects = tensors.nodes_to_edges(graph, tensors.OBJECT_END, flat)[:, 0]
    valid = graph.edge_sets[tensors.RELATION][tensors.VALID].numpy()
    np.testing.assert_array_equal(valid, [1, 0, 1, 1])
    np.testing.assert_array_equal(subjects.numpy()[valid == 1], [0, 5, 3])
    np.testing.assert_array_equal(objects.numpy()[valid == 1], [2, 4, 3])


def test_mean_over_edges_counts_both_ends_and_ignores_padding():
    # Node 0 is subject of edges 0 and 1, node 1 object of edge 0, node 2 object of 1; 3 is alone.
    triples = tf.constant([[[0, 1, 1], [0, 1, 2], [1, 1, 2], [-1, -1, -1]]])
    graph = tensors.dense_to_graph_tensor(tf.zeros([1, 4, 1]), tf.zeros([1, 4, 1]), triples)
    values = tf.constant([[2.0], [4.0], [10.0], [1000.0]])

    as_subject, as_object = tensors.mean_over_edges(graph, values)

    np.testing.assert_allclose(as_subject[:, 0], [(2 + 4) / 2, 10 / 2, 0, 0])
    np.testing.assert_allclose(as_object[:, 0], [0, 2 / 2, (4 + 10) / 2, 0])


def test_flattening_keeps_the_order():
    values = tf.random.stateless_normal([2, 3, 4, 5], [1, 2])
    flat = tensors.flatten_batch(values)
    assert flat.shape == (6, 4, 5)
    np.testing.assert_array_equal(tf.reshape(flat, values.shape), values)
