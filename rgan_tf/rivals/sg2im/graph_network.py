"""The graph network of sg2im, section 3 of its paper: embeddings and graph convolutions.

The encoder of our own stages (`rgan_tf.graph`) has other activations and one bias less per layer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rgan_tf.graph import tensors
from rgan_tf.vocabulary import PADDING


class Encoding(NamedTuple):
    """A batch of encoded graphs; the node `__image__` has index O.

    Attributes:
      vectors: [B, O + 1, W] float32.
      embeddings: [B, O + 1, W] float32, of the categories, before any convolution.
      object_mask: [B, O] bool, False = padding.
    """

    vectors: tf.Tensor
    embeddings: tf.Tensor
    object_mask: tf.Tensor


class GraphNetwork(tf.keras.layers.Layer):
    """Vectors of all objects of a graph.

    Args:
      num_objects, num_predicates: rows of the vocabulary's tables.
      width: W of all vectors.
      hidden: H of the perceptrons.
      layers: number of convolutions.

    Call args:
      graph: dict with `objects` [B, O] int32 (0 = padding) and `triples` [B, T, 3] int32 (-1 =
        padding), both without the image.

    Returns:
      An `Encoding`.
    """

    def __init__(
        self,
        *,
        num_objects: int,
        num_predicates: int,
        width: int,
        hidden: int,
        layers: int,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.object_embedding = _embedding(num_objects, width, "object_embedding")
        self.predicate_embedding = _embedding(num_predicates, width, "predicate_embedding")
        self.convolutions = [
            GraphConvolution(width=width, hidden=hidden, name=f"convolution_{index}")
            for index in range(layers)
        ]

    def call(self, graph: dict[str, tf.Tensor]) -> Encoding:
        objects, triples = tensors.add_image_node(graph["objects"], graph["triples"])
        embeddings = self.object_embedding(objects)  # [B, O + 1, W]
        predicates = self.predicate_embedding(tf.maximum(triples[..., 1], 0))  # [B, T + O, W]
        vectors = embeddings  # [B, O + 1, W]
        for convolution in self.convolutions:
            vectors, predicates = convolution(vectors, predicates, triples)
        return Encoding(vectors, embeddings, objects[:, :-1] != PADDING)


class GraphConvolution(tf.keras.layers.Layer):
    """One graph convolution: g1 on every triple, the mean per object, g2 on every object.

    Args:
      width: W of all vectors.
      hidden: H.

    Call args:
      vectors: [B, N, W] float32.
      predicates: [B, E, W] float32.
      triples: [B, E, 3] int32 (subject, predicate, object), -1 = padding.

    Returns:
      New vectors [B, N, W] and predicates [B, E, W]. A node without triples gets g2(0).
    """

    def __init__(self, *, width: int, hidden: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.split = [hidden, width, hidden]
        self.g1 = [_linear_relu(hidden, "g1_hidden"), _linear_relu(sum(self.split), "g1_output")]
        self.g2 = [_linear_relu(hidden, "g2_hidden"), _linear_relu(width, "g2_output")]

    def call(
        self, vectors: tf.Tensor, predicates: tf.Tensor, triples: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        nodes, edges = vectors.shape[1], predicates.shape[1]
        graph = tensors.dense_to_graph_tensor(vectors, predicates, triples)
        flat = tensors.flatten_batch(vectors)  # [B * N, W]
        values = tf.concat(
            [
                tensors.nodes_to_edges(graph, tensors.SUBJECT_END, flat),
                tensors.flatten_batch(predicates),
                tensors.nodes_to_edges(graph, tensors.OBJECT_END, flat),
            ],
            axis=-1,
        )  # [B * E, 3 W]
        for layer in self.g1:
            values = layer(values)  # [B * E, H], [B * E, H + W + H]
        to_subject, predicates, to_object = tf.split(values, self.split, axis=-1)
        messages = (
            tensors.mean_over_edges(graph, to_subject)[0]
            + tensors.mean_over_edges(graph, to_object)[1]
        )  # [B * N, H], of all triples that touch the node at either end
        for layer in self.g2:
            messages = layer(messages)  # [B * N, H], [B * N, W]
        width = predicates.shape[-1]
        return tf.reshape(messages, [-1, nodes, width]), tf.reshape(predicates, [-1, edges, width])


def _linear_relu(units: int, name: str) -> tf.keras.layers.Dense:
    return tf.keras.layers.Dense(
        units, activation="relu", kernel_initializer="he_normal", name=name
    )


def _embedding(rows: int, width: int, name: str) -> tf.keras.layers.Embedding:
    normal = tf.keras.initializers.RandomNormal(stddev=1.0)
    return tf.keras.layers.Embedding(rows, width, embeddings_initializer=normal, name=name)
