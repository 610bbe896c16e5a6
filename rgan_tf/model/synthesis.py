"""Images of graphs, as at test time: with retrieved patches, or with the scenes' own."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from rgan_tf.model.networks import RetrievalNetworks
from rgan_tf.model.patch_library import PatchLibrary
from rgan_tf.retrieval.gumbel import GroupSelection
from rgan_tf.retrieval.selector import GroupRetrieval, mix_patches
from rgan_tf.seeds import Purpose, derive_row_seeds


class Synthesis(NamedTuple):
    """One batch of generated images and how they came about.

    Attributes:
      images: [B, H, W, 3] float32 in [-1, 1].
      boxes: [B, O, 4] float32, the layout that was used.
      crops: [B, O, h, w, 3] float32 in [-1, 1], the selected patches.
      selection: which candidate every object took, and when.
    """

    images: tf.Tensor
    boxes: tf.Tensor
    crops: tf.Tensor
    selection: GroupSelection


def synthesise(
    networks: RetrievalNetworks,
    batch: dict[str, tf.Tensor],
    *,
    row_seeds: tf.Tensor | None,
    boxes: tf.Tensor | None = None,
    choice: tf.Tensor | None = None,
    library: PatchLibrary | None = None,
) -> Synthesis:
    """Generates one image per graph, as at test time.

    Args:
      networks: the trained networks (usually the moving average).
      batch: `objects` [B, O], `triples` [B, T, 3] and the candidate entries of a pipeline batch;
        with `candidate_distances` [B, O, K] the deterministic retrieval starts from the nearest of
        all candidates, without from the first object's first.
      row_seeds: [B] int32 for random retrieval; None for the deterministic one.
      boxes: [B, O, 4] layout to use; None uses the predicted boxes.
      choice: [B, O] int32 candidate of every object, for other selection rules; None retrieves.
      library: embeddings and pixels of the bank, for batches without the candidates' own.

    Returns:
      A `Synthesis`.
    """
    graph = {"objects": batch["objects"], "triples": batch["triples"]}
    encoding = networks.encoder(graph)
    if boxes is None:
        boxes = networks.predict_boxes(graph, encoding)  # [B, O, 4]
    boxes *= tf.cast(encoding.object_mask, tf.float32)[:, :, None]
    if library is None:
        embeddings = networks.embedding(batch["candidate_features"])  # [B, O, K, D]
    else:
        embeddings = library.embeddings_at(batch["candidate_ids"])  # [B, O, K, D]
    selection = GroupRetrieval(straight_through=True)(
        embeddings,
        batch["candidate_valid"],
        None if row_seeds is None else derive_row_seeds(row_seeds, Purpose.GUMBEL_NOISE),
        scale=networks.embedding.scale,
        locked=choice,
        distances=batch.get("candidate_distances"),
    )
    if library is None:
        crops = mix_patches(selection.weights, batch["candidate_crops"])  # [B, O, h, w, 3]
    else:
        crops = library.chosen_crops(batch["candidate_ids"], selection.choice)  # [B, O, h, w, 3]
    return Synthesis(networks.generator(crops, encoding, boxes), boxes, crops, selection)


def reconstruct(
    networks: RetrievalNetworks, batch: dict[str, tf.Tensor], boxes: tf.Tensor
) -> tf.Tensor:
    """Images from the scenes' own patches: [B, H, W, 3] float32 in [-1, 1]."""
    encoding = networks.encoder({"objects": batch["objects"], "triples": batch["triples"]})
    crops = tf.cast(batch["patch_crops"], tf.float32) / 127.5 - 1.0  # [B, O, h, w, 3]
    crops *= tf.cast(encoding.object_mask, tf.float32)[:, :, None, None, None]
    return networks.generator(crops, encoding, boxes)
