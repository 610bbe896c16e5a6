"""The wire contract of an exported model: endpoints, fields, types, shapes, limits.

Defined once for the graph that checks a request, the command and the clients that make one, and the
description that accompanies the model. Imports no TensorFlow.

Every input has the batch as its first dimension and otherwise fixed sizes, so that a server can
merge requests; whatever varies per request is a field with one entry per row. A row's result does
not depend on the other rows of its batch. Fields whose name ends in `_bytes` are binary.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from rgan_tf.errors import CorruptData
from rgan_tf.scene_graph import MAX_FILE_BYTES, MAX_OBJECTS, MAX_RELATIONSHIPS

GENERATE = "serving_default"
GENERATE_WITH_PATCHES = "generate_with_patches"
RETRIEVE_ONLY = "retrieve"
ENCODE = "encode"
CANDIDATES = "candidates"
PATCHES = "patches"
NEIGHBOURS = "neighbours"

RETRIEVE = -1  # patch_ids: let the model choose; in the reply: padding
NO_PATCH = -1  # in a list of patches: nothing at this place
SAMPLE, DETERMINISTIC, NEAREST = range(3)  # mode
MODES = ("sample", "deterministic", "nearest")  # their names, by number
WITH_REPEATS = len(MODES)  # added to a mode: objects of one scene may get the same patch
ALL_MODES = (*MODES, *(f"{name}_with_repeats" for name in MODES))
MAX_TEMPERATURE = 100.0
OWN_PATCH = -2  # patch_ids of the reply: the patch that came with the request
NO_SCORE = -1.0  # patch_scores: the patch is not from the pre-filter; other distances: none
MAX_SEED = 2**31 - 1
EXACT, SCANN = "exact", "scann"
INDICES = (EXACT, SCANN)  # how the graph searches its bank; the first only needs TensorFlow

ALLOWED_BATCHES = (1, 2, 4, 8)  # rows that a server should run at once
MAX_BATCH = ALLOWED_BATCHES[-1]  # rows per request that a server should allow

VERSION = 5
# 3 has no modes with repeats (its modes let them), no patch_categories; 3 and 4 have no
# candidates, patches, neighbours and do not tell the scale.
RIVAL_VERSION = 6
# Of a model of another system than RetrieveGAN, which it names; see `rival_endpoints`.
_READABLE = (3, 4, VERSION, RIVAL_VERSION)
_INTRODUCED = {CANDIDATES: 5, PATCHES: 5, NEIGHBOURS: 5}  # endpoint -> version; others: 3
DEFAULT_NAME = "retrievegan"  # of a model at a server
RETRIEVEGAN = "retrievegan"  # the system that a model without another one's name is of


@dataclasses.dataclass(frozen=True)
class Field:
    """One tensor of a request or reply.

    Attributes:
      name: key in the signature.
      dtype: NumPy name; "bytes" for binary strings.
      shape: dimensions after the batch, as numbers or names of `Sizes` attributes.
      meaning: one line for people.
      since: version of the contract that introduced it.
    """

    name: str
    dtype: str
    shape: tuple[str | int, ...]
    meaning: str
    since: int = 3


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Values of the dimension names of a model, and its numbers of ids.

    Those of what a rival lacks are 0.

    Attributes:
      objects: O, objects per graph.
      triples: T, relationships per graph.
      crop: side of the patches that the generator reads, px.
      own_patch: side of a patch that comes with a request, px.
      image: side of the image, px.
      width: W, length of a graph feature.
      patches: N, rows of the patch bank.
      num_objects: rows of the object vocabulary, including reserved ids.
      num_predicates: rows of the predicate vocabulary, including the reserved id.
      licences: L, licence codes among the patches, at least 1.
      candidates: K, patches that the pre-filter finds for an object; 0 if the model does not tell.
    """

    objects: int
    triples: int
    crop: int
    own_patch: int
    image: int
    width: int
    patches: int
    num_objects: int
    num_predicates: int
    licences: int
    candidates: int = 0

    def shape_of(self, field: Field) -> tuple[int, ...]:
        """Dimensions of a field after the batch."""
        return tuple(getattr(self, size) if isinstance(size, str) else size for size in field.shape)


