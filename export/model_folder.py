"""Opens exported models, and writes what accompanies the SavedModel.

    VERSION/saved_model.pb, variables/     what TensorFlow loads
    VERSION/assets.extra/signature.json    sizes, scale, limits, endpoints (`export.signatures`)
    VERSION/assets.extra/vocabulary.json   names and ids
    VERSION/assets.extra/licences.json     codes in the order of the field licences_refused
    VERSION/assets.extra/config.yaml       the resolved config of the run
    VERSION/assets.extra/provenance.jsonl  line i: origin of patch i
    VERSION/assets.extra/model_card.md     for people (`export.publishing.model_card`)
    VERSION/assets.extra/tf_serving_warmup_requests  for a server (`export.publishing.warmup`)
    VERSION/assets.extra/manifest.json     origin, and size and checksum of every file

Of `assets.extra`, TensorFlow Serving reads the warm-up requests and ignores the rest. For the files
beside the versions see `export.publishing.serving_files`. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from export.signatures import (
    CANDIDATES,
    GENERATE,
    RETRIEVEGAN,
    Endpoints,
    Field,
    Sizes,
    describe,
    endpoints_from_description,
    endpoints_of,
    scale_from_description,
    sizes_from_description,
)
from export.signatures import VERSION as CONTRACT
from rgan_tf.bank.licences import CODES
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.exported import (
    ADVICE,
    EXTRA,
    MODEL,
    SAVED_MODEL_FILE,
    find_version,
    read_provenance,
    version_number,
)
from rgan_tf.storage.files import read_json, write_bytes_atomic, write_json_atomic
from rgan_tf.storage.manifest import describe_files
from rgan_tf.vocabulary import Vocabulary, composed

_NEEDED = tuple(
    f"{EXTRA}/{name}"
    for name in ("vocabulary.json", "signature.json", "licences.json", "provenance.jsonl")
)
_PROVENANCE_KEYS = ("category", "source", "image_id", "box", "licence", "url")


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """One version of an exported model.

    Attributes:
      folder: of the version; `tf.saved_model.load` takes it.
      vocabulary: names of its object and predicate ids.
      sizes: of its tensors.
      licences: codes of its patches' licences, in the order of the field `licences_refused`.
      manifest: origin, index and files.
      contract: version of its endpoints' contract.
      scale: what multiplies the distances of the selection step to give logits; None if its
        retriever has no such number, or the model is of an earlier version and does not tell.
      system: what it is a model of, a value of `training.system`.
      rival: the endpoints of another system than RetrieveGAN; None for RetrieveGAN.
    """

    folder: Path
    vocabulary: Vocabulary
    sizes: Sizes
    licences: tuple[str, ...]
    manifest: dict[str, Any]
    contract: int = CONTRACT
    scale: float | None = None
    system: str = RETRIEVEGAN
    rival: Endpoints | None = None

    @property
    def version(self) -> str:
        """Its number as text; the name of its folder if that is not a number."""
        number = version_number(self.folder.name)
        return self.folder.name if number is None else str(number)

    @property
    def number(self) -> int:
        """Its number at a server that only has this version: 1 if its name is not a number."""
        number = version_number(self.folder.name)
        return 1 if number is None else number

    @property
    def avoids_repeats(self) -> bool:
        """Whether it repeats a patch within a scene only on request or for lack of others."""
        return self.contract >= 4

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Names of its endpoints; earlier versions have fewer."""
        return tuple(self._fields.inputs)

    @property
    def _fields(self) -> Endpoints:
        return self.rival or endpoints_of(self.contract)

    @property
    def reads_boxes(self) -> bool:
        """Whether it draws in a layout, of which a request may give boxes."""
        return any(field.name == "boxes" for field in self.inputs_of(GENERATE))

    @property
    def reads_patches(self) -> bool:
        """Whether it draws from patches, of which a request may name some."""
        return any(field.name == "patch_ids" for field in self.inputs_of(GENERATE))

    @property
    def has_candidates(self) -> bool:
        """Whether it answers candidates of an object, pixels of any patch, and its neighbours."""
        return CANDIDATES in self.endpoints

    @property
    def candidates(self) -> int:
        """K, the number of patches that its pre-filter finds per object; 0 if it does not say."""
        return self.sizes.candidates

    def outputs_of(self, endpoint: str) -> tuple[Field, ...]:
        """Outputs of an endpoint of this model; earlier versions have fewer fields."""
        return self._fields.outputs[endpoint]

    def inputs_of(self, endpoint: str) -> tuple[Field, ...]:
        """Inputs of an endpoint of this model.

        Raises:
          BadInput: if it has no such endpoint.
        """
        if endpoint not in self.endpoints:
            raise BadInput(
                f"{self.folder}: this model of {self.system} has no endpoint {endpoint}; it has "
                f"{', '.join(self.endpoints)}"
            )
        return self._fields.inputs[endpoint]

    @functools.cached_property
    def provenance(self) -> list[dict[str, Any]]:
        """For each patch its category, source, image_id, box [x0, y0, x1, y1], licence and url.

        Raises:
          CorruptData: if there is not one line per patch.
        """
        rows = read_provenance(self.folder)
        if len(rows) != self.sizes.patches:
            path = self.folder / EXTRA / "provenance.jsonl"
            raise CorruptData(f"{path}: {len(rows)} lines for {self.sizes.patches} patches")
        return list(map(with_composed_name, rows))


