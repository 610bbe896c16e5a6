"""Graph convolution over (subject, predicate, object) triples, on a TF-GNN GraphTensor."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_gnn as tfgnn

from rgan_tf.graph import tensors


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class TripletConvolution(tf.keras.layers.Layer):
    """One layer of the scene-graph encoder (sg2im; method of the paper, section 3.1).

    For every edge, `g1` maps [subject; predicate; object] to a message for the subject, the new
    predicate vector and a message for the object. Every node averages the messages of all edges
    that touch it, and `g2` maps the average to the new node vector. `g1` ends linear and `g2`
    starts with the activation; there is no activation on the outputs.

    Two rewritings save arithmetic without changing the result: the first linear map of `g1` is
    applied to its three parts separately (to nodes, before they are copied to edges), and the
    linear message maps are applied after the average.

    Args:
      width: size of the new node and predicate vectors, at least 1.
      hidden: size of hidden vectors and messages, at least 1.

    Call args:
      graph: from `tensors.dense_to_graph_tensor`, node states [B * N, W], edge states [B * E, W].

    Returns:
      The same graph with new states: nodes [B * N, width], edges [B * E, width]. The order of nodes
      and edges does not matter, and padded edges do not affect nodes.

    Raises:
      ValueError: if a size is below 1.
    """

    def __init__(self, *, width: int, hidden: int, **kwargs: Any):
        super().__init__(**kwargs)
        for name, value in (("width", width), ("hidden", hidden)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.width = width
        self.hidden = hidden
        self.edge_subject = _dense(hidden, use_bias=False, fan_parts=3, name="edge_subject")
        self.edge_predicate = _dense(hidden, use_bias=True, fan_parts=3, name="edge_predicate")
        self.edge_object = _dense(hidden, use_bias=False, fan_parts=3, name="edge_object")
        self.new_predicate = _dense(width, use_bias=True, name="new_predicate")
        self.subject_message = _dense(hidden, use_bias=True, name="subject_message")
        self.object_message = _dense(hidden, use_bias=False, name="object_message")
        self.node_hidden = _dense(hidden, use_bias=True, name="node_hidden")
        self.node_output = _dense(width, use_bias=True, name="node_output")

    def call(self, graph: tfgnn.GraphTensor) -> tfgnn.GraphTensor:
        nodes = graph.node_sets[tensors.OBJECT][tensors.STATE]  # [B * N, W]
        predicates = graph.edge_sets[tensors.RELATION][tensors.STATE]  # [B * E, W]
        hidden = tf.nn.leaky_relu(
            tensors.nodes_to_edges(graph, tensors.SUBJECT_END, self.edge_subject(nodes))
            + self.edge_predicate(predicates)
            + tensors.nodes_to_edges(graph, tensors.OBJECT_END, self.edge_object(nodes)),
            alpha=0.01,
        )  # [B * E, hidden]
        as_subject, as_object = tensors.mean_over_edges(graph, hidden)  # 2 x [B * N, hidden]
        average = self.subject_message(as_subject) + self.object_message(as_object)
        update = self.node_hidden(tf.nn.leaky_relu(average, alpha=0.01))  # [B * N, hidden]
        nodes = self.node_output(tf.nn.leaky_relu(update, alpha=0.01))  # [B * N, width]
        return graph.replace_features(
            node_sets={tensors.OBJECT: {tensors.STATE: nodes}},
            edge_sets={
                tensors.RELATION: {
                    tensors.STATE: self.new_predicate(hidden),  # [B * E, width]
                    tensors.VALID: graph.edge_sets[tensors.RELATION][tensors.VALID],  # [B * E]
                }
            },
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width, "hidden": self.hidden}


def _dense(units: int, *, use_bias: bool, name: str, fan_parts: int = 1) -> tf.keras.layers.Dense:
    # He initialisation of the whole map: a part of a split map gets 1 / fan_parts of its inputs.
    return tf.keras.layers.Dense(
        units,
        use_bias=use_bias,
        kernel_initializer=tf.keras.initializers.VarianceScaling(
            2.0 / fan_parts, mode="fan_in", distribution="truncated_normal"
        ),
        name=name,
    )