GRAPH_INPUTS = (
    Field("objects", "int32", ("objects",), "category ids, 0 where there is no object"),
    Field(
        "triples",
        "int32",
        ("triples", 3),
        "subject position, predicate id, object position; -1 where there is no relationship",
    ),
    Field("boxes", "float32", ("objects", 4), "y0, x0, y1, x1 as fractions; used where given"),
    Field("boxes_given", "bool", ("objects",), "whether `boxes` overrides the predicted box"),
)
PATCH_IDS_INPUT = Field(
    "patch_ids", "int32", ("objects",), "row of the patch bank to use, -1 to retrieve one"
)
LICENCES_INPUT = Field(
    "licences_refused",
    "bool",
    ("licences",),
    "whether patches under the licence, by its place in licences.json, must not be retrieved",
)
RETRIEVE_INPUTS = (
    *GRAPH_INPUTS,
    PATCH_IDS_INPUT,
    Field(
        "mode",
        "int32",
        (),
        "0 draws a compatible group, 1 takes the best group without noise, 2 takes for each object "
        "the patch nearest by graph feature, whatever the others are; 3, 4, 5 do the same, and "
        "objects may get the same patch while others are free",
    ),
    Field("seed", "int32", (), "of this row's draw; used in modes 0 and 3"),
    Field(
        "temperature",
        "float32",
        (),
        "of this row's draw, as trained at 1; higher varies more; used in modes 0 and 3",
    ),
    LICENCES_INPUT,
)
OWN_PATCH_INPUTS = (
    Field(
        "own_patches",
        "uint8",
        ("objects", "own_patch", "own_patch", 3),
        "RGB patches of the user's own; used where given",
    ),
    Field("own_given", "bool", ("objects",), "whether `own_patches` is used for the object"),
)
BOXES_OUTPUT = Field(
    "boxes", "float32", ("objects", 4), "y0, x0, y1, x1 of the layout; 0 where no object"
)
RETRIEVE_OUTPUTS = (
    BOXES_OUTPUT,
    Field(
        "patch_ids",
        "int32",
        ("objects",),
        "row of the patch bank; -2 for an own patch, -1 where there is no object",
    ),
    Field(
        "patch_categories",
        "int32",
        ("objects",),
        "category id of the patch; another than the object's where its category has no patch that "
        "may be retrieved, or the request names such a patch; 0 for an own patch and where no "
        "object is",
        since=4,
    ),
    Field(
        "patch_scores",
        "float32",
        ("objects",),
        "distance of the patch in the pre-filter; -1 for an own patch and where no object is",
    ),
    Field("patch_crops_bytes", "bytes", ("objects",), "the patches as PNG; empty where no object"),
    Field(
        "order",
        "int32",
        ("objects",),
        "positions of the objects in the order of retrieval, then -1; locked ones are absent",
    ),
)
GENERATE_OUTPUTS = (Field("image_bytes", "bytes", (), "the image as PNG"), *RETRIEVE_OUTPUTS)
ENCODE_OUTPUTS = (
    BOXES_OUTPUT,
    Field(
        "graph_features",
        "float32",
        ("objects", "width"),
        "what the pre-filter compares with those of the patches; 0 where no object",
    ),
)
CANDIDATES_INPUTS = (*GRAPH_INPUTS, PATCH_IDS_INPUT, LICENCES_INPUT, *OWN_PATCH_INPUTS)
CANDIDATES_OUTPUTS = (
    Field(
        "candidate_ids",
        "int32",
        ("objects", "candidates"),
        "rows of the patch bank that the pre-filter finds, nearest first, then -1",
    ),
    Field(
        "candidate_distances",
        "float32",
        ("objects", "candidates"),
        "their distances in the pre-filter; -1 where there is none",
    ),
    Field(
        "candidate_group_distances",
        "float32",
        ("objects", "candidates"),
        "their distances from the mean of the patches that the request gives to the other objects, "
        "by which the selection step compares; -1 where no other object has one, where there is no "
        "candidate, and if the retriever knows nothing of a patch",
    ),
    BOXES_OUTPUT,
)
PATCHES_INPUTS = (Field("ids", "int32", ("candidates",), "rows of the patch bank, -1 for none"),)
PATCHES_OUTPUTS = (
    Field("patch_crops_bytes", "bytes", ("candidates",), "the patches as PNG; empty for none"),
)
NEIGHBOURS_INPUTS = (Field("patch_id", "int32", (), "row of the patch bank"), LICENCES_INPUT)
NEIGHBOURS_OUTPUTS = (
    Field(
        "neighbour_ids",
        "int32",
        ("candidates",),
        "rows of the patch bank: of the patch's own category, nearest first, then of others, "
        "nearest first, then -1; never the patch itself, and none if the retriever knows nothing "
        "of a patch",
    ),
    Field(
        "neighbour_distances",
        "float32",
        ("candidates",),
        "their distances from the patch, as the selection step measures them; -1 where there is "
        "none",
    ),
)
INPUTS = {
    GENERATE: RETRIEVE_INPUTS,
    GENERATE_WITH_PATCHES: RETRIEVE_INPUTS + OWN_PATCH_INPUTS,
    RETRIEVE_ONLY: RETRIEVE_INPUTS,
    ENCODE: GRAPH_INPUTS,
    CANDIDATES: CANDIDATES_INPUTS,
    PATCHES: PATCHES_INPUTS,
    NEIGHBOURS: NEIGHBOURS_INPUTS,
}
OUTPUTS = {
    GENERATE: GENERATE_OUTPUTS,
    GENERATE_WITH_PATCHES: GENERATE_OUTPUTS,
    RETRIEVE_ONLY: RETRIEVE_OUTPUTS,
    ENCODE: ENCODE_OUTPUTS,
    CANDIDATES: CANDIDATES_OUTPUTS,
    PATCHES: PATCHES_OUTPUTS,
    NEIGHBOURS: NEIGHBOURS_OUTPUTS,
}


