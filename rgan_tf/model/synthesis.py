"""Images of graphs, as at test time: with retrieved patches, or with the scenes' own."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from rgan_tf.model.networks import RetrievalNetworks
from rgan_tf.retrieval.choice import (
    LEARNED,
    crops_without_candidates,
    fixed_slots,
    own_crops,
    take_candidates,
)
from rgan_tf.retrieval.gumbel import GroupSelection
from rgan_tf.retrieval.patch_library import PatchLibrary
from rgan_tf.retrieval.selector import GroupRetrieval
from rgan_tf.seeds import Purpose, derive_row_seeds


class Synthesis(NamedTuple):
    """One batch of generated images and how they came about.

    Attributes:
      images: [B, H, W, 3] float32 in [-1, 1].
      boxes: [B, O, 4] float32, the layout that was used.
      crops: [B, O, h, w, 3] float32 in [-1, 1], the selected patches.
      choice: [B, O] int32, the candidate of every object, -1 = none; None where a rule takes none.
      selection: how it was chosen, None unless by group retrieval.
    """

    images: tf.Tensor
    boxes: tf.Tensor
    crops: tf.Tensor
    choice: tf.Tensor | None
    selection: GroupSelection | None


def synthesise(
    networks: RetrievalNetworks,
    batch: dict[str, tf.Tensor],
    *,
    row_seeds: tf.Tensor | None,
    boxes: tf.Tensor | None = None,
    choice: tf.Tensor | None = None,
    rule: str = LEARNED,
    library: PatchLibrary | None = None,
    repeats: bool = True,
) -> Synthesis:
    """Generates one image per graph, as at test time.

    Args:
      networks: the trained networks (usually the moving average).
      batch: `objects` [B, O], `triples` [B, T, 3] and the candidate entries of a pipeline batch;
        with `candidate_distances` [B, O, K] the deterministic retrieval starts from the nearest of
        all candidates, without from the first object's first.
      row_seeds: [B] int32 for random retrieval; None for the deterministic one.
      boxes: [B, O, 4] layout to use; None uses the predicted boxes.
      choice: [B, O] int32 candidate of every object, to fix it; None chooses.
      rule: how it is chosen, see `choice.CHOICES`; that of the config the networks were trained by.
      library: embeddings and pixels of the bank, for batches without the candidates' own.
      repeats: whether the group retrieval may give objects of a scene the same patch while other
        candidates are free, as the paper's may and an exported model by itself does not.

    Returns:
      A `Synthesis`.
    """
    graph = {"objects": batch["objects"], "triples": batch["triples"]}
    encoding = networks.encoder(graph)
    if boxes is None:
        boxes = networks.predict_boxes(graph, encoding)  # [B, O, 4]
    boxes *= tf.cast(encoding.object_mask, tf.float32)[:, :, None]
    seeds = None if row_seeds is None else derive_row_seeds(row_seeds, Purpose.GUMBEL_NOISE)
    selection = None
    if rule != LEARNED and choice is None:
        choice = fixed_slots(rule, batch["candidate_valid"], seeds)  # [B, O]
    if rule == LEARNED:
        selection = _retrieve(
            networks, batch, seeds, locked=choice, library=library, repeats=repeats
        )
        choice = selection.choice  # [B, O]
    if choice is None:
        crops = crops_without_candidates(rule, batch, seeds, encoding.object_mask)
    elif library is not None:
        crops = library.chosen_crops(batch["candidate_ids"], choice)  # [B, O, h, w, 3]
    else:
        crops = take_candidates(batch, choice)[0]  # [B, O, h, w, 3]
    images = networks.generator(crops, encoding, boxes)  # [B, H, W, 3]
    return Synthesis(images, boxes, crops, choice, selection)


def _retrieve(
    networks: RetrievalNetworks,
    batch: dict[str, tf.Tensor],
    seeds: tf.Tensor | None,
    *,
    locked: tf.Tensor | None,
    library: PatchLibrary | None,
    repeats: bool,
) -> GroupSelection:
    if library is None:
        embeddings = networks.embedding(batch["candidate_features"])  # [B, O, K, D]
    else:
        embeddings = library.embeddings_at(batch["candidate_ids"])  # [B, O, K, D]
    return GroupRetrieval(straight_through=True)(
        embeddings,
        batch["candidate_valid"],
        seeds,
        scale=networks.embedding.scale,
        locked=locked,
        distances=batch.get("candidate_distances"),
        ids=None if repeats else batch["candidate_ids"],
    )


def reconstruct(
    networks: RetrievalNetworks, batch: dict[str, tf.Tensor], boxes: tf.Tensor
) -> tf.Tensor:
    """Images from the scenes' own patches: [B, H, W, 3] float32 in [-1, 1]."""
    encoding = networks.encoder({"objects": batch["objects"], "triples": batch["triples"]})
    return networks.generator(own_crops(batch, encoding.object_mask), encoding, boxes)
