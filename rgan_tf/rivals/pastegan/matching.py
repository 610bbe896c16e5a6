"""Crop matching: a generated object has to look like its patch, in the sense of the encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from rgan_tf.fixed_order import FixedOrderTape
from rgan_tf.losses.basic import mean_over_objects
from rgan_tf.model.present import PresentObjects

Encode = Callable[[tf.Tensor], tf.Tensor]
"""[N, S, S, 3] -> [N, h, w, D]."""


def crop_matching_loss(
    encode: Encode,
    crops: tf.Tensor,
    selected: tf.Tensor,
    object_mask: tf.Tensor,
    *,
    keeps_padding: bool = False,
) -> tf.Tensor:
    """Mean absolute difference of the maps of generated and selected patches.

    The gradient reaches `crops` alone: neither the encoder, which could satisfy the loss by
    shrinking its output, nor the selected patches.

    Args:
      encode: the live crop encoder.
      crops: [B, O, S, S, 3] float32 in [-1, 1], cut out of the generated images.
      selected: [B, O, S, S, 3] float32 in [-1, 1], the patches that made them.
      object_mask: [B, O] bool, objects that were drawn from a patch.
      keeps_padding: see `PresentObjects`.

    Returns:
      [B] float32, the mean over objects without the node `__image__`.
    """
    present = PresentObjects(object_mask, keeps_padding=keeps_padding)  # M objects
    found = without_weight_gradients(encode)(present.take(crops))  # [M, h, w, D]
    wanted = tf.stop_gradient(encode(tf.stop_gradient(present.take(selected))))  # [M, h, w, D]
    distance = tf.reduce_mean(tf.abs(found - wanted), axis=[1, 2, 3])  # [M]
    return mean_over_objects(present.put(distance), object_mask)  # [B]


def without_weight_gradients(encode: Encode) -> Encode:
    """The same function, whose gradient reaches its argument and none of its variables."""

    @tf.custom_gradient
    def forward(crops: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(upstream: tf.Tensor, variables: Sequence[tf.Variable] = ()) -> tuple:
            (of_crops,) = tape.gradient(maps, [crops], output_gradients=[upstream])
            return of_crops, [None] * len(variables)

        with FixedOrderTape(persistent=True) as tape:  # an outer one may ask twice
            tape.watch(crops)
            maps = encode(crops)
        return maps, gradient

    return forward
