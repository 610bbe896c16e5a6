"""Encodes a scene graph as one row of a request. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.model_folder import ModelFolder
from export.signatures import (
    GENERATE,
    GENERATE_WITH_PATCHES,
    MAX_SEED,
    MAX_TEMPERATURE,
    MODES,
    SAMPLE,
    WITH_REPEATS,
)
from rgan_tf.arguments import real_number, whole_number
from rgan_tf.bank.licences import LicenceFilter, licence_code
from rgan_tf.errors import BadInput
from rgan_tf.scene_graph import SceneGraph, encode_scene_graph
from rgan_tf.storage.image import read_image, resize_image

_MAX_SAMPLES = 1000
MODEL, USER = "model", "user"  # who chose a patch


@dataclasses.dataclass(frozen=True)
class Draw:
    """How the patches of one row are retrieved.

    Attributes:
      mode: one of the numbers of `export.signatures.MODES`; None for a rival, which has a seed
        alone.
      seed: of the draw; 0 if nothing is random.
      temperature: of the draw.
      repeats: whether objects may get the same patch while others are free; None for a model of an
        earlier version, which lets them and has no such option.
    """

    mode: int | None = SAMPLE
    seed: int = 0
    temperature: float = 1.0
    repeats: bool | None = False

    def for_model(self, model: ModelFolder) -> Draw:
        """The draw in terms of that model.

        Raises:
          BadInput: if it is of a rival, and the draw asks for more than a seed.
        """
        if model.rival is not None:
            if self != Draw(seed=self.seed):
                raise BadInput(
                    f"--model {model.folder}: is of {model.system}, which draws by its seed alone; "
                    "leave out mode, temperature and allow-repeats"
                )
            return dataclasses.replace(self, mode=None)
        return self if model.avoids_repeats else dataclasses.replace(self, repeats=None)

    @property
    def fields(self) -> dict[str, np.ndarray]:
        """Its values by field name."""
        if self.mode is None:
            return {"seed": np.int32(self.seed)}
        return {
            "mode": np.int32(self.mode + (WITH_REPEATS if self.repeats else 0)),
            "seed": np.int32(self.seed),
            "temperature": np.float32(self.temperature),
        }

    def describe(self) -> dict[str, Any]:
        """The draw as JSON; seed and temperature are null if nothing is random."""
        if self.mode is None:
            return {"seed": self.seed}
        is_drawn = self.mode == SAMPLE
        return {
            "mode": MODES[self.mode],
            "seed": self.seed if is_drawn else None,
            "temperature": self.temperature if is_drawn else None,
            "repeats_allowed": self.repeats is not False,
        }


def read_draws(
    mode: str,
    samples: int | None,
    first: int,
    temperature: float,
    usual: int,
    *,
    repeats: bool = False,
    prefix: str = "--",
) -> list[Draw]:
    """The `Draw` of every sample of a graph.

    Args:
      mode: name of a mode.
      samples: number of samples; None for `usual`.
      first: seed of the first sample.
      temperature: of all samples.
      usual: default number of samples.
      repeats: whether objects may get the same patch while others are free.
      prefix: of the arguments' names in messages, "--" for options.

    Raises:
      BadInput: if a value is not a number, is out of range or does not suit the mode.
    """
    if mode not in MODES:
        raise BadInput(f"{prefix}mode {mode!r}: must be one of {', '.join(MODES)}")
    number = MODES.index(mode)
    first = whole_number(first, f"{prefix}seed")
    samples = None if samples is None else whole_number(samples, f"{prefix}samples")
    temperature = real_number(temperature, f"{prefix}temperature")
    # Also refuses NaN, and what is 0 as float32, the model's type.
    if not (temperature <= MAX_TEMPERATURE and 0.0 < np.float32(temperature)):
        raise BadInput(f"{prefix}temperature {temperature:g}: must be in (0, {MAX_TEMPERATURE:g}]")
    if number != SAMPLE:
        if samples not in (None, 1):
            raise BadInput(
                f"{prefix}samples {samples}: with {prefix}mode {mode} all are the same; leave it "
                "out"
            )
        return [Draw(mode=number, repeats=repeats)]
    samples = usual if samples is None else samples
    if not 1 <= samples <= _MAX_SAMPLES:
        raise BadInput(f"{prefix}samples {samples}: must be in [1, {_MAX_SAMPLES}]")
    if not 0 <= first <= MAX_SEED - samples + 1:
        raise BadInput(f"{prefix}seed {first}: must be in [0, {MAX_SEED - samples + 1}]")
    return [Draw(SAMPLE, seed, temperature, repeats) for seed in range(first, first + samples)]


@dataclasses.dataclass(frozen=True)
class Request:
    """One row of a request, without its `Draw`.

    Attributes:
      graph: the graph that it was made from.
      index: position of the graph in its file.
      endpoint: its signature.
      fields: values by field name, without the batch dimension.
      kept: positions of objects that stay as in an earlier picture.
      replaced: position -> id of the patch to avoid, None for the user's own image; for objects
        that are redrawn while others are kept.
    """

    graph: SceneGraph
    index: int
    endpoint: str
    fields: dict[str, np.ndarray]
    kept: tuple[int, ...] = ()
    replaced: dict[int, int | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Requests:
    """Requests to one model."""

    model: ModelFolder
    rows: list[Request]


def refused_licences(
    licences: LicenceFilter, model: ModelFolder, option: str = "--licence"
) -> np.ndarray:
    """The field `licences_refused` of one row: [L] bool.

    Args:
      licences: filter for retrieval.
      model: the model to ask.
      option: name of the filter in messages.

    Raises:
      BadInput: if no patch of the model passes the filter.
    """
    refused = np.array(licences.refused(model.licences))
    if refused.all():
        raise BadInput(
            f"{option} {licences}: no patch of {model.folder} is under it; its patches are under "
            f"{', '.join(model.licences)}"
        )
    return refused


def build_request(
    graph: SceneGraph,
    model: ModelFolder,
    folder: Path,
    index: int,
    source: str,
    licences: LicenceFilter,
    option: str = "--licence",
) -> Request:
    """Encodes a graph for a model and reads its images.

    Args:
      graph: with valid structure.
      model: the model to ask.
      folder: base of image paths.
      index: position of the graph in its file.
      source: its name in messages.
      licences: filter for retrieval.
      option: name of the filter in messages.

    Raises:
      BadInput: if the graph does not fit the model, names a patch with a refused licence, or an
        image is missing or unusable; or no patch passes the filter.
      CorruptData: if an image is damaged.
    """
    sizes = model.sizes
    fields = encode_scene_graph(
        graph, model.vocabulary, sizes.objects, sizes.triples, source, model.folder
    )
    paths = fields.pop("patch_paths")
    _check_has(model, fields, paths, licences, source, option)
    for position, patch_id in enumerate(fields["patch_ids"]):
        if patch_id >= sizes.patches:
            raise BadInput(
                f"{source}: patches[{position}]: {patch_id} must be in [0, {sizes.patches}), "
                "the patches of this model"
            )
        if patch_id >= 0:
            where = f"{source}: patches[{position}]"
            _check_licence(model.provenance[patch_id], licences, where, option)
    if model.reads_patches:
        fields["licences_refused"] = refused_licences(licences, model, option)
    if model.rival is not None:
        has = {field.name for field in model.inputs_of(GENERATE)}
        fields = {name: value for name, value in fields.items() if name in has}
    own = {
        position: resize_image(read_image(folder / path), sizes.own_patch)
        for position, path in enumerate(paths)
        if path is not None
    }
    return with_own_patches(Request(graph, index, GENERATE, fields), own, model)


def with_own_patches(
    request: Request, own: Mapping[int, np.ndarray], model: ModelFolder
) -> Request:
    """The request with the user's own patches; unchanged if there are none.

    Args:
      request: without any.
      own: position -> uint8 [S, S, 3].
      model: the model to ask, whose own patches have the side S.
    """
    if not own:
        return request
    fields = {**request.fields, **own_fields(own, model)}
    return dataclasses.replace(request, endpoint=GENERATE_WITH_PATCHES, fields=fields)


def own_fields(own: Mapping[int, np.ndarray], model: ModelFolder) -> dict[str, np.ndarray]:
    """The fields of one row for the user's own patches; see `with_own_patches`."""
    count, side = model.sizes.objects, model.sizes.own_patch
    own_patches = np.zeros([count, side, side, 3], np.uint8)
    own_given = np.zeros([count], bool)
    for position, image in own.items():
        own_patches[position], own_given[position] = image, True
    return {"own_patches": own_patches, "own_given": own_given}


