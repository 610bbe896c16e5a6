"""The served model: dense tensors in, PNG bytes and provenance out.

Nothing in the graph touches files or Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export.served.alternatives import group_distances, neighbours_of
from export.served.pixels import encode_crops, encode_images, for_pixels, resize_own_patches
from export.served.validation import checked_request
from export.signatures import (
    CANDIDATES,
    ENCODE,
    GENERATE,
    GENERATE_WITH_PATCHES,
    INPUTS,
    MODES,
    NEAREST,
    NEIGHBOURS,
    NO_PATCH,
    NO_SCORE,
    OWN_PATCH,
    PATCHES,
    RETRIEVE,
    RETRIEVE_ONLY,
    SAMPLE,
    Sizes,
)
from rgan_tf.graph.encoder import GraphEncoding
from rgan_tf.model.networks import GraphNetworks, RetrievalNetworks
from rgan_tf.retrieval.bank_variables import ServedBank
from rgan_tf.retrieval.distance import l2_distance
from rgan_tf.retrieval.index.in_graph import ServedSearch
from rgan_tf.retrieval.patches import pixels_of
from rgan_tf.retrieval.retriever import Patches, Retriever, choose_patches
from rgan_tf.retrieval.selection import Candidates, Options, Selection
from rgan_tf.seeds import Purpose, derive_row_seeds
from rgan_tf.vocabulary import PADDING

Fields = dict[str, tf.Tensor]  # by field name


class Retrieval(NamedTuple):
    """The retrieved patches, with intermediate results for the generator.

    Attributes:
      reply: values by field name, the answer of `retrieve`.
      encoding: of the graphs, by the joint model.
      pixels: [B, O, h, w, 3] float32 in [-1, 1], the patches; 0 for padding.
    """

    reply: Fields
    encoding: GraphEncoding
    pixels: tf.Tensor


class ServedModel(tf.Module):
    """Endpoints over trained networks and a patch bank; see `export.signatures` for the fields.

    Args:
      prefilter: stage-1 networks; their encoder makes the pre-filter's queries.
      networks: stage-3 networks.
      feature_network: backbone [M, S', S', 3] float32 in 0..255 -> [M, Dx], for own patches.
      bank: the patches.
      search: the pre-filter, over the same bank.
      retriever: chooses among the pre-filter's candidates; made the bank's embeddings.
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
        retriever: Retriever,
        sizes: Sizes,
    ):
        super().__init__(name="served_model")
        self.sizes = sizes
        self.prefilter = prefilter
        self.networks = networks
        self.feature_network = feature_network
        self.bank = bank
        self.search = search
        self.retriever = retriever

    @property
    def scale(self) -> float | None:
        """What multiplies the retriever's distances to give logits; None if it has no scale."""
        scale = self.retriever.distance_scale()
        return None if scale is None else float(scale)

    def input_signature(self, endpoint: str) -> list[tf.TensorSpec]:
        """Specs of an endpoint's arguments, in order."""
        return [
            tf.TensorSpec([None, *self.sizes.shape_of(field)], field.dtype, name=field.name)
            for field in INPUTS[endpoint]
        ]

    def functions(self) -> dict[str, tf.types.experimental.GenericFunction]:
        """The endpoints by name, as functions of their fields in order; traced when called."""
        return {
            name: tf.function(self._endpoint(name), input_signature=self.input_signature(name))
            for name in INPUTS
        }

    def function(self, name: str) -> Callable[..., Fields]:
        """An endpoint as a function of named fields for this process; traced when called."""
        traced = self.functions()[name]
        return lambda **fields: traced(*(fields[field.name] for field in INPUTS[name]))

    def _endpoint(self, name: str) -> Callable[..., Fields]:
        """A function that checks the endpoint's fields, given in order, and answers."""
        names = [field.name for field in INPUTS[name]]
        answer = {
            GENERATE: self._generate,
            GENERATE_WITH_PATCHES: self._generate,
            RETRIEVE_ONLY: lambda request: self._retrieve(request).reply,
            ENCODE: self._encode,
            CANDIDATES: self._alternatives,
            PATCHES: self._patches,
            NEIGHBOURS: self._neighbours,
        }[name]

        @tf.autograph.experimental.do_not_convert
        def endpoint(*fields: tf.Tensor) -> Fields:  # the specs name them in the signature
            request = dict(zip(names, fields, strict=True))
            return answer(checked_request(request, self.sizes, self.bank.licence_ids))

        return endpoint

    def _encode(self, request: Fields) -> Fields:
        encoding = self.networks.encoder(_graph_of(request))
        mask = tf.cast(encoding.object_mask, tf.float32)[..., tf.newaxis]  # [B, O, 1]
        return {
            "boxes": self._boxes(request, encoding),
            "graph_features": self._queries(_graph_of(request)) * mask,
        }

    def _alternatives(self, request: Fields) -> Fields:
        """Answers `candidates`, row by row: not even rounding depends on the other rows."""
        row_search = self.search.row_search()
        objects, k = self.sizes.objects, self.search.candidates
        width = self.bank.embeddings.shape[1]

        def one_row(row: Fields) -> Fields:
            single = {name: value[tf.newaxis] for name, value in row.items()}  # [1, ...]
            graph = _graph_of(single)
            ids, valid, distances = row_search(
                self._queries(graph)[0], row["objects"], row["licences_refused"]
            )  # [O, K] each
            own = tf.cond(  # most rows have none, and the backbone is what takes longest
                tf.reduce_any(row["own_given"]),
                lambda: self._embed_own_patches(single["own_patches"])[0],
                lambda: tf.zeros([objects, width]),
            )  # [O, D]
            is_own = row["own_given"][:, tf.newaxis]  # [O, 1]
            embeddings, locked = self.bank.embeddings, tf.maximum(row["patch_ids"], 0)
            given = tf.where(is_own, own, tf.gather(embeddings, locked))  # [O, D]
            return {
                "candidate_ids": tf.where(valid, ids, NO_PATCH),
                "candidate_distances": tf.where(valid, distances, NO_SCORE),
                "candidate_group_distances": group_distances(
                    tf.gather(embeddings, tf.maximum(ids, 0)),
                    valid,
                    given,
                    row["own_given"] | (row["patch_ids"] >= 0),
                ),
                "boxes": self._boxes(single, self.networks.encoder(graph))[0],
            }

        shapes = {
            "candidate_ids": tf.TensorSpec([objects, k], tf.int32),
            "candidate_distances": tf.TensorSpec([objects, k], tf.float32),
            "candidate_group_distances": tf.TensorSpec([objects, k], tf.float32),
            "boxes": tf.TensorSpec([objects, 4], tf.float32),
        }
        return _by_row(one_row, request, shapes)

    def _patches(self, request: Fields) -> Fields:
        ids = request["ids"]  # [B, K]
        crops = tf.gather(self.bank.crops, tf.maximum(ids, 0))  # [B, K, h, w, 3]
        return {"patch_crops_bytes": encode_crops(crops, ids >= 0)}

    def _neighbours(self, request: Fields) -> Fields:
        k = self.search.candidates

        def one_row(row: Fields) -> Fields:
            ids, distances = neighbours_of(self.bank, row["patch_id"], row["licences_refused"], k)
            return {"neighbour_ids": ids, "neighbour_distances": distances}

        shapes = {
            "neighbour_ids": tf.TensorSpec([k], tf.int32),
            "neighbour_distances": tf.TensorSpec([k], tf.float32),
        }
        return _by_row(one_row, request, shapes)

    def _generate(self, request: Fields) -> Fields:
        reply, encoding, pixels = self._retrieve(request)
        images = self.networks.generator(pixels, encoding, reply["boxes"])  # [B, H, W, 3]
        return {"image_bytes": encode_images(images), **reply}

    def _boxes(self, request: Fields, encoding: GraphEncoding) -> tf.Tensor:
        """[B, O, 4]: the given box, else the predicted one; 0 for padding."""
        boxes = tf.where(
            request["boxes_given"][..., tf.newaxis],
            request["boxes"],
            self.networks.predict_boxes(_graph_of(request), encoding),
        )  # [B, O, 4]
        return boxes * tf.cast(encoding.object_mask, tf.float32)[..., tf.newaxis]

    def _retrieve(self, request: Fields) -> Retrieval:
        graph = _graph_of(request)
        encoding = self.networks.encoder(graph)
        candidates = self._candidates(
            graph, encoding.object_mask, request["patch_ids"], request["licences_refused"]
        )
        has_own = "own_given" in request
        if has_own:
            candidates = self._with_own_patches(
                candidates, request["own_patches"], request["own_given"]
            )
        selection = self._choose(candidates, request)

        chosen = selection.choice >= 0  # [B, O]
        slot = tf.maximum(selection.choice, 0)  # [B, O]
        patch_ids = tf.gather(candidates.ids, slot, batch_dims=2)  # [B, O]
        scores = tf.gather(candidates.distances, slot, batch_dims=2)  # [B, O]
        bank_rows = tf.maximum(patch_ids, 0)  # [B, O]
        categories = tf.gather(self.bank.category_ids, bank_rows)  # [B, O]
        crops = tf.gather(self.bank.crops, bank_rows)  # [B, O, h, w, 3]
        if has_own:
            own_crops = resize_own_patches(
                request["own_patches"], self.sizes.crop
            )  # [B, O, h, w, 3]
            crops = tf.where(for_pixels(request["own_given"]), own_crops, crops)
        return Retrieval(
            reply={
                "boxes": self._boxes(request, encoding),
                "patch_ids": tf.where(chosen, patch_ids, RETRIEVE),
                "patch_categories": tf.where(chosen & (patch_ids >= 0), categories, PADDING),
                "patch_scores": tf.where(chosen, scores, NO_SCORE),
                "patch_crops_bytes": encode_crops(crops, chosen),
                "order": selection.order,
            },
            encoding=encoding,
            pixels=pixels_of(crops, chosen),
        )

    def _choose(self, candidates: Candidates, request: Fields) -> Selection:
        """Chooses with a mode, a seed and a temperature per row."""
        mode = request["mode"] % len(MODES)  # [B]
        slot = self.search.candidates  # holds the patch to which an object is locked
        options = Options(
            seeds=derive_row_seeds(request["seed"], Purpose.GUMBEL_NOISE),
            is_random=mode == SAMPLE,
            temperature=request["temperature"],
            locked=tf.where(candidates.valid[:, :, slot], slot, -1),
            repeats=request["mode"] >= len(MODES),
        )
        return choose_patches(self.retriever, candidates, options, is_nearest=mode == NEAREST)

    def _queries(self, graph: Fields) -> tf.Tensor:
        """[B, O, W] graph features, rounded like the stored ones of the bank.

        Training used the same rounding.
        """
        queries = self.prefilter.encoder(graph).object_vectors  # [B, O, W]
        return tf.cast(tf.cast(queries, tf.float16), tf.float32)

    def _candidates(
        self,
        graph: Fields,
        mask: tf.Tensor,
        patch_ids: tf.Tensor,
        licences_refused: tf.Tensor,
    ) -> Candidates:
        """K nearest patches per object, and the patch to which the request locks it."""
        queries = self._queries(graph)  # [B, O, W]
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
            searched=self.search.candidates,
        )

    def _with_own_patches(
        self, candidates: Candidates, own_patches: tf.Tensor, own_given: tf.Tensor
    ) -> Candidates:
        """Puts the user's own patches into the last slot and locks them."""
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
            searched=candidates.searched,
        )

    def _embed_own_patches(self, patches: tf.Tensor) -> tf.Tensor:
        """[B, O, S, S, 3] uint8 -> [B, O, D], embedded like the bank."""
        size = self.feature_network.input_shape[1]
        flat = tf.cast(tf.reshape(patches, [-1, *patches.shape[2:]]), tf.float32)  # [B*O, S, S, 3]
        if flat.shape[1] != size:
            flat = tf.image.resize(flat, [size, size], antialias=True)  # [B*O, S', S', 3]
        features = self.feature_network(flat, training=False)  # [B*O, Dx]
        limit = float(np.finfo(np.float16).max)
        rounded = tf.cast(tf.clip_by_value(features, -limit, limit), tf.float16)  # [B*O, Dx]
        crops = resize_own_patches(patches, self.sizes.crop)  # [B, O, h, w, 3]
        flat_crops = tf.reshape(crops, [-1, *crops.shape[2:]])  # [B*O, h, w, 3]
        own = Patches(lambda: tf.cast(rounded, tf.float32), lambda: flat_crops)
        embeddings = self.retriever.embed(own)  # [B*O, D]
        return tf.reshape(embeddings, [-1, patches.shape[1], embeddings.shape[-1]])  # [B, O, D]


def _graph_of(request: Fields) -> Fields:
    return {name: request[name] for name in ("objects", "triples")}


def _by_row(
    one_row: Callable[[Fields], Fields], request: Fields, shapes: dict[str, tf.TensorSpec]
) -> Fields:
    """Answers one row after another, so that memory does not grow with the batch."""
    return tf.map_fn(one_row, request, fn_output_signature=shapes, parallel_iterations=1)
