"""A retriever as a user would write it: patches whose colour is near that of the first patch."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.retrieval.distance import l2_distance
from rgan_tf.retrieval.retriever import Patches, Retriever
from rgan_tf.retrieval.selection import Candidates, Options, Selection, best_in_turn


class NearestColour(Retriever):
    name = "nearest_colour"

    def embed(self, patches: Patches) -> tf.Tensor:
        crops = tf.cast(patches.crops, tf.float32)  # [..., h, w, 3]
        return tf.reduce_mean(crops, axis=[-3, -2])  # [..., 3]

    def choose(self, candidates: Candidates, options: Options) -> Selection:
        colours = candidates.embeddings  # [B, O, K, 3]
        distances = l2_distance(colours, colours[:, :1, :1])  # [B, O, K]
        return best_in_turn(-distances, candidates, options)