def _check_has(
    model: ModelFolder,
    fields: Mapping[str, np.ndarray],
    paths: list[str | None],
    licences: LicenceFilter,
    source: str,
    option: str,
) -> None:
    """Refuses what the system of a model lacks."""
    if not model.reads_boxes and fields["boxes_given"].any():
        raise BadInput(
            f"{source}: boxes: this model is of {model.system}, which draws in no layout; leave "
            "them out"
        )
    if not model.reads_patches:
        draws = f"this model is of {model.system}, which draws from no patches"
        if licences.codes is not None:
            raise BadInput(f"{option} {licences}: {draws}; leave it out")
        if (fields["patch_ids"] >= 0).any() or any(path is not None for path in paths):
            raise BadInput(f"{source}: patches: {draws}; leave them out")
    if model.rival is not None and any(path is not None for path in paths):
        raise BadInput(
            f"{source}: patches: this model is of {model.system} and takes no images of your own; "
            "name a patch of its bank by number"
        )


def _check_licence(patch: dict[str, Any], licences: LicenceFilter, where: str, option: str) -> None:
    name = patch["licence"] or ""
    if not licences.allows(name):
        raise BadInput(
            f"{where}: this patch is under {licence_code(name)} ({name!r}), {option} allows "
            f"{licences}; name another, or null to have one retrieved"
        )
