"""What sg2im reads from an object vector besides its box: a mask, and with it a relation."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rgan_tf.generator import blocks
from rgan_tf.rivals.normalization import group_normalization


class MaskNetwork(tf.keras.layers.Layer):
    """Grows one soft mask per object from its vector, doubling a map of one cell.

    Args:
      vector_width: W of the vectors.
      width: channels of the maps; if it is not W, a linear map comes first.
      doublings: n; the mask has a side of M = 2^n cells.

    Call args:
      vectors: [B, O, W] float32.

    Returns:
      [B, O, M, M] float32 in (0, 1).
    """

    def __init__(self, *, vector_width: int, width: int, doublings: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.width = width
        self.narrow = tf.keras.layers.Dense(width, name="narrow") if width != vector_width else None
        self.blocks = [
            (
                group_normalization(width, name=f"normalization_{index}"),
                blocks.convolution(width, 3, name=f"convolution_{index}"),
            )
            for index in range(doublings)
        ]
        self.output_layer = blocks.convolution(1, 1, name="output_layer")

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        objects = vectors.shape[1]
        if self.narrow is not None:
            vectors = self.narrow(vectors)  # [B, O, C]
        maps = tf.reshape(vectors, [-1, 1, 1, self.width])  # [B * O, 1, 1, C]
        for normalization, convolution in self.blocks:
            maps = normalization(blocks.upsample(maps))  # [B * O, m, m, C]
            maps = tf.nn.relu(convolution(maps))  # [B * O, m, m, C]
        masks = tf.sigmoid(self.output_layer(maps))  # [B * O, M, M, 1]
        return tf.reshape(masks, [-1, objects, *masks.shape[1:3]])  # [B, O, M, M]


class RelationHead(tf.keras.layers.Layer):
    """Names the predicate of a triple from both predicted boxes and both embeddings.

    The embeddings are those before the graph network, which knows the answer.

    Args:
      num_predicates: rows of the predicate vocabulary.
      hidden: of the perceptron.

    Call args:
      boxes: [B, O, 4] float32, predicted.
      embeddings: [B, O, W] float32.
      triples: [B, T, 3] int32, -1 = padding.

    Returns:
      [B, T, num_predicates] float32 logits; meaningless for padding. They are not negative: the
      public head has a ReLU after its last linear map too.
    """

    def __init__(self, *, num_predicates: int, hidden: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.hidden_layer = tf.keras.layers.Dense(
            hidden, activation="relu", kernel_initializer="he_normal", name="hidden_layer"
        )
        self.output_layer = tf.keras.layers.Dense(
            num_predicates, activation="relu", kernel_initializer="he_normal", name="output_layer"
        )

    def call(self, boxes: tf.Tensor, embeddings: tf.Tensor, triples: tf.Tensor) -> tf.Tensor:
        ends = [tf.maximum(triples[..., end], 0) for end in (0, 2)]  # [B, T] each
        values = [
            tf.gather(source, end, batch_dims=1) for source in (boxes, embeddings) for end in ends
        ]  # 2 x [B, T, 4], 2 x [B, T, W]
        return self.output_layer(self.hidden_layer(tf.concat(values, axis=-1)))  # [B, T, P]
