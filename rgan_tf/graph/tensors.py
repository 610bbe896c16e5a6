"""Padded scene graphs as dense tensors, and the same graphs as one TF-GNN GraphTensor.

The GraphTensor is built inside the model from dense tensors, because only dense tensors pass
through `fit`, `MirroredStrategy` and an exported signature unchanged. All graphs of a batch are in
one component: node `n` of graph `b` has the flat index `b * N + n`. Padded edges stay in the
tensor, so that shapes are static, and have 0 in the edge feature `valid`.
"""

from __future__ import annotations

import tensorflow as tf
import tensorflow_gnn as tfgnn

from rgan_tf.vocabulary import IMAGE, IN_IMAGE, PADDING

OBJECT = "object"
RELATION = "relation"
STATE = tfgnn.HIDDEN_STATE
VALID = "valid"
SUBJECT_END = tfgnn.SOURCE
OBJECT_END = tfgnn.TARGET


def add_image_node(objects: tf.Tensor, triples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Adds the `__image__` node and one `__in_image__` triple per object, as sg2im does.

    Args:
      objects: [B, O] int32 category ids, 0 = padding.
      triples: [B, T, 3] int32 rows (subject, predicate, object), -1 = padding. A triple that
        touches a padded object becomes padding.

    Returns:
      objects [B, O + 1] int32 with `__image__` last, and triples [B, T + O, 3] int32 whose last O
      rows are (o, `__in_image__`, O) in the order of the objects, -1 for padded objects.
    """
    objects = tf.cast(objects, tf.int32)  # [B, O]
    triples = tf.cast(triples, tf.int32)  # [B, T, 3]
    present = objects != PADDING  # [B, O]
    valid = tf.reduce_all(triples >= 0, axis=-1)  # [B, T]
    for end in (0, 2):
        index = tf.where(valid, triples[..., end], 0)  # [B, T]
        valid &= tf.gather(present, index, batch_dims=1)  # [B, T]
    triples = tf.where(valid[..., tf.newaxis], triples, -1)  # [B, T, 3]

    positions = tf.broadcast_to(tf.range(objects.shape[1]), tf.shape(objects))  # [B, O]
    image_triples = tf.stack(
        [
            positions,
            tf.fill(tf.shape(positions), IN_IMAGE),
            tf.fill(tf.shape(positions), objects.shape[1]),
        ],
        axis=-1,
    )  # [B, O, 3]
    image_triples = tf.where(present[..., tf.newaxis], image_triples, -1)  # [B, O, 3]
    image_node = tf.fill([tf.shape(objects)[0], 1], IMAGE)  # [B, 1]
    return tf.concat([objects, image_node], axis=1), tf.concat([triples, image_triples], axis=1)


def dense_to_graph_tensor(
    object_features: tf.Tensor, predicate_features: tf.Tensor, triples: tf.Tensor
) -> tfgnn.GraphTensor:
    """Lays a batch of padded graphs out as one flat GraphTensor.

    Args:
      object_features: [B, N, ...] float32, one row per node, `__image__` included.
      predicate_features: [B, E, ...] float32, one row per triple.
      triples: [B, E, 3] int32, rows (subject, predicate, object), -1 = padding.

    Returns:
      One component with B * N nodes in the set `object` and B * E edges in the set `relation`,
      both with the feature `hidden_state`; the edges also with `valid` [B * E] float32 in {0, 1}.
    """
    nodes = object_features.shape[1]
    batch = tf.shape(triples)[0]
    offsets = tf.range(batch)[:, tf.newaxis] * nodes  # [B, 1]
    # Padded edges point at node 0 of their own graph: a valid index whose value never counts.
    subjects = tf.maximum(triples[..., 0], 0) + offsets  # [B, E]
    targets = tf.maximum(triples[..., 2], 0) + offsets  # [B, E]
    valid = tf.reduce_all(triples >= 0, axis=-1)  # [B, E]
    return tfgnn.GraphTensor.from_pieces(
        node_sets={
            OBJECT: tfgnn.NodeSet.from_fields(
                features={STATE: flatten_batch(object_features)},
                sizes=tf.reshape(batch * nodes, [1]),
            )
        },
        edge_sets={
            RELATION: tfgnn.EdgeSet.from_fields(
                features={
                    STATE: flatten_batch(predicate_features),
                    VALID: tf.reshape(tf.cast(valid, tf.float32), [-1]),
                },
                sizes=tf.reshape(batch * triples.shape[1], [1]),
                adjacency=tfgnn.Adjacency.from_indices(
                    (OBJECT, tf.reshape(subjects, [-1])), (OBJECT, tf.reshape(targets, [-1]))
                ),
            )
        },
    )


def nodes_to_edges(graph: tfgnn.GraphTensor, end: int, values: tf.Tensor) -> tf.Tensor:
    """Gives every edge the value of the node at one of its ends.

    Args:
      graph: from `dense_to_graph_tensor`.
      end: `SUBJECT_END` or `OBJECT_END`.
      values: [B * N, ...] one row per node.

    Returns:
      [B * E, ...]
    """
    return tfgnn.broadcast_node_to_edges(graph, RELATION, end, feature_value=values)


def mean_over_edges(graph: tfgnn.GraphTensor, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Averages edge values per node over all valid edges that touch it at either end.

    The two roles are returned separately, because a role-specific linear map is cheaper after the
    sum than before it, with the same result: the average of `A(values)` at subjects and
    `B(values)` at objects is `A(first) + B(second)`.

    Args:
      graph: from `dense_to_graph_tensor`.
      values: [B * E, ...] one row per edge.

    Returns:
      Two tensors [B * N, ...]: the sum over edges with the node as subject, and as object, each
      divided by the number of valid edges that touch the node (0 without any).
    """
    valid = tf.cast(graph.edge_sets[RELATION][VALID], values.dtype)  # [E']
    masked = values * tf.reshape(valid, [-1] + [1] * (values.shape.rank - 1))  # [E', ...]
    sums, counts = [], []
    for end in (SUBJECT_END, OBJECT_END):
        sums.append(
            tfgnn.pool_edges_to_node(graph, RELATION, end, "sum", feature_value=masked)
        )  # [N', ...]
        counts.append(
            tfgnn.pool_edges_to_node(graph, RELATION, end, "sum", feature_value=valid)
        )  # [N']
    count = tf.maximum(counts[0] + counts[1], 1.0)  # [N']
    count = tf.reshape(count, [-1] + [1] * (values.shape.rank - 1))  # [N', 1...]
    return sums[0] / count, sums[1] / count


def flatten_batch(values: tf.Tensor) -> tf.Tensor:
    """[B, N, ...] -> [B * N, ...], keeping known static sizes."""
    return tf.reshape(values, [-1, *values.shape[2:]])
