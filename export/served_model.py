"""The model as it is served: dense tensors in, PNG bytes and provenance out.

Nothing in the graph touches files or Python.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export.served_bank import ServedBank
from export.served_search import ServedSearch
from export.signatures import (
    GENERATE,
    GENERATE_WITH_PATCHES,
    INPUTS,
    NO_SCORE,
    OWN_PATCH,
    RETRIEVE,
    Sizes,
)
from export.validation import checked_request
from rgan_tf.model.networks import GraphNetworks, RetrievalNetworks
from rgan_tf.retrieval.distance import l2_distance
from rgan_tf.retrieval.gumbel import GroupSelection, gumbel_group_select
from rgan_tf.retrieval.noise import draw_noise
from rgan_tf.retrieval.selector import best_candidate
from rgan_tf.seeds import Purpose, derive_row_seeds


class Candidates(NamedTuple):
    """Patches an object can take: K from the pre-filter, and in slot K the one it is locked to.

    Attributes:
      ids: [B, O, K + 1] int32.
      valid: [B, O, K + 1] bool; slot K is valid where an object is locked.
      distances: [B, O, K + 1] float32, in the pre-filter.
      embeddings: [B, O, K + 1, D] float32.
    """

    ids: tf.Tensor
    valid: tf.Tensor
    distances: tf.Tensor
    embeddings: tf.Tensor


class ServedModel(tf.Module):
    """Endpoints over trained networks and a patch bank; see `export.signatures` for the fields.

    Args:
      prefilter: stage-1 networks, whose encoder makes the queries of the pre-filter.
      networks: stage-3 networks.
      feature_network: backbone [M, S', S', 3] float32 in 0..255 -> [M, Dx], for own patches.
      bank: the patches.
      search: the pre-filter, over the same bank.
      sizes: of all tensors.
    """

    def __init__(
        self,
        *,
        prefilter: GraphNetworks,
        networks: RetrievalNetworks,
        feature_network: tf.keras.Model,
        bank: ServedBank,
        search: ServedSearch,
        sizes: Sizes,
    ):
        super().__init__(name="served_model")
        self.sizes = sizes
        self.prefilter = prefilter
        self.networks = networks
        self.feature_network = feature_network
        self.bank = bank
        self.search = search

    def input_signature(self, endpoint: str) -> list[tf.TensorSpec]:
        """Specs of an endpoint's arguments, in order."""
        return [
            tf.TensorSpec([None, *self.sizes.shape_of(field)], field.dtype, name=field.name)
            for field in INPUTS[endpoint]
        ]

    def archive(self) -> tf.keras.export.ExportArchive:
        """The endpoints, ready to be written as a SavedModel.

        The archive tracks the variables that the endpoints use and not the layers: a tracked
        layer that reads GraphTensors would need tensorflow_gnn for loading.
        """
        archive = tf.keras.export.ExportArchive()
        for name, function in (
            (GENERATE, self.generate),
            (GENERATE_WITH_PATCHES, self.generate_with_patches),
        ):
            archive.add_endpoint(name, function, self.input_signature(name))
        return archive

    def generate(self, objects, triples, boxes, boxes_given, patch_ids, seed, licences_refused):
        """Scene graphs to images; arguments and result as in `export.signatures`."""
        request = {
            "objects": objects,
            "triples": triples,
            "boxes": boxes,
            "boxes_given": boxes_given,
            "patch_ids": patch_ids,
            "seed": seed,
            "licences_refused": licences_refused,
        }
        return self._generate(self._checked(request), None, None)

    def generate_with_patches(
        self,
        objects,
        triples,
        boxes,
        boxes_given,
        patch_ids,
        seed,
        licences_refused,
        own_patches,
        own_given,
    ):
        """As `generate`, with patches that are not in the bank."""
        request = {
            "objects": objects,
            "triples": triples,
            "boxes": boxes,
            "boxes_given": boxes_given,
            "patch_ids": patch_ids,
            "seed": seed,
            "licences_refused": licences_refused,
            "own_patches": own_patches,
            "own_given": own_given,
        }
        request = self._checked(request)
        return self._generate(request, request["own_patches"], request["own_given"])

    def _checked(self, request: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return checked_request(request, self.sizes, self.bank.licence_ids)

    def _generate(
        self,
        request: dict[str, tf.Tensor],
        own_patches: tf.Tensor | None,
        own_given: tf.Tensor | None,
    ) -> dict[str, tf.Tensor]:
        graph = {"objects": request["objects"], "triples": request["triples"]}
        encoding = self.networks.encoder(graph)
        mask = encoding.object_mask  # [B, O]
        boxes = tf.where(
            request["boxes_given"][..., tf.newaxis],
            request["boxes"],
            self.networks.predict_boxes(graph, encoding),
        )  # [B, O, 4]
        boxes *= tf.cast(mask, tf.float32)[..., tf.newaxis]  # [B, O, 4]

        candidates = self._candidates(
            graph, mask, request["patch_ids"], request["licences_refused"]
        )
        if own_patches is not None:
            candidates = self._with_own_patches(candidates, own_patches, own_given)
        selection = self._select(candidates, request["seed"])

        chosen = selection.choice >= 0  # [B, O]
        slot = tf.maximum(selection.choice, 0)  # [B, O]
        patch_ids = tf.gather(candidates.ids, slot, batch_dims=2)  # [B, O]
        scores = tf.gather(candidates.distances, slot, batch_dims=2)  # [B, O]
        crops = tf.gather(self.bank.crops, tf.maximum(patch_ids, 0))  # [B, O, h, w, 3]
        if own_patches is not None:
            own_crops = resize_own_patches(own_patches, self.sizes.crop)  # [B, O, h, w, 3]
            crops = tf.where(_for_pixels(own_given), own_crops, crops)  # [B, O, h, w, 3]
        crops = tf.where(_for_pixels(chosen), crops, tf.zeros_like(crops))  # [B, O, h, w, 3]

        pixels = tf.cast(crops, tf.float32) / 127.5 - 1.0  # [B, O, h, w, 3]
        pixels = tf.where(_for_pixels(chosen), pixels, 0.0)  # [B, O, h, w, 3]
        images = self.networks.generator(pixels, encoding, boxes)  # [B, H, W, 3]
        return {
            "image_bytes": encode_images(images),
            "boxes": boxes,
            "patch_ids": tf.where(chosen, patch_ids, RETRIEVE),
            "patch_scores": tf.where(chosen, scores, NO_SCORE),
            "patch_crops": crops,
            "order": selection.order,
        }

    def _candidates(
        self,
        graph: dict[str, tf.Tensor],
        mask: tf.Tensor,
        patch_ids: tf.Tensor,
        licences_refused: tf.Tensor,
    ) -> Candidates:
        """K nearest patches per object, and the patch that the request locks it to."""
        queries = self.prefilter.encoder(graph).object_vectors  # [B, O, W]
        # As the features of the bank were stored; what training saw was rounded alike.
        queries = tf.cast(tf.cast(queries, tf.float16), tf.float32)  # [B, O, W]
        ids, valid, distances = self.search.search(
            queries, graph["objects"], licences_refused
        )  # [B, O, K] each
        valid &= mask[..., tf.newaxis]  # [B, O, K]

        locked_ids = tf.maximum(patch_ids, 0)  # [B, O]
        locked_distances = l2_distance(
            queries, tf.gather(self.bank.graph_features, locked_ids)
        )  # [B, O]
        ids = tf.concat([ids, locked_ids[..., tf.newaxis]], axis=2)  # [B, O, K + 1]
        is_locked = (patch_ids >= 0)[..., tf.newaxis]  # [B, O, 1]
        return Candidates(
            ids=ids,
            valid=tf.concat([valid, is_locked], axis=2),
            distances=tf.concat([distances, locked_distances[..., tf.newaxis]], axis=2),
            embeddings=tf.gather(self.bank.embeddings, tf.maximum(ids, 0)),
        )

    def _with_own_patches(
        self, candidates: Candidates, own_patches: tf.Tensor, own_given: tf.Tensor
    ) -> Candidates:
        """Puts the user's own patches into the last slot, where they are locked."""
        embeddings = self._embed_own_patches(own_patches)[:, :, tf.newaxis]  # [B, O, 1, D]
        own = own_given[..., tf.newaxis]  # [B, O, 1]

        def last(values: tf.Tensor, own_values, where: tf.Tensor) -> tf.Tensor:
            replaced = tf.where(where, own_values, values[:, :, -1:])  # [B, O, 1, ...]
            return tf.concat([values[:, :, :-1], replaced], axis=2)

        return Candidates(
            ids=last(candidates.ids, OWN_PATCH, own),
            valid=last(candidates.valid, True, own),
            distances=last(candidates.distances, NO_SCORE, own),
            embeddings=last(candidates.embeddings, embeddings, own[..., tf.newaxis]),
        )

    def _embed_own_patches(self, patches: tf.Tensor) -> tf.Tensor:
        """[B, O, S, S, 3] uint8 -> [B, O, D], the way the bank was embedded."""
        size = self.feature_network.input_shape[1]
        flat = tf.cast(tf.reshape(patches, [-1, *patches.shape[2:]]), tf.float32)  # [B*O, S, S, 3]
        if flat.shape[1] != size:
            flat = tf.image.resize(flat, [size, size], antialias=True)  # [B*O, S', S', 3]
        features = self.feature_network(flat, training=False)  # [B*O, Dx]
        limit = float(np.finfo(np.float16).max)
        rounded = tf.cast(tf.clip_by_value(features, -limit, limit), tf.float16)  # [B*O, Dx]
        embeddings = self.networks.embedding(tf.cast(rounded, tf.float32))  # [B*O, D]
        return tf.reshape(embeddings, [-1, patches.shape[1], embeddings.shape[-1]])  # [B, O, D]

    def _select(self, candidates: Candidates, seed: tf.Tensor) -> GroupSelection:
        """Algorithm 1 with one seed per row, or without noise where the seed is negative."""
        valid = candidates.valid  # [B, O, K + 1]
        objects, k = valid.shape[1], valid.shape[2] - 1
        # Drawn for the K slots of the pre-filter, as in training: the extra slot is never open.
        gumbel, scores = draw_noise(
            derive_row_seeds(tf.maximum(seed, 0), Purpose.GUMBEL_NOISE), [objects, k]
        )  # [B, O, K] twice
        random = (seed >= 0)[:, tf.newaxis, tf.newaxis]  # [B, 1, 1]
        gumbel = tf.where(random, gumbel, 0.0)  # [B, O, K]
        # Without noise the first query is the best candidate of the pre-filter.
        scores = tf.where(random, scores, -candidates.distances[:, :, :k])  # [B, O, K]
        locked = tf.where(valid[:, :, k], k, -1)  # [B, O]
        return gumbel_group_select(
            candidates.embeddings,
            valid,
            best_candidate(candidates.embeddings[:, :, :k], valid[:, :, :k], scores),
            tf.pad(gumbel, [[0, 0], [0, 0], [0, 1]]),
            scale=self.networks.embedding.scale,
            locked=locked,
        )


def resize_own_patches(patches: tf.Tensor, size: int) -> tf.Tensor:
    """Own patches in the generator's size, averaged over areas bit for bit as those of the bank.

    Args:
      patches: uint8 [B, O, S, S, 3].
      size: side of the result in px; must divide S.

    Returns:
      uint8 [B, O, size, size, 3].

    Raises:
      ValueError: if `size` does not divide S.
    """
    objects, stored = patches.shape[1], patches.shape[2]
    if stored % size:
        raise ValueError(f"patches of {stored} px cannot be averaged to {size} px")
    step = stored // size
    blocks = tf.reshape(tf.cast(patches, tf.int32), [-1, size, step, size, step, 3])
    area = step * step
    averaged = (tf.reduce_sum(blocks, axis=[2, 4]) + area // 2) // area  # [B*O, h, w, 3]
    return tf.reshape(tf.cast(averaged, tf.uint8), [-1, objects, size, size, 3])


def encode_images(images: tf.Tensor) -> tf.Tensor:
    """[B, H, W, 3] float32 in [-1, 1] -> [B] PNG files."""
    pixels = tf.cast(tf.clip_by_value(tf.round((images + 1.0) * 127.5), 0.0, 255.0), tf.uint8)
    return tf.map_fn(tf.io.encode_png, pixels, fn_output_signature=tf.string)


def _for_pixels(per_object: tf.Tensor) -> tf.Tensor:
    return per_object[:, :, tf.newaxis, tf.newaxis, tf.newaxis]  # [B, O, 1, 1, 1]
