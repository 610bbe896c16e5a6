"""The two losses that train retrieval, from a retriever's result."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.config import RetrievalConfig
from rgan_tf.losses.retrieval import (
    cooccurrence_loss,
    expected_cooccurrence_loss,
    selection_loss,
    sharing_pixels,
)
from rgan_tf.retrieval.retriever import Retrieved


def retrieval_losses(
    settings: RetrievalConfig,
    retrieved: Retrieved,
    object_mask: tf.Tensor,
    anchors: tf.Tensor,
    boxes: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """The ground-truth selection loss and the co-occurrence loss of one batch.

    Args:
      settings: choose the forms of the losses.
      retrieved: from a retriever; a loss without its part is 0.
      object_mask: [B, O] bool.
      anchors: [B] int32, the objects whose own patch is the query of the selection loss.
      boxes: [B, O, 4] float32, of the objects.

    Returns:
      `selection` and `cooccurrence`, [B] float32 each.
    """
    nothing = tf.zeros(tf.shape(object_mask)[:1])  # [B]
    losses = {"selection": nothing, "cooccurrence": nothing}
    if retrieved.compared is not None:
        losses["selection"] = selection_loss(
            retrieved.compared.own,
            retrieved.compared.candidates,
            retrieved.compared.valid,
            object_mask,
            anchors,
            scale=retrieved.compared.scale,
            form=settings.selection_loss,
            left_out=retrieved.compared.left_out,
            sharing=sharing_objects(settings, boxes),
        )  # [B]
    if retrieved.related is not None:
        weights, probabilities, vectors = retrieved.related
        if settings.cooccurrence_loss == "expected":
            losses["cooccurrence"] = expected_cooccurrence_loss(probabilities, vectors, object_mask)
        else:
            losses["cooccurrence"] = cooccurrence_loss(weights, vectors, object_mask)  # [B]
    return losses


def sharing_objects(settings: RetrievalConfig, boxes: tf.Tensor) -> tf.Tensor | None:
    """[B, O, O] bool, pairs that the selection loss leaves out; None if it takes them all."""
    return None if settings.shared_pixels else sharing_pixels(boxes)


def anchor_mask(settings: RetrievalConfig, object_mask: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """[B, O] bool: objects whose patch can be the query of the selection loss.

    A patch that shares pixels with all others teaches nothing.

    Args:
      settings: say whether that matters.
      object_mask: [B, O] bool.
      boxes: [B, O, 4] float32, of the objects.
    """
    sharing = sharing_objects(settings, boxes)  # [B, O, O]
    if sharing is None:
        return object_mask
    itself = tf.cast(tf.eye(object_mask.shape[1]), tf.bool)  # [O, O]
    apart = object_mask[:, tf.newaxis] & ~sharing & ~itself  # [B, O, O]
    useful = object_mask & tf.reduce_any(apart, axis=-1)  # [B, O]
    return tf.where(tf.reduce_any(useful, axis=-1, keepdims=True), useful, object_mask)
