"""Scenes of a split, each with the patches of two selections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.data.pipeline import scenes_once
from rgan_tf.data.prepared import PreparedData
from rgan_tf.metrics.retrieval import cooccurrence_distance, style_agreement
from rgan_tf.model.networks import build_retrieval_networks
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.retrieval.learned import LearnedRetriever
from rgan_tf.retrieval.patch_library import library_for
from rgan_tf.runs import Run, load_weights
from rgan_tf.scene_graph import decode_scene_graph
from training.evaluation.retrieval import chosen_patches
from training.first_stages import load_first_stages
from training.study.plan import Chosen, Scene

Graph = tuple[int, tuple[str, ...], tuple[tuple[int, str, int], ...]]

_CANDIDATES_AT_ONCE = 1024  # over the scenes of a batch, per object
_MAX_BATCH = 16


class Side(NamedTuple):
    """One of the two selections.

    Attributes:
      run: the run whose networks choose.
      selection: name in `training.evaluation.retrieval.SELECTIONS`.
    """

    run: Run
    selection: str


def scenes_of(
    first: Side, second: Side, data: PreparedData, split: str, *, seed: int
) -> Iterator[Scene]:
    """The scenes of a split in a seeded order, read on demand.

    Both sides choose among the candidates of the first side's run, and are measured by its
    co-occurrence embedding. Objects without a candidate get no patch.

    Args:
      first, second: the two selections.
      data, split: the source of the scenes.
      seed: of the order of the scenes and of the noise of retrieval.

    Raises:
      BadInput: if a stage of a run is not trained.
      CorruptData: if weights or data are damaged.
    """
    run = first.run
    config = run.config
    table = load_first_stages(run).candidates(config, data, [split])[split]
    reader = PatchReader(data.bank, table.cooccurrence, crop_size=config.data.crop_size)
    batch_size = max(1, min(_MAX_BATCH, _CANDIDATES_AT_ONCE // config.retrieval.candidates))

    def choices(side: Side):
        networks = build_retrieval_networks(
            side.run.config, side.run.vocabulary, side.run.feature_size
        )
        load_weights(side.run, "retrievegan", networks)
        batches = scenes_once(
            data, split, config, batch_size=batch_size, candidates=table, order_seed=seed
        )
        retriever = LearnedRetriever(config, networks.embedding)
        library = library_for(config, retriever, reader)
        return chosen_patches(networks.embedding, batches, seed=seed, library=library)

    if second.run is first.run:
        both = ((batch, every, every) for batch, every in choices(first))
    else:
        both = (
            (batch, one, other)
            for (batch, one), (_, other) in zip(choices(first), choices(second), strict=True)
        )
    for batch, one, other in both:
        yield from _scenes(batch, one[first.selection], other[second.selection], data, table)


def _scenes(
    batch: dict[str, tf.Tensor],
    first: np.ndarray,
    second: np.ndarray,
    data: PreparedData,
    table: CandidateSource,
) -> Iterator[Scene]:
    """The scenes of one batch; the choices are [B, O] rows of the bank."""
    for (image_id, objects, relationships), a, b in zip(
        graphs_of(batch, data), first, second, strict=True
    ):
        shown = np.flatnonzero(a >= 0)  # the objects with a candidate
        yield Scene(
            image_id=image_id,
            objects=objects,
            relationships=relationships,
            shown=tuple(shown.tolist()),
            a=_chosen(a[shown], data, table),
            b=_chosen(b[shown], data, table),
        )


def graphs_of(batch: dict[str, tf.Tensor], data: PreparedData) -> Iterator[Graph]:
    """Image id, objects and relationships of each scene of a batch, by name."""
    parts = (batch[name].numpy() for name in ("image_id", "objects", "triples"))
    for image_id, objects, triples in zip(*parts, strict=True):
        graph = decode_scene_graph(objects, triples, None, data.vocabulary)
        relationships = tuple(map(tuple, graph["relationships"]))
        yield int(image_id), tuple(graph["objects"]), relationships


def _chosen(ids: np.ndarray, data: PreparedData, table: CandidateSource) -> Chosen:
    """A set of patches [P] with the automatic metrics that stand in for people's judgement."""
    mask = np.ones([1, len(ids)], bool)
    figures = {"cooccurrence_distance": cooccurrence_distance(table.cooccurrence[ids][None], mask)}
    styles = [data.bank.rows[int(row)]["style"] for row in ids]
    if all(styles):
        figures["style_agreement"] = style_agreement(np.array(styles)[None], mask)
    return Chosen(tuple(ids.tolist()), figures)
