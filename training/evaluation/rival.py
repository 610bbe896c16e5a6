"""Evaluates one split of a run whose `training.system` is a rival."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.data.pipeline import scenes_once
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.model.networks import build_sg2im_networks
from rgan_tf.pictures import comparison_grid
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.retrieval.prefilter import foreign_objects
from rgan_tf.rivals.attngan.tokens import mentioned
from rgan_tf.rivals.pastegan.selector import TEST_CANDIDATES
from rgan_tf.rivals.registry import rival_networks
from rgan_tf.rivals.rival import PATCHES, Drawing, RivalNetworks
from rgan_tf.runs import STAGES, Run, load_weights
from rgan_tf.storage.image import float_to_uint8
from training.evaluation.diversity import diversity_metrics
from training.evaluation.image_task import image_task
from training.evaluation.images import Keep
from training.evaluation.judges import load_judges
from training.evaluation.layout import layout_metrics
from training.evaluation.names import DRAWING
from training.evaluation.protocol import Protocol
from training.evaluation.systems import LAYOUTS, Batch, Drawn, System, row_seeds, traced
from training.pictures import CELL, layouts
from training.rival_candidates import rival_candidates

TOLD_BY_NAMES = "scenes_told_by_names"
"""Metric of AttnGAN: how many scenes have no relationship, so that their text lists objects."""

_TASKS = {"images", "diversity", "layout"}  # a rival learns no retrieval


def evaluate_rival_split(
    run: Run,
    data: PreparedData,
    protocol: Protocol,
    *,
    tasks: Sequence[str],
    compared: Sequence[str] | None,
    metric_backbone: str,
    diversity_network: str,
    weights_dir: str | None,
    batch_size: int,
    picture_scenes: int,
    keep: Keep | None = None,
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Runs the tasks that a rival has on one split, by the protocol of all systems.

    A rival without a layout of its own is drawn in two: the true boxes, and those that the run's
    first stage predicts. One that draws from patches gets the bank's, by that stage's features. One
    that reads no layout draws the same images in both, and has no metrics of objects or boxes.

    Args:
      run, data, protocol, tasks, compared, metric_backbone, diversity_network, weights_dir,
        batch_size, picture_scenes, keep: see `evaluate_split`.

    Returns:
      metric name -> value, and a picture of the first scenes in both layouts, or None if no task
      draws images.

    Raises:
      BadInput: if the run does not have a requested system or task.
    """
    config, split, name = run.config, protocol.split, run.config.training.system
    for asked in compared or ():
        if asked != name:
            raise BadInput(f"--system {asked}: a run with training.system={name} has {name}")
    networks = rival_networks(config, run.vocabulary)
    has = _TASKS if networks.predicts_boxes else _TASKS - {"layout"}
    if has.isdisjoint(tasks):
        raise BadInput(
            f"--only {', '.join(tasks)}: a run with training.system={name} has "
            f"{', '.join(sorted(has))}"
        )
    load_weights(run, STAGES[-1], networks, system=name)
    drawing = drawing_of(run, networks)
    backbone, distance = load_judges(tasks, metric_backbone, diversity_network, weights_dir)
    table = without = None
    if networks.reads_patches:
        table = rival_candidates(run, data, {split: TEST_CANDIDATES})[split]
        rows = data.scenes(split, config.data).patch_rows
        without = foreign_objects(data.truth(split), data.bank, rows)

    def scenes(of: str = split, candidates: CandidateSource | None = table) -> Iterable[Batch]:
        return scenes_once(data, of, config, batch_size=batch_size, candidates=candidates)

    def boxes_of(batch: Batch, layout: str) -> tf.Tensor | None:
        return batch["boxes"] if layout == "true" else None

    @traced
    def draw(layout: str, batch: Batch) -> Drawn:
        drawn = drawing(batch, boxes_of(batch, layout), row_seeds(batch, protocol.seed))
        return Drawn(drawn.images, drawn.boxes)

    systems = [System(name, layout, functools.partial(draw, layout)) for layout in LAYOUTS]
    metrics: dict[str, Any] = {"objects_without_patches": without} if without else {}
    if name == "attngan":
        triples = data.scenes(split, config.data).triples  # [N, T, 3]
        metrics[TOLD_BY_NAMES] = int((~np.asarray(mentioned(triples)).any(axis=1)).sum())
    if backbone is not None:
        metrics |= image_task(
            data,
            config.data,
            systems,
            scenes,
            backbone=backbone,
            protocol=protocol,
            keep=keep,
        )
    if distance is not None:
        metrics |= diversity_metrics(name, drawing, boxes_of, scenes(), distance, protocol)
    if "layout" in tasks and networks.predicts_boxes:
        metrics |= layout_metrics(networks, scenes(candidates=None), run.vocabulary, protocol)
    if DRAWING.isdisjoint(tasks):
        return metrics, None
    first = next(iter(scenes().unbatch().batch(picture_scenes)))
    drawn = [(system, system.draw(first)) for system in systems]
    boxes = drawn[0][1].boxes
    title, shown = ("true layout", first["boxes"]) if boxes is None else ("predicted layout", boxes)
    columns = [
        (title, layouts(run.vocabulary, first, shown)),
        *(
            (f"{system.name} ({system.boxes} boxes)", float_to_uint8(made.images))
            for system, made in drawn
        ),
        ("real", float_to_uint8(first["image"])),
    ]
    return metrics, comparison_grid(columns, cell=CELL)


def drawing_of(
    run: Run, networks: RivalNetworks
) -> Callable[[Batch, tf.Tensor | None, tf.Tensor], Drawing]:
    """(batch, boxes or None, seeds [B] int32) -> images and layout."""
    layout = None
    if networks.reads_boxes and not networks.predicts_boxes:
        layout = build_sg2im_networks(run.config, run.vocabulary)
        load_weights(run, STAGES[0], layout)

    def draw(batch: Batch, boxes: tf.Tensor | None, seeds: tf.Tensor) -> Drawing:
        names = ("objects", "triples", *(PATCHES if networks.reads_patches else ()))
        graph = {name: batch[name] for name in names}
        if boxes is None and layout is not None:
            boxes = layout.predict_boxes(graph, layout.encoder(graph))  # [B, O, 4]
        return networks.synthesise(graph, boxes, seeds)

    return draw