def open_model(path: str | Path) -> ModelFolder:
    """Opens a model's newest version, or the version that `path` names.

    Compares everything but the variables with its checksum, and the variables with their size:
    TensorFlow checks every tensor of them when it loads them.

    Args:
      path: a folder of versions, or one version.

    Raises:
      BadInput: if there is no model.
      CorruptData: if a file is missing or damaged; names the file.
    """
    return _open(path, (SAVED_MODEL_FILE, *_NEEDED), below="")


def open_contract(path: str | Path) -> ModelFolder:
    """Like `open_model`, for clients of a server: only `assets.extra` must be there.

    Args:
      path: a folder of versions, or one version.

    Raises:
      BadInput: if there is no model.
      CorruptData: if a file of `assets.extra` is missing or damaged; names the file.
    """
    return _open(path, _NEEDED, below=f"{EXTRA}/")


def _open(path: str | Path, needed: tuple[str, ...], below: str) -> ModelFolder:
    manifest = find_version(path)
    folder, extra = manifest.folder, manifest.folder / EXTRA
    manifest.check_files(needed, verify=_is_no_variable, below=below)
    try:
        description = read_json(extra / "signature.json")
        source = str(extra / "signature.json")
        sizes = sizes_from_description(description, source)
        system, endpoints = endpoints_from_description(description, source)
        vocabulary = manifest.read(f"{EXTRA}/vocabulary.json", Vocabulary.from_json)
        return ModelFolder(
            folder=folder,
            # As graphs have them, which are compared with these; earlier versions wrote others.
            vocabulary=vocabulary.with_composed_names(),
            sizes=sizes,
            licences=_read_licences(extra / "licences.json", sizes),
            manifest=manifest.content,
            contract=description["version"],
            scale=scale_from_description(description, source),
            system=system,
            rival=None if system == RETRIEVEGAN else endpoints,
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise manifest.damaged("damaged") from error


def write_extra(
    folder: Path,
    *,
    vocabulary: Vocabulary,
    sizes: Sizes,
    scale: float | None,
    licences: tuple[str, ...],
    config_yaml: str,
    provenance: Iterable[dict[str, Any]],
    origin: dict[str, Any],
    system: str = RETRIEVEGAN,
    endpoints: Endpoints | None = None,
) -> None:
    """Writes the rest of `assets.extra`, and last the manifest, which covers all files.

    Args:
      folder: of the version, with its SavedModel.
      vocabulary: of the model.
      sizes: of the model.
      scale: of its retriever's distances, see `ModelFolder`.
      licences: codes, in the order of the field.
      config_yaml: the resolved config.
      provenance: rows of the bank's table, by patch id, with boxes as [y0, x0, y1, x1].
      origin: further entries of the manifest.
      system, endpoints: see `describe`.
    """
    extra = folder / EXTRA
    extra.mkdir(exist_ok=True)
    write_json_atomic(extra / "vocabulary.json", vocabulary.to_json())
    write_json_atomic(
        extra / "signature.json", describe(sizes, scale, system=system, endpoints=endpoints)
    )
    write_json_atomic(extra / "licences.json", list(licences))
    write_bytes_atomic(extra / "config.yaml", config_yaml.encode("utf-8"))
    with open(extra / "provenance.jsonl", "w", encoding="utf-8") as file:
        for row in provenance:
            file.write(json.dumps(shown_row(row), ensure_ascii=False) + "\n")
    files = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    MODEL.write(folder, {**origin, "files": describe_files(folder, files)})


def shown_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the bank's table as shown to users: its box as [x0, y0, x1, y1]."""
    y0, x0, y1, x1 = row["box"]
    shown = {**{key: row.get(key) for key in _PROVENANCE_KEYS}, "box": [x0, y0, x1, y1]}
    return with_composed_name(shown)


def with_composed_name(row: dict[str, Any]) -> dict[str, Any]:
    """A description of a patch with the name of its category as in graphs (see `composed`)."""
    name = row.get("category")
    return row if composed(name) == name else {**row, "category": composed(name)}


def _is_no_variable(name: str) -> bool:
    return not name.startswith("variables/")


def _read_licences(path: Path, sizes: Sizes) -> tuple[str, ...]:
    codes = read_json(path)
    is_sound = isinstance(codes, list) and all(code in CODES for code in codes)
    if not is_sound or len(codes) != sizes.licences:
        raise CorruptData(f"{path}: not the licences of this model; {ADVICE}")
    return tuple(codes)
