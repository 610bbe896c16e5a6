"""Opens an exported model, a run, prepared data or a bank by its name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rgan_tf import released
from rgan_tf.arguments import path_text
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.data.prepared import DATA, PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.exported import ExportedPatches, is_exported
from rgan_tf.near_names import spelled_otherwise
from rgan_tf.storage.files import read_json
from rgan_tf.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class Place:
    """An opened model, run, data set or bank.

    Attributes:
      kind: "model", "run", "data" or "bank".
      vocabulary: its names.
      backbone: network of its patch features; None for a model, which does not store it.
      patches: its retrievable patches; None for a run without its data, such as a released one, and
        for a model that draws from none.
    """

    kind: str
    vocabulary: Vocabulary
    backbone: str | None
    patches: PatchBank | ExportedPatches | None


def open_place(name: str, option: str = "") -> Place:
    """Opens the place that a name stands for.

    Args:
      name: a folder, or released:NAME.
      option: beginning of messages.

    Raises:
      BadInput: if it is not one of these.
      CorruptData: if it is damaged.
    """
    folder = Path(name)
    if name.startswith(released.PREFIX) or (folder / "run.json").is_file():
        from rgan_tf.runs import open_run  # slow to import

        run = open_run(name)
        is_there = run.data is not None and (run.data / "manifest.json").is_file()
        bank = PreparedData.open(run.data).bank if is_there else None
        return Place("run", run.vocabulary, run.config.retrieval.backbone, bank)
    if is_exported(folder):
        patches = ExportedPatches.open(folder, option)
        # One of a rival that draws from no patches has none.
        return Place("model", patches.vocabulary, None, patches if len(patches) else None)
    if not (folder / "manifest.json").is_file():
        advice = spelled_otherwise(folder) or "; name the folder of one, or released:NAME"
        raise BadInput(
            f"{option}{name}: is not an exported model, run, prepared data or bank{advice}"
        )
    manifest = read_json(folder / "manifest.json")
    if isinstance(manifest, dict) and manifest.get("kind") == DATA.kind:
        data = PreparedData.open(folder)
        return Place("data", data.vocabulary, data.backbone, data.bank)
    bank = PatchBank.open(folder)
    return Place("bank", bank.vocabulary, bank.manifest["backbone"], bank)


def open_patches(name: str | Path, option: str = "") -> PatchBank:
    """Opens the bank of a place: a bank, prepared data, or a run by its data.

    Args:
      name: a folder, or what was opened from one.
      option: beginning of messages.

    Raises:
      BadInput: if it is not one of these, or a run without its data.
      CorruptData: if it is damaged.
    """
    name = path_text(name, option.strip())  # messages name the folder of what was opened
    place = open_place(name, option)
    if not isinstance(place.patches, PatchBank):
        raise BadInput(f"{option}{name}: is a {place.kind} without a patch bank; name a bank")
    return place.patches
