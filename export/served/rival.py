"""The served model of a rival: a graph and a seed in, PNG bytes out, and patches if it has any."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export.served.pixels import encode_crops, encode_images
from export.served.validation import checked_request
from export.signatures import GENERATE, NO_SCORE, RETRIEVE, Endpoints, Sizes, rival_endpoints
from rgan_tf.model.networks import Sg2imNetworks
from rgan_tf.retrieval.bank_variables import ServedBank
from rgan_tf.retrieval.distance import l2_distance
from rgan_tf.retrieval.index.in_graph import ServedSearch
from rgan_tf.rivals.rival import RivalNetworks
from rgan_tf.vocabulary import PADDING

Fields = dict[str, tf.Tensor]  # by field name


class _Found(NamedTuple):
    """The patches that a row may be drawn from, nearest first; [1, O, K] each."""

    ids: tf.Tensor
    valid: tf.Tensor
    distances: tf.Tensor


class ServedRival(tf.Module):
    """One endpoint over a trained rival; see `export.signatures.rival_endpoints` for its fields.

    Rows are drawn one after another, so that not even rounding depends on the other rows.

    Args:
      networks: of the rival.
      first_stage: of the run: gives the layout of a rival that reads boxes and predicts none, and
        the queries of one that draws from patches; None if neither is needed.
      sizes: of all tensors.
      bank, search: the patches; None if the rival draws from none.
    """

    scale = None

    def __init__(
        self,
        networks: RivalNetworks,
        first_stage: Sg2imNetworks | None,
        sizes: Sizes,
        bank: ServedBank | None = None,
        search: ServedSearch | None = None,
    ):
        super().__init__(name="served_rival")
        self.networks = networks
        self.first_stage = first_stage
        self.sizes = sizes
        self.bank = bank
        self.search = search

    @property
    def endpoints(self) -> Endpoints:
        """Its endpoint, with the fields that this system has."""
        return rival_endpoints(
            reads_boxes=self.networks.reads_boxes, reads_patches=self.networks.reads_patches
        )

    def functions(self) -> dict[str, tf.types.experimental.GenericFunction]:
        """The endpoint by its name, as a function of its fields in order; traced when called."""
        return {GENERATE: tf.function(self._endpoint, input_signature=self._input_signature())}

    def function(self, name: str) -> Callable[..., Fields]:
        """The endpoint as a function of named fields for this process; traced when called."""
        traced = self.functions()[name]
        names = [field.name for field in self.endpoints.inputs[name]]
        return lambda **fields: traced(*(fields[name] for name in names))

    def _input_signature(self) -> list[tf.TensorSpec]:
        return [
            tf.TensorSpec([None, *self.sizes.shape_of(field)], field.dtype, name=field.name)
            for field in self.endpoints.inputs[GENERATE]
        ]

    @tf.autograph.experimental.do_not_convert
    def _endpoint(self, *fields: tf.Tensor) -> Fields:
        names = [field.name for field in self.endpoints.inputs[GENERATE]]
        request = dict(zip(names, fields, strict=True))
        licences = None if self.bank is None else self.bank.licence_ids
        request = checked_request(request, self.sizes, licences)
        side, objects = self.sizes.image, self.sizes.objects
        shapes = {"image": tf.TensorSpec([side, side, 3], tf.float32)}
        if self.networks.reads_boxes:
            shapes["boxes"] = tf.TensorSpec([objects, 4], tf.float32)
        if self.search is not None:
            shapes["patch_ids"] = tf.TensorSpec([objects], tf.int32)
            shapes["patch_scores"] = tf.TensorSpec([objects], tf.float32)
        reply = tf.map_fn(
            self._draw_row, request, fn_output_signature=shapes, parallel_iterations=1
        )
        images = reply.pop("image")  # [B, H, W, 3]
        if self.search is not None:
            chosen, rows = reply["patch_ids"] >= 0, tf.maximum(reply["patch_ids"], 0)  # [B, O] each
            categories = tf.gather(self.bank.category_ids, rows)  # [B, O]
            reply["patch_categories"] = tf.where(chosen, categories, PADDING)
            reply["patch_crops_bytes"] = encode_crops(tf.gather(self.bank.crops, rows), chosen)
        return {"image_bytes": encode_images(images), **reply}

    def _draw_row(self, row: Fields) -> Fields:
        single = {name: value[tf.newaxis] for name, value in row.items()}  # [1, ...]
        graph = {name: single[name] for name in ("objects", "triples")}
        if self.search is None:
            drawing = self.networks.synthesise(graph, self._boxes(single, graph), single["seed"])
            reply = {}
        else:
            found = self._candidates(single, graph)
            patches = {
                "candidate_crops": tf.gather(self.bank.crops, tf.maximum(found.ids, 0)),
                "candidate_valid": found.valid,
            }
            boxes = self._boxes(single, graph)
            drawing = self.networks.synthesise(graph | patches, boxes, single["seed"])
            is_drawn = drawing.choice[0] >= 0  # [O]
            place = tf.maximum(drawing.choice, 0)  # [1, O]
            ids = tf.gather(found.ids, place, batch_dims=2)[0]  # [O]
            distances = tf.gather(found.distances, place, batch_dims=2)[0]  # [O]
            reply = {
                "patch_ids": tf.where(is_drawn, ids, RETRIEVE),
                "patch_scores": tf.where(is_drawn, distances, NO_SCORE),
            }
        if drawing.boxes is not None:
            reply["boxes"] = drawing.boxes[0]
        return {"image": drawing.images[0], **reply}

    def _boxes(self, request: Fields, graph: Fields) -> tf.Tensor | None:
        """[1, O, 4]: the given box, else the rival's own, else the first stage's; None without."""
        if not self.networks.reads_boxes:
            return None
        predicts = self.networks if self.networks.predicts_boxes else self.first_stage
        predicted = predicts.predict_boxes(graph, predicts.encoder(graph))  # [1, O, 4]
        given = request["boxes_given"][..., tf.newaxis]  # [1, O, 1]
        return tf.where(given, request["boxes"], predicted)

    def _candidates(self, request: Fields, graph: Fields) -> _Found:
        """The nearest patches of each object's own category, or the one that the request names."""
        queries = self.first_stage.encoder(graph).object_vectors[0]  # [O, W]
        # As the bank stores its features; training used the same rounding.
        queries = tf.cast(tf.cast(queries, tf.float16), tf.float32)
        objects = graph["objects"][0]  # [O]
        ids, valid, distances = self.search.row_search()(
            queries, objects, request["licences_refused"][0]
        )  # [O, K] each
        categories = tf.gather(self.bank.category_ids, tf.maximum(ids, 0))  # [O, K]
        valid &= (categories == objects[:, tf.newaxis]) & (objects != PADDING)[:, tf.newaxis]

        named = request["patch_ids"][0]  # [O]
        is_named = (named >= 0)[:, tf.newaxis]  # [O, 1]
        rows = tf.maximum(named, 0)  # [O]
        their = l2_distance(queries, tf.gather(self.bank.graph_features, rows))  # [O]
        k = self.search.candidates
        first = tf.constant(np.arange(k) == 0)[tf.newaxis]  # [1, K]
        return _Found(
            tf.where(is_named, rows[:, tf.newaxis], ids)[tf.newaxis],
            tf.where(is_named, first, valid)[tf.newaxis],
            tf.where(is_named, their[:, tf.newaxis], distances)[tf.newaxis],
        )
