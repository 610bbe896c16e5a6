"""The compared systems: each turns a batch of scenes into images."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from rgan_tf.generator.sg2im import pasted_canvas
from rgan_tf.model.networks import RetrievalNetworks, Sg2imNetworks
from rgan_tf.model.synthesis import Synthesis, reconstruct, synthesise
from rgan_tf.retrieval.patch_library import PatchLibrary
from rgan_tf.retrieval.retriever import Retriever
from rgan_tf.retrieval.rules import LEARNED
from training.evaluation.names import FIRST_STAGE, system_name, system_names

Batch = dict[str, tf.Tensor]


class Drawn(NamedTuple):
    """Images [B, H, W, 3] float32 in [-1, 1] and the layout [B, O, 4] in which they were drawn.

    Without a layout (`boxes` is None) its objects cannot be judged, and these metrics are left out.
    """

    images: tf.Tensor
    boxes: tf.Tensor | None


class System(NamedTuple):
    """One row of the comparison.

    Attributes:
      name: of the system.
      boxes: "predicted" or "true", the layout used.
      draw: makes the images of a batch.
    """

    name: str
    boxes: str
    draw: Callable[[Batch], Drawn]

    @property
    def title(self) -> str:
        """The system and its boxes, as in the names of its metrics."""
        return f"{self.name}/{self.boxes}_boxes"


Drawing = Callable[[Batch, tf.Tensor | None, tf.Tensor], Synthesis]

LAYOUTS = ("predicted", "true")
BoxesOf = Callable[[Batch, str], tf.Tensor | None]
"""The boxes [B, O, 4] of a batch in one of `LAYOUTS`; None where the drawing predicts them."""


def drawing_with(
    networks: RetrievalNetworks,
    *,
    retriever: Retriever | None = None,
    library: PatchLibrary | None = None,
    repeats: bool = True,
    noise: bool = True,
) -> Drawing:
    """(batch, boxes [B, O, 4] or None, seeds [B] int32) -> what `synthesise` makes of it.

    Without noise the seeds are ignored.
    """

    def draw(batch: Batch, boxes: tf.Tensor | None, seeds: tf.Tensor) -> Synthesis:
        return synthesise(
            networks,
            batch,
            row_seeds=seeds if noise else None,
            boxes=boxes,
            retriever=retriever,
            library=library,
            repeats=repeats,
        )

    return draw


def systems_of(
    drawing: Drawing,
    networks: RetrievalNetworks,
    sg2im: Sg2imNetworks,
    *,
    image_size: int,
    seed: int,
    rule: str = LEARNED,
) -> list[System]:
    """Every system that the three trained stages offer, under both layouts.

    The pasted canvas shows the same patches that the generator gets. Rows draw from (seed, image
    id), so a scene's result does not depend on its batch. Both layouts of a system share one traced
    function, as tracing takes seconds each.

    Args:
      drawing: makes the images and chooses their patches.
      networks, sg2im: of the stages.
      image_size: H = W, in px.
      seed: of the random retrieval.
      rule: the name of the retriever that chooses the patches.
    """

    def generated(batch: Batch, boxes: tf.Tensor) -> Drawn:
        made = drawing(batch, boxes, row_seeds(batch, seed))
        return Drawn(made.images, made.boxes)

    def pasted(batch: Batch, boxes: tf.Tensor) -> Drawn:
        made = drawing(batch, boxes, row_seeds(batch, seed))
        canvas = pasted_canvas(made.crops, made.boxes, batch["objects"] > 0, image_size)
        # The interpolation may exceed the range by rounding.
        return Drawn(tf.clip_by_value(canvas, -1.0, 1.0), made.boxes)

    def parametric(batch: Batch, boxes: tf.Tensor) -> Drawn:
        encoding = sg2im.encoder({"objects": batch["objects"], "triples": batch["triples"]})
        return Drawn(sg2im.decoder(encoding.object_vectors, boxes, encoding.object_mask), boxes)

    def own(batch: Batch) -> Drawn:
        return Drawn(reconstruct(networks, batch, batch["boxes"]), batch["boxes"])

    by_networks = boxes_by(networks)
    drawers = {
        system_name(rule): (generated, by_networks),
        FIRST_STAGE: (parametric, boxes_by(sg2im)),
        "pasted_canvas": (pasted, by_networks),
    }
    names = system_names(rule)
    systems = []
    for name, (draw, boxes_of) in drawers.items():
        if name in names:
            draw_in = functools.partial(_draw, traced(draw), boxes_of)
            systems += [System(name, each, functools.partial(draw_in, each)) for each in LAYOUTS]
    if "own_patches" in names:
        systems.append(System("own_patches", "true", traced(own)))
    return systems


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a graph, for batches of any size."""
    return tf.function(function, reduce_retracing=True, autograph=False)


def boxes_by(networks: RetrievalNetworks | Sg2imNetworks) -> BoxesOf:
    """Boxes of a batch [B, O, 4]: as predicted by the networks, or the true ones."""

    @traced
    def predicted(batch: Batch) -> tf.Tensor:
        graph = {"objects": batch["objects"], "triples": batch["triples"]}
        return networks.predict_boxes(graph, networks.encoder(graph))

    return lambda batch, layout: batch["boxes"] if layout == "true" else predicted(batch)


def row_seeds(batch: Batch, seed: int | tf.Tensor) -> tf.Tensor:
    """[B] int32, a function of the seed and of each row's image."""
    return tf.cast((batch["image_id"] * 1_000_003 + seed) % (2**31 - 1), tf.int32)


def _draw(
    draw: Callable[[Batch, tf.Tensor], Drawn], boxes_of: BoxesOf, layout: str, batch: Batch
) -> Drawn:
    return draw(batch, boxes_of(batch, layout))
