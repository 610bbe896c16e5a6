"""Picture grids of the training stages, always of the same scenes and seeds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.data.pipeline import scenes_once
from rgan_tf.data.prepared import PreparedData
from rgan_tf.model.networks import Sg2imNetworks
from rgan_tf.model.retrievegan import RetrieveGANModel
from rgan_tf.model.synthesis import Synthesis, reconstruct, synthesise
from rgan_tf.pictures import comparison_grid, draw_layout
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.retrieval.patch_library import library_for
from rgan_tf.retrieval.rules import NOISE
from rgan_tf.rivals.rival import RivalNetworks
from rgan_tf.runs import Run
from rgan_tf.storage.image import float_to_uint8
from rgan_tf.vocabulary import Vocabulary
from training.patch_panels import patch_panel

SCENES = 8
CELL = 128  # px


def fixed_scenes(
    run: Run, data: PreparedData, split: str, candidates: CandidateSource | None, scenes: int
) -> dict[str, tf.Tensor]:
    """The first batch of a split in its seeded order; the same on every call."""
    rows = min(scenes, data.record_count(split))
    return next(iter(scenes_once(data, split, run.config, batch_size=rows, candidates=candidates)))


def sg2im_pictures(run: Run, data: PreparedData, networks: Sg2imNetworks) -> dict[str, np.ndarray]:
    """Real image, predicted layout and parametric image of fixed scenes."""
    batch = fixed_scenes(run, data, held_out_split(data), None, SCENES)
    graph = {"objects": batch["objects"], "triples": batch["triples"]}
    encoding = networks.encoder(graph)
    boxes = networks.predict_boxes(graph, encoding)
    image = networks.decoder(encoding.object_vectors, boxes, encoding.object_mask)
    columns = [
        ("predicted layout", layouts(run.vocabulary, batch, boxes)),
        ("sg2im", float_to_uint8(image)),
        ("real", float_to_uint8(batch["image"])),
    ]
    return {"sg2im": comparison_grid(columns, cell=CELL)}


def rival_pictures(
    run: Run,
    data: PreparedData,
    networks: RivalNetworks,
    candidates: CandidateSource | None = None,
) -> dict[str, np.ndarray]:
    """Layout, two samples and real image of fixed scenes; the layout is the true one where the
    rival predicts or reads none. One that draws from patches needs candidates."""
    batch = fixed_scenes(run, data, held_out_split(data), candidates, SCENES)
    boxes = None if networks.predicts_boxes else batch["boxes"]
    rows = tf.range(tf.shape(batch["objects"])[0])
    first, second = (networks.synthesise(batch, boxes, rows + n * SCENES) for n in range(2))
    name = run.config.training.system
    title = "predicted layout" if boxes is None else "true layout"
    columns = [
        (title, layouts(run.vocabulary, batch, first.boxes if boxes is None else boxes)),
        (name, float_to_uint8(first.images)),
        ("another sample", float_to_uint8(second.images)),
        ("real", float_to_uint8(batch["image"])),
    ]
    return {name: comparison_grid(columns, cell=CELL)}


def joint_pictures(
    run: Run, data: PreparedData, model: RetrieveGANModel, candidates: CandidateSource
) -> dict[str, np.ndarray]:
    """Layout, retrieved patches, generated, reconstructed and real image of fixed scenes; for the
    first of them also the source images of the patches."""
    reader = PatchReader(data.bank, candidates.cooccurrence, crop_size=run.config.data.crop_size)
    batch = fixed_scenes(run, data, held_out_split(data), candidates, SCENES)
    retriever = model.retriever.bound_to(model.average.embedding)
    make = functools.partial(
        synthesise,
        model.average,
        batch,
        row_seeds=tf.range(tf.shape(batch["objects"])[0]),
        retriever=retriever,
        library=library_for(run.config, retriever, reader),
    )
    predicted = make()
    pictures = {"retrievegan": _joint_grid(run, model, batch, predicted, make)}
    if predicted.choice is not None:  # else no patch comes from the bank
        pictures["sources"] = patch_panel(run, data, batch, predicted.choice)
    return pictures


def _joint_grid(
    run: Run,
    model: RetrieveGANModel,
    batch: dict[str, tf.Tensor],
    predicted: Synthesis,
    make: Callable[..., Synthesis],
) -> np.ndarray:
    """The picture grid of stage 3 for one batch, given the result in predicted boxes."""
    drawn = layouts(run.vocabulary, batch, predicted.boxes)
    columns = [
        ("predicted layout", drawn),
        ("retrieved patches", patch_tiles(predicted.crops)),
        ("generated", float_to_uint8(predicted.images)),
        ("true boxes", float_to_uint8(make(boxes=batch["boxes"]).images)),
    ]
    if model.retriever.name != NOISE:  # whose generator never gets patches
        rebuilt = reconstruct(model.average, batch, batch["boxes"])
        columns.append(("reconstructed", float_to_uint8(rebuilt)))
    return comparison_grid([*columns, ("real", float_to_uint8(batch["image"]))], cell=CELL)


def layouts(
    vocabulary: Vocabulary, graphs: Mapping[str, np.ndarray | tf.Tensor], boxes: np.ndarray
) -> list[np.ndarray]:
    """One layout drawing per scene.

    Args:
      vocabulary: the names.
      graphs: `objects` [B, O] and `triples` [B, T, 3] int32, such as a batch.
      boxes: [B, O, 4] float32, the layout.
    """
    drawings = []
    for scene_objects, scene_triples, scene_boxes in zip(
        np.asarray(graphs["objects"]),
        np.asarray(graphs["triples"]),
        np.asarray(boxes),
        strict=True,
    ):
        count = int(np.sum(scene_objects > 0))
        names = [vocabulary.object_name(int(value)) for value in scene_objects[:count]]
        relationships = [
            (int(s), vocabulary.predicates[int(p)], int(o)) for s, p, o in scene_triples if s >= 0
        ]
        drawings.append(draw_layout(names, scene_boxes[:count], 2 * CELL, relationships))
    return drawings


def patch_tiles(crops: tf.Tensor) -> list[np.ndarray]:
    """The patches of every scene side by side, three to a row: [B, O, h, w, 3] -> B pictures."""
    values = float_to_uint8(crops)
    tiles = []
    for patches in values:
        rows = -(-len(patches) // 3)
        height, width = patches.shape[1:3]
        sheet = np.full([3 * height, max(3, rows) * width, 3], 127, np.uint8)
        for index, patch in enumerate(patches):
            y, x = index % 3 * height, index // 3 * width
            sheet[y : y + height, x : x + width] = patch
        tiles.append(sheet)
    return tiles


def held_out_split(data: PreparedData) -> str:
    """The split to show: val, or train if there is no val."""
    return "val" if data.record_count("val") else "train"
