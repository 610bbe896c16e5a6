"""Generates images of graphs as at test time, from retrieved or from own patches."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from rgan_tf.model.networks import RetrievalNetworks
from rgan_tf.retrieval.learned import LearnedRetriever
from rgan_tf.retrieval.patch_library import PatchLibrary
from rgan_tf.retrieval.patches import own_crops, take_candidates
from rgan_tf.retrieval.retriever import Batch, Retriever, choose_patches
from rgan_tf.retrieval.selection import Options
from rgan_tf.seeds import Purpose, derive_row_seeds


class Synthesis(NamedTuple):
    """A batch of generated images, with layout and patches.

    Attributes:
      images: [B, H, W, 3] float32 in [-1, 1].
      boxes: [B, O, 4] float32, the layout that was used.
      crops: [B, O, h, w, 3] float32 in [-1, 1], the selected patches.
      choice: [B, O] int32, the candidate of every object, -1 = none; None if the retriever takes
        no candidates.
      order: [B, O] int32, see `Selection`; None likewise.
    """

    images: tf.Tensor
    boxes: tf.Tensor
    crops: tf.Tensor
    choice: tf.Tensor | None
    order: tf.Tensor | None


def synthesise(
    networks: RetrievalNetworks,
    batch: Batch,
    *,
    row_seeds: tf.Tensor | None,
    boxes: tf.Tensor | None = None,
    locked: tf.Tensor | None = None,
    retriever: Retriever | None = None,
    library: PatchLibrary | None = None,
    repeats: bool = True,
) -> Synthesis:
    """Generates one image per graph, as at test time.

    Args:
      networks: the trained networks (usually the moving average).
      batch: `objects` [B, O], `triples` [B, T, 3] and the candidate entries of a pipeline batch;
        with `candidate_distances` [B, O, K] deterministic retrieval starts from the nearest of all
        candidates, otherwise from the first object's first.
      row_seeds: [B] int32 for random retrieval; None for the deterministic one.
      boxes: [B, O, 4] layout to use; None uses the predicted boxes.
      locked: [B, O] int32, the candidate that an object must take, -1 = free; None: all are free.
      retriever: chooses, with φ of these networks; None takes the learned one.
      library: embeddings by this retriever and pixels of the bank, for batches without the
        candidates' patches.
      repeats: whether objects of a scene may get the same patch while others are free, as in the
        paper; the default of an exported model is no.

    Returns:
      A `Synthesis`.
    """
    retriever = (retriever or LearnedRetriever()).bound_to(networks.embedding)
    graph = {"objects": batch["objects"], "triples": batch["triples"]}
    encoding = networks.encoder(graph)
    if boxes is None:
        boxes = networks.predict_boxes(graph, encoding)  # [B, O, 4]
    boxes *= tf.cast(encoding.object_mask, tf.float32)[:, :, None]
    seeds = None if row_seeds is None else derive_row_seeds(row_seeds, Purpose.GUMBEL_NOISE)
    choice = order = None
    if retriever.takes_candidates:
        candidates = retriever.candidates_of(batch, library)
        options = Options(seeds=seeds, locked=locked, repeats=repeats)
        choice, order = choose_patches(retriever, candidates, options)  # [B, O] each
        if library is None:
            crops = take_candidates(batch, choice)[0]  # [B, O, h, w, 3]
        else:
            crops = library.chosen_crops(candidates.ids, choice)  # [B, O, h, w, 3]
    else:
        crops = retriever.crops(batch, encoding.object_mask, seeds)  # [B, O, h, w, 3]
    images = networks.generator(crops, encoding, boxes)  # [B, H, W, 3]
    return Synthesis(images, boxes, crops, choice, order)


def reconstruct(
    networks: RetrievalNetworks, batch: dict[str, tf.Tensor], boxes: tf.Tensor
) -> tf.Tensor:
    """Images from the scenes' own patches: [B, H, W, 3] float32 in [-1, 1]."""
    encoding = networks.encoder({"objects": batch["objects"], "triples": batch["triples"]})
    return networks.generator(own_crops(batch, encoding.object_mask), encoding, boxes)
