"""From a scene graph to one row of a request. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from export.model_folder import ModelFolder
from export.signatures import GENERATE, GENERATE_WITH_PATCHES
from rgan_tf.errors import BadInput
from rgan_tf.image import read_image, resize_image
from rgan_tf.scene_graph import SceneGraph, encode_scene_graph


@dataclasses.dataclass(frozen=True)
class Request:
    """One row of a request, without its seed.

    Attributes:
      graph: what it was made from.
      index: position of the graph in its file.
      endpoint: the signature that takes it.
      fields: values by field name, without the batch dimension.
    """

    graph: SceneGraph
    index: int
    endpoint: str
    fields: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Requests:
    """Requests to one model."""

    model: ModelFolder
    rows: list[Request]


def build_request(
    graph: SceneGraph, model: ModelFolder, folder: Path, index: int, source: str
) -> Request:
    """Encodes a graph for a model and reads the images that it names.

    Args:
      graph: with sound structure.
      model: that will read it.
      folder: what image paths are relative to.
      index: position of the graph in its file.
      source: how to call the graph in messages.

    Raises:
      BadInput: if the graph does not fit the model, or an image is missing or unusable.
      CorruptData: if an image is damaged.
    """
    sizes = model.sizes
    fields = encode_scene_graph(graph, model.vocabulary, sizes.objects, sizes.triples, source)
    paths = fields.pop("patch_paths")
    for position, patch_id in enumerate(fields["patch_ids"]):
        if patch_id >= sizes.patches:
            raise BadInput(
                f"{source}: patches[{position}]: {patch_id} must be in [0, {sizes.patches}), "
                "the patches of this model"
            )
    if not any(paths):
        return Request(graph, index, GENERATE, fields)
    side = sizes.own_patch
    own_patches = np.zeros([sizes.objects, side, side, 3], np.uint8)
    for position, path in enumerate(paths):
        if path is not None:
            own_patches[position] = resize_image(read_image(folder / path), side)
    own_given = np.array([path is not None for path in paths])
    fields = {**fields, "own_patches": own_patches, "own_given": own_given}
    return Request(graph, index, GENERATE_WITH_PATCHES, fields)
