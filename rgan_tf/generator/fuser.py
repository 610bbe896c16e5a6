"""Object-image fuser: refined crop maps and graph vectors to one canvas, equations (8) and (9)."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rgan_tf.generator import blocks
from rgan_tf.generator.layout import box_coverage, warp_planes, warp_to_boxes

_OUTSIDE = -1e9  # attention logit of a pixel outside the box


class Fusion(NamedTuple):
    """The canvas and the attention scores.

    Attributes:
      canvas: [B, S, S, C].
      scores: [B, O, h, w, 1] float32, t_i of equation (8) before the warp into the box; with it
        `object_weights` gives M_i at any resolution.
    """

    canvas: tf.Tensor
    scores: tf.Tensor


def object_weights(
    scores: tf.Tensor,
    boxes: tf.Tensor,
    object_mask: tf.Tensor,
    size: int,
    masks: tf.Tensor | None = None,
) -> tf.Tensor:
    """The weights M_i of equation (8), which object owns a pixel, on a canvas of any size.

    Args:
      scores: [B, O, h, w, 1] float32 t_i, as in `Fusion`.
      boxes: [B, O, 4] float32 [y0, x0, y1, x1] in [0, 1].
      object_mask: [B, O] bool.
      size: side of the canvas, a Python integer.
      masks: [B, O, size, size] float32 logits of soft masks in their boxes; None for none.

    Returns:
      [B, O, size, size] float32. The weights of a pixel sum to 1 over the objects if any box
      covers it, else they are 0.
    """
    logits = warp_planes(scores, boxes, size, size)[:, :, 0]  # [B, O, S, S]
    if masks is not None:
        logits += tf.math.log_sigmoid(masks)  # [B, O, S, S]
    rows, columns = box_coverage(boxes, size, size)  # 2 x [B, O, S]
    rows *= tf.cast(object_mask, rows.dtype)[..., tf.newaxis]  # [B, O, S]
    covered = rows[..., :, tf.newaxis] * columns[..., tf.newaxis, :]  # [B, O, S, S]
    logits = tf.where(covered > 0, logits, _OUTSIDE)  # [B, O, S, S]
    return tf.nn.softmax(logits, axis=1) * covered  # [B, O, S, S]


def weighted_sum(weights: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
    """Sum over objects: [B, O, S, S] weights, [B, O, S, S, C] features -> [B, S, S, C]."""
    weights = tf.cast(weights, features.dtype)  # [B, O, S, S]
    return tf.reduce_sum(weights[..., tf.newaxis] * features, axis=1)  # [B, S, S, C]


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class ObjectImageFuser(tf.keras.layers.Layer):
    """Attends over the objects that cover a pixel and adds the image's own feature.

    With x_i the concatenation of object i's map and (repeated) vector, warped into its box, and
    x_r the vector of its relation with the image, repeated over the same box:

        (8)  M_i = softmax over objects of t_i,   t_i = f(x_i) . q(x_r) / sqrt(C)
             M_attn = sum_i M_i * l(x_i)
        (9)  canvas = attention_weight * M_attn + x_img

    Differs from the paper as printed: t_i is divided by sqrt(C) (PasteGAN's code); objects whose
    box does not cover a pixel are left out of its softmax, and a pixel outside all boxes gets no
    attention term; x_img, the concatenation of the image node's map and vector, passes through its
    own linear map to get the channels of M_attn. With soft masks s_i, which are not in the paper,
    t_i becomes t_i + log s_i: at pixels of its box that are not the object, a patch yields to the
    others. A pixel that only one box covers belongs to it, whatever its mask.

    f, q and l are 1 x 1 convolutions without bias. They are linear, so they are applied before the
    warp, on small maps, and t_i is contracted there too: equal to the equations but cheaper.

    Args:
      channels: channels C of the canvas, at least 1.
      attention_weight: lambda_attn of equation (9), not negative.

    Call args:
      maps: [B, O + 1, h, w, D] float32 refined crop maps, the image's last.
      object_vectors: [B, O, W] float32.
      image_vector: [B, W] float32.
      relation_vectors: [B, O, W] float32, relation of each object with the image.
      boxes: [B, O, 4] float32 [y0, x0, y1, x1] in [0, 1].
      object_mask: [B, O] bool.
      size: side of the canvas, a Python integer.
      masks: [B, O, size, size] float32 logits of soft masks in their boxes; None for none.

    Returns:
      `Fusion`.

    Raises:
      ValueError: if an argument is out of range.
    """

    def __init__(self, *, channels: int, attention_weight: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        if attention_weight < 0:
            raise ValueError(f"attention_weight must not be negative, got {attention_weight}")
        self.channels = channels
        self.attention_weight = attention_weight
        # f and l read the same input: one layer computes both.
        self.map_features = blocks.convolution(
            2 * channels, 1, use_bias=False, gain=0.5, name="map_features"
        )
        self.vector_features = _dense(2 * channels, name="vector_features")
        self.query = _dense(channels, name="query")
        self.image_map = blocks.convolution(channels, 1, gain=0.5, name="image_map")
        self.image_vector = _dense(channels, name="image_vector")

    def call(
        self,
        maps: tf.Tensor,
        object_vectors: tf.Tensor,
        image_vector: tf.Tensor,
        relation_vectors: tf.Tensor,
        boxes: tf.Tensor,
        object_mask: tf.Tensor,
        size: int,
        masks: tf.Tensor | None = None,
    ) -> Fusion:
        scores, features = self.scores(maps[:, :-1], object_vectors, relation_vectors)
        weights = object_weights(scores, boxes, object_mask, size, masks)  # [B, O, S, S]
        features = warp_to_boxes(features, boxes, size, size)  # [B, O, S, S, C]
        attended = weighted_sum(weights, features)  # [B, S, S, C]
        image = self.image_map(maps[:, -1])  # [B, h, w, C]
        image += self.image_vector(image_vector)[:, tf.newaxis, tf.newaxis]  # [B, h, w, C]
        whole = tf.zeros_like(boxes[:, :1]) + tf.constant([0.0, 0.0, 1.0, 1.0])  # [B, 1, 4]
        image = warp_to_boxes(image[:, tf.newaxis], whole, size, size)[:, 0]  # [B, S, S, C]
        return Fusion(self.attention_weight * attended + image, scores)

    def scores(
        self, maps: tf.Tensor, object_vectors: tf.Tensor, relation_vectors: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """t_i [B, O, h, w, 1] float32 and the features l(x_i) [B, O, h, w, C], not yet warped.

        `maps` is [B, O, h, w, D], without the image; for the rest see `call`.
        """
        objects, height, width, depth = maps.shape[1:]
        both = self.map_features(tf.reshape(maps, [-1, height, width, depth]))  # [B*O, h, w, 2C]
        both = tf.reshape(both, [-1, objects, height, width, 2 * self.channels])
        both += self.vector_features(object_vectors)[:, :, tf.newaxis, tf.newaxis]
        keys, values = tf.split(both, 2, axis=-1)  # 2 x [B, O, h, w, C]
        query = self.query(relation_vectors) / self.channels**0.5  # [B, O, C]
        scores = tf.reduce_sum(
            keys * query[:, :, tf.newaxis, tf.newaxis], axis=-1, keepdims=True
        )  # [B, O, h, w, 1]
        return tf.cast(scores, tf.float32), values  # softmax in float32

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "attention_weight": self.attention_weight,
        }


def _dense(units: int, *, name: str) -> tf.keras.layers.Dense:
    return tf.keras.layers.Dense(
        units,
        use_bias=False,
        kernel_initializer=tf.keras.initializers.VarianceScaling(0.5, mode="fan_in"),
        name=name,
    )
