"""Encodes scene graphs as vectors: embeddings followed by triplet convolutions."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rgan_tf.graph import tensors
from rgan_tf.graph.triplet_convolution import TripletConvolution
from rgan_tf.vocabulary import PADDING


class GraphEncoding(NamedTuple):
    """The encoding of a batch of graphs.

    Attributes:
      object_vectors: [B, O, W] float32, 0 for padded objects.
      image_vector: [B, W] float32, the `__image__` node.
      predicate_vectors: [B, T + O, W] float32, 0 for padded triples; the last O rows belong to
        the relations of object 0..O-1 with the image.
      triples: [B, T + O, 3] int32 with the image at index O, -1 = padding.
      object_mask: [B, O] bool, False = padding.
    """

    object_vectors: tf.Tensor
    image_vector: tf.Tensor
    predicate_vectors: tf.Tensor
    triples: tf.Tensor
    object_mask: tf.Tensor


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class SceneGraphEncoder(tf.keras.layers.Layer):
    """The graph network of sg2im; adds the `__image__` node itself.

    Args:
      num_objects: rows of the object vocabulary, including reserved ids; at least 2.
      num_predicates: rows of the predicate vocabulary, including the reserved id; at least 1.
      width: size W of all vectors.
      hidden: hidden size of the convolutions.
      layers: number of triplet convolutions, at least 1.

    Call args:
      inputs: dict with `objects` [B, O] int32 (0 = padding) and `triples` [B, T, 3] int32
        (-1 = padding), both without the image.

    Returns:
      A `GraphEncoding`.

    Raises:
      ValueError: if a count is too small.
    """

    def __init__(
        self,
        *,
        num_objects: int,
        num_predicates: int,
        width: int = 128,
        hidden: int = 512,
        layers: int = 5,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for name, value, lowest in (
            ("num_objects", num_objects, 2),
            ("num_predicates", num_predicates, 1),
            ("layers", layers, 1),
        ):
            if value < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {value}")
        self.num_objects = num_objects
        self.num_predicates = num_predicates
        self.width = width
        self.hidden = hidden
        self.layers = layers
        self.object_embedding = _embedding(num_objects, width, name="object_embedding")
        self.predicate_embedding = _embedding(num_predicates, width, name="predicate_embedding")
        self.convolutions = [
            TripletConvolution(width=width, hidden=hidden, name=f"convolution_{index}")
            for index in range(layers)
        ]

    def call(self, inputs: dict[str, tf.Tensor]) -> GraphEncoding:
        objects, triples = tensors.add_image_node(inputs["objects"], inputs["triples"])
        nodes = objects.shape[1]  # O + 1
        edges = triples.shape[1]  # T + O
        valid = tf.reduce_all(triples >= 0, axis=-1)  # [B, T + O]
        graph = tensors.dense_to_graph_tensor(
            self.object_embedding(objects),  # [B, O + 1, W]
            self.predicate_embedding(tf.maximum(triples[..., 1], 0)),  # [B, T + O, W]
            triples,
        )
        for convolution in self.convolutions:
            graph = convolution(graph)
        vectors = tf.reshape(
            graph.node_sets[tensors.OBJECT][tensors.STATE], [-1, nodes, self.width]
        )  # [B, O + 1, W]
        predicates = tf.reshape(
            graph.edge_sets[tensors.RELATION][tensors.STATE], [-1, edges, self.width]
        )  # [B, T + O, W]
        object_mask = objects[:, :-1] != PADDING  # [B, O]
        return GraphEncoding(
            object_vectors=vectors[:, :-1] * tf.cast(object_mask, vectors.dtype)[..., tf.newaxis],
            image_vector=vectors[:, -1],
            predicate_vectors=predicates * tf.cast(valid, predicates.dtype)[..., tf.newaxis],
            triples=triples,
            object_mask=object_mask,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_objects": self.num_objects,
            "num_predicates": self.num_predicates,
            "width": self.width,
            "hidden": self.hidden,
            "layers": self.layers,
        }


def _embedding(rows: int, width: int, *, name: str) -> tf.keras.layers.Embedding:
    # The He-initialised convolutions expect unit variance; Keras starts far smaller.
    return tf.keras.layers.Embedding(
        rows,
        width,
        embeddings_initializer=tf.keras.initializers.RandomNormal(stddev=1.0),
        name=name,
    )
