"""The graph feature of every patch, computed from the bank's graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from rgan_tf.bank.graphs import BankGraph
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.config import Config
from rgan_tf.errors import BadInput
from rgan_tf.graph.encoder import SceneGraphEncoder
from rgan_tf.graph.fit import fit_graph
from rgan_tf.progress import followed

_GRAPHS_PER_BATCH = 64


class ReadsGraphs(Protocol):
    """Networks that read scene graphs: the part that the pre-filter needs."""

    encoder: SceneGraphEncoder


def graph_features(networks: ReadsGraphs, bank: PatchBank, config: Config) -> np.ndarray:
    """The vector of every patch's object in its scene graph (method §2.3).

    A graph with more objects than the config allows is cut as in training; the rest is encoded in
    further graphs, so that every patch can be found.

    Args:
      networks: stage-1 networks with the bank's vocabulary.
      bank: any bank.
      config: gives the sizes of a graph.

    Returns:
      [N, width] float16, by row of the bank.

    Raises:
      BadInput: if bank and networks have different vocabularies.
    """
    if bank.vocabulary.num_objects != networks.encoder.num_objects:
        raise BadInput(
            f"{bank.folder}: has {bank.vocabulary.num_objects} object names, the model "
            f"{networks.encoder.num_objects}; use a bank of the model's vocabulary"
        )
    encode = tf.function(networks.encoder, reduce_retracing=True, autograph=False)
    # Position of each graph's first vector among those of all objects.
    starts = np.concatenate([[0], bank.graphs.ends[:, 0]]).astype(np.int64)  # [G + 1]
    vectors = np.zeros([int(starts[-1]), config.graph.width], np.float16)
    graph_images = np.zeros([len(bank.graphs)], np.int64)
    graph_images[bank.graph_ids] = bank.image_ids
    batch: list[_Part] = []
    parts = (
        part
        for number, graph in enumerate(followed(bank.graphs, "encode graphs"))
        for part in _parts(graph, int(starts[number]), int(graph_images[number]), config)
    )
    for part in parts:
        batch.append(part)
        if len(batch) == _GRAPHS_PER_BATCH:
            _encode(encode, batch, vectors)
            batch = []
    if batch:
        _encode(encode, batch, vectors)
    return vectors[starts[bank.graph_ids] + bank.graph_positions]


class _Part(NamedTuple):
    """A padded graph: [O] and [T, 3] int32, and [n] output positions of its objects' vectors."""

    objects: np.ndarray
    triples: np.ndarray
    places: np.ndarray


def _parts(graph: BankGraph, start: int, image_id: int, config: Config) -> Iterator[_Part]:
    left = np.arange(len(graph.objects))
    triples = graph.triples
    data = config.data
    while len(left):
        kept, inside = fit_graph(
            len(left),
            triples,
            max_objects=data.max_objects,
            max_triples=data.max_triples,
            rng=np.random.default_rng(abs(image_id)),
        )
        objects = np.zeros([data.max_objects], np.int32)
        objects[: len(kept)] = graph.objects[left[kept]]
        padded = np.full([data.max_triples, 3], -1, np.int32)
        padded[: len(inside)] = inside
        yield _Part(objects, padded, start + left[kept])
        rest = np.setdiff1d(np.arange(len(left)), kept)
        triples = _among(triples, rest)
        left = left[rest]


def _among(triples: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The triples with both ends kept, renumbered accordingly."""
    is_inside = np.isin(triples[:, [0, 2]], kept).all(axis=1)
    result = triples[is_inside].copy()
    result[:, [0, 2]] = np.searchsorted(kept, result[:, [0, 2]])
    return result


def _encode(encode, batch: list[_Part], vectors: np.ndarray) -> None:
    graph = {
        "objects": np.stack([part.objects for part in batch]),
        "triples": np.stack([part.triples for part in batch]),
    }
    # The last batch is filled up: another size would retrace the network.
    missing = _GRAPHS_PER_BATCH - len(batch)
    graph["objects"] = np.pad(graph["objects"], [(0, missing), (0, 0)])
    graph["triples"] = np.pad(graph["triples"], [(0, missing), (0, 0), (0, 0)], constant_values=-1)
    tensors = {name: tf.constant(value) for name, value in graph.items()}
    encoded = encode(tensors).object_vectors.numpy()  # [B, O, W]
    for part, rows in zip(batch, encoded, strict=False):
        vectors[part.places] = rows[: len(part.places)]
