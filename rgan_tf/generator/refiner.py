"""Object-object refiner: graph convolution with feature maps in place of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.generator import blocks
from rgan_tf.graph import tensors


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class TripletMapConvolution(tf.keras.layers.Layer):
    """A 3 x 3 convolution over [subject map; predicate vector repeated; object map] per edge.

    Equal to concatenating and convolving, but maps are convolved once per node instead of once per
    edge, and the predicate, constant over the map, needs one product per kernel tap: a tap counts
    at a position if it does not reach into the zero padding there.

    Args:
      filters: output channels, at least 1.

    Call args:
      maps: [N, h, w, C] float32, one per node of `graph`.
      vectors: [E, W] float32, one per edge of `graph`.
      graph: GraphTensor with N nodes and E edges.

    Returns:
      [E, h, w, filters] float32.

    Raises:
      ValueError: if filters < 1.
    """

    def __init__(self, *, filters: int, **kwargs: Any):
        super().__init__(**kwargs)
        if filters < 1:
            raise ValueError(f"filters must be at least 1, got {filters}")
        self.filters = filters
        # Each of the three parts starts with a third of the He variance of the whole convolution;
        # a predicate passes through up to nine taps.
        self.ends = blocks.convolution(2 * filters, 3, use_bias=False, gain=3**-0.5, name="ends")
        self.taps = tf.keras.layers.Dense(
            9 * filters,
            use_bias=False,
            kernel_initializer=tf.keras.initializers.VarianceScaling(2.0 / 27.0, mode="fan_in"),
            name="taps",
        )

    def build(self, input_shape) -> None:
        self.bias = self.add_weight("bias", [self.filters], initializer="zeros")
        super().build(input_shape)

    def call(self, maps: tf.Tensor, vectors: tf.Tensor, graph: Any) -> tf.Tensor:
        height, width = maps.shape[1:3]
        subjects, objects = tf.split(self.ends(maps), 2, axis=-1)  # 2 x [N, h, w, F]
        taps = tf.reshape(self.taps(vectors), [-1, 9, self.filters])  # [E, 9, F]
        reach = tf.constant(_taps_inside(height, width))  # [h * w, 9]
        reach = tf.cast(reach, taps.dtype)  # [h * w, 9]
        predicates = tf.matmul(reach[tf.newaxis], taps)  # [E, h * w, F]
        predicates = tf.reshape(predicates, [-1, height, width, self.filters])  # [E, h, w, F]
        return (
            tensors.nodes_to_edges(graph, tensors.SUBJECT_END, subjects)
            + tensors.nodes_to_edges(graph, tensors.OBJECT_END, objects)
            + predicates
            + self.bias
        )  # [E, h, w, F]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class RefinerLayer(tf.keras.layers.Layer):
    """One graph convolution over crop maps with average pooling over edges and a residual sum.

    As in `TripletConvolution`, the role-specific linear maps come after the average.

    Args:
      channels: channels C of the maps, at least 1.
      hidden: channels of the messages, at least 1.

    Call args:
      maps: [B, N, h, w, C] float32.
      vectors: [B, E, W] float32 predicate vectors.
      triples: [B, E, 3] int32, -1 = padding.

    Returns:
      [B, N, h, w, C] float32.

    Raises:
      ValueError: if a size is below 1.
    """

    def __init__(self, *, channels: int, hidden: int, **kwargs: Any):
        super().__init__(**kwargs)
        for name, value in (("channels", channels), ("hidden", hidden)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.channels = channels
        self.hidden = hidden
        self.edge = TripletMapConvolution(filters=hidden, name="edge")
        self.messages = blocks.convolution(hidden, 1, name="messages")
        self.update = blocks.convolution(channels, 3, gain=0.3, name="update")

    def call(self, maps: tf.Tensor, vectors: tf.Tensor, triples: tf.Tensor) -> tf.Tensor:
        return maps + self.refinement(maps, vectors, triples)

    def refinement(self, maps: tf.Tensor, vectors: tf.Tensor, triples: tf.Tensor) -> tf.Tensor:
        """What is added to the maps, [B, N, h, w, C]; for the arguments see `call`."""
        nodes, height, width = maps.shape[1:4]
        graph = tensors.dense_to_graph_tensor(maps, vectors, triples)
        flat = tensors.flatten_batch(maps)  # [B * N, h, w, C]
        edges = blocks.activate(
            self.edge(flat, tensors.flatten_batch(vectors), graph)
        )  # [B * E, h, w, F]
        roles = tf.concat(tensors.mean_over_edges(graph, edges), axis=-1)  # [B * N, h, w, 2F]
        roles = tf.reshape(roles, [-1, height, width, 2 * self.hidden])  # static shape again
        update = self.update(blocks.activate(self.messages(roles)))  # [B * N, h, w, C]
        return tf.reshape(update, [-1, nodes, height, width, self.channels])  # [B, N, h, w, C]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels, "hidden": self.hidden}


def _taps_inside(height: int, width: int) -> np.ndarray:
    """[h * w, 9] float32: 1 where a tap of a 3 x 3 kernel reads inside the map."""
    rows = np.arange(height)[:, None, None, None] + np.arange(-1, 2)[None, None, :, None]
    columns = np.arange(width)[None, :, None, None] + np.arange(-1, 2)[None, None, None, :]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return inside.reshape(height * width, 9).astype(np.float32)