@dataclasses.dataclass(frozen=True)
class Endpoints:
    """The fields of the endpoints of one model; a name stands in both or in none.

    Attributes:
      inputs, outputs: endpoint -> fields.
    """

    inputs: dict[str, tuple[Field, ...]]
    outputs: dict[str, tuple[Field, ...]]


def endpoints_of(contract: int) -> Endpoints:
    """Those of RetrieveGAN in that version of the contract, in the order of `INPUTS`."""
    names = [name for name in INPUTS if _INTRODUCED.get(name, 3) <= contract]
    return Endpoints(
        {name: INPUTS[name] for name in names},
        {name: tuple(f for f in OUTPUTS[name] if f.since <= contract) for name in names},
    )


def rival_endpoints(*, reads_boxes: bool, reads_patches: bool) -> Endpoints:
    """Those of a rival: one, with the fields of `serving_default` that the system has.

    Args:
      reads_boxes: whether it draws in a layout.
      reads_patches: whether it draws from patches of the bank.
    """
    absent = {"mode", "temperature", "order"}  # a rival has a seed alone
    if not reads_boxes:
        absent |= {field.name for field in (*GRAPH_INPUTS[2:], BOXES_OUTPUT)}
    if not reads_patches:
        absent |= {field.name for field in (PATCH_IDS_INPUT, LICENCES_INPUT)}
        absent |= {field.name for field in RETRIEVE_OUTPUTS if field.name.startswith("patch_")}
    return Endpoints(
        {GENERATE: tuple(field for field in RETRIEVE_INPUTS if field.name not in absent)},
        {GENERATE: tuple(field for field in GENERATE_OUTPUTS if field.name not in absent)},
    )


def describe(
    sizes: Sizes,
    scale: float | None = None,
    *,
    system: str = RETRIEVEGAN,
    endpoints: Endpoints | None = None,
) -> dict[str, Any]:
    """The contract of one model as JSON: sizes, limits, endpoints with all fields.

    Args:
      sizes: of the model.
      scale: what multiplies the distances of the selection step to give logits; None if its
        retriever has no such number.
      system: value of `training.system`.
      endpoints: of a rival; None takes RetrieveGAN's.
    """
    is_ours = endpoints is None
    endpoints = endpoints or endpoints_of(VERSION)

    def fields(table: tuple[Field, ...]) -> list[dict[str, Any]]:
        return [
            {
                "name": field.name,
                "dtype": field.dtype,
                "shape": ["batch", *sizes.shape_of(field)],
                "meaning": field.meaning,
            }
            for field in table
        ]

    return {
        "version": VERSION if is_ours else RIVAL_VERSION,
        **({} if is_ours else {"system": system}),
        "sizes": dataclasses.asdict(sizes),
        "scale": scale,
        "limits": {
            "batch": MAX_BATCH,
            "objects": min(sizes.objects, MAX_OBJECTS),
            "relationships": min(sizes.triples, MAX_RELATIONSHIPS),
            "graph_bytes": MAX_FILE_BYTES,
            "seed": MAX_SEED,
            **({"temperature": MAX_TEMPERATURE} if is_ours else {}),
        },
        **({"modes": list(ALL_MODES)} if is_ours else {}),
        "endpoints": {
            name: {"inputs": fields(inputs), "outputs": fields(endpoints.outputs[name])}
            for name, inputs in endpoints.inputs.items()
        },
    }


