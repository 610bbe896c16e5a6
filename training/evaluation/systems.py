"""The systems that are compared: each turns a batch of scenes into images."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from rgan_tf.generator.sg2im import pasted_canvas
from rgan_tf.model.networks import RetrievalNetworks, Sg2imNetworks
from rgan_tf.model.patch_library import PatchLibrary
from rgan_tf.model.synthesis import Synthesis, reconstruct, synthesise

Batch = dict[str, tf.Tensor]


class System(NamedTuple):
    """One row of the comparison.

    Attributes:
      name: what made the images.
      boxes: "predicted" or "true", the layout used.
      images: batch -> [B, H, W, 3] float32 in [-1, 1].
    """

    name: str
    boxes: str
    images: Callable[[Batch], tf.Tensor]


def systems_of(
    networks: RetrievalNetworks,
    sg2im: Sg2imNetworks,
    *,
    image_size: int,
    seed: int,
    library: PatchLibrary | None = None,
) -> list[System]:
    """Every system that the three trained stages offer, under both layouts.

    The pasted canvas shows the very patches that the generator received. Rows draw from
    (seed, image id), so a scene's result does not depend on its batch.
    """

    def retrieved(batch: Batch, boxes: tf.Tensor | None) -> Synthesis:
        seeds = row_seeds(batch, seed)
        return synthesise(networks, batch, row_seeds=seeds, boxes=boxes, library=library)

    def ours(batch: Batch, boxes: tf.Tensor | None) -> tf.Tensor:
        return retrieved(batch, boxes).images

    def pasted(batch: Batch, boxes: tf.Tensor | None) -> tf.Tensor:
        made = retrieved(batch, boxes)
        canvas = pasted_canvas(made.crops, made.boxes, batch["objects"] > 0, image_size)
        return tf.clip_by_value(canvas, -1.0, 1.0)  # rounding of the interpolation exceeds it

    def parametric(batch: Batch, boxes: tf.Tensor | None) -> tf.Tensor:
        graph = {"objects": batch["objects"], "triples": batch["triples"]}
        encoding = sg2im.encoder(graph)
        if boxes is None:
            boxes = sg2im.predict_boxes(graph, encoding)  # [B, O, 4]
        return sg2im.decoder(encoding.object_vectors, boxes, encoding.object_mask)

    both = [
        System(name, layout, _with_layout(function, layout))
        for name, function in (
            ("retrievegan", ours),
            ("sg2im", parametric),
            ("pasted_canvas", pasted),
        )
        for layout in ("predicted", "true")
    ]
    oracle = System(
        "own_patches", "true", lambda batch: reconstruct(networks, batch, batch["boxes"])
    )
    return [*both, oracle]


def row_seeds(batch: Batch, seed: int) -> tf.Tensor:
    """[B] int32, a function of the seed and of each row's image."""
    return tf.cast((batch["image_id"] * 1_000_003 + seed) % (2**31 - 1), tf.int32)


def _with_layout(function, layout: str) -> Callable[[Batch], tf.Tensor]:
    if layout == "true":
        return lambda batch: function(batch, batch["boxes"])
    return lambda batch: function(batch, None)