def endpoints_from_description(description: Any, source: str) -> tuple[str, Endpoints]:
    """Reads the system and its endpoints from the result of `describe`.

    Raises:
      CorruptData: if they are missing where they must be given.
    """
    try:
        version = description["version"]
        if version != RIVAL_VERSION:
            return RETRIEVEGAN, endpoints_of(version)
        names = {field["name"] for field in description["endpoints"][GENERATE]["inputs"]}
        endpoints = rival_endpoints(
            reads_boxes="boxes" in names, reads_patches=PATCH_IDS_INPUT.name in names
        )
        return str(description["system"]), endpoints
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorruptData(f"{source}: not the description of a model ({error!r})") from error


def sizes_from_description(description: Any, source: str) -> Sizes:
    """Reads the sizes from the result of `describe`.

    Raises:
      CorruptData: if they are missing, or of another version of the contract.
    """
    try:
        version = description["version"]
        if version not in _READABLE:
            raise CorruptData(
                f"{source}: contract version {version}, this program reads "
                f"{_READABLE[0]} to {_READABLE[-1]}; export the model again"
            )
        sizes = {key: int(value) for key, value in description["sizes"].items()}
        if version == VERSION and sizes["candidates"] < 1:
            raise ValueError(f"candidates {sizes['candidates']}")
        return Sizes(**sizes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorruptData(f"{source}: not the description of a model ({error!r})") from error


def scale_from_description(description: Any, source: str) -> float | None:
    """Reads the scale from the result of `describe`; None if the model tells none.

    Raises:
      CorruptData: if it is not a scale, or is missing where it must be given.
    """
    try:
        if description["version"] != VERSION:
            return None
        scale = description["scale"]
        if scale is not None and not 0.0 < float(scale) < math.inf:
            raise ValueError(f"scale {scale}")
        return None if scale is None else float(scale)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptData(f"{source}: not the description of a model ({error!r})") from error


def empty_request(
    endpoint: str, sizes: Sizes, batch: int, fields: Iterable[Field] | None = None
) -> dict[str, np.ndarray]:
    """A request without objects: every field with its type and shape, padded.

    Args:
      endpoint, sizes, batch, fields: see `example_request`.
    """
    padding = {"triples": -1, "patch_ids": RETRIEVE, "temperature": 1.0, "ids": NO_PATCH}
    return {
        field.name: np.full(
            (batch, *sizes.shape_of(field)), padding.get(field.name, 0), np.dtype(field.dtype)
        )
        for field in (INPUTS[endpoint] if fields is None else fields)
    }


def example_request(
    endpoint: str, sizes: Sizes, batch: int, fields: Iterable[Field] | None = None
) -> dict[str, np.ndarray]:
    """A small valid request, for checks and warm-up; row i has seed i in mode 0.

    Args:
      endpoint: a key of `INPUTS`.
      sizes: of the model.
      batch: rows.
      fields: of the model's endpoint; None takes RetrieveGAN's.
    """
    request = empty_request(endpoint, sizes, batch, fields)
    present = min(3, sizes.objects)
    if "objects" in request:
        lowest = 2  # the first category after the reserved ids
        for position in range(present):
            request["objects"][:, position] = lowest + position % (sizes.num_objects - lowest)
        if present > 1 and sizes.num_predicates > 1:
            request["triples"][:, 0] = [0, 1, 1]
    if "boxes" in request:
        request["boxes"][:, 0] = [0.0, 0.0, 1.0, 1.0]
        request["boxes_given"][:, 0] = True
    if "seed" in request:
        request["seed"][:] = np.arange(batch)
    if "licences_refused" in request:
        request["licences_refused"][-1, -1] = sizes.licences > 1
    if "own_given" in request:
        request["own_given"][:, present - 1] = True
        shade = np.arange(sizes.own_patch, dtype=np.uint8)
        request["own_patches"][:, present - 1] = shade[:, np.newaxis, np.newaxis]
    if "ids" in request:
        shown = min(sizes.candidates, sizes.patches)
        request["ids"][:, :shown] = np.arange(shown)
    if "patch_id" in request:
        request["patch_id"][:] = np.arange(batch) % sizes.patches
    return request
