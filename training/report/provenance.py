"""Provenance of a run: data, licences, versions, weights, and the command that repeats it."""

from __future__ import annotations

import shlex
from importlib import metadata
from pathlib import Path
from typing import Any

from rgan_tf.bank.summary import summarise
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.runs import Run
from rgan_tf.storage.files import read_json
from training.report.notes import Notes

COUNTS = ("images", "objects", "relationships")
_PACKAGES = (
    "rgan_tf",
    "tensorflow",
    "keras",
    "tensorflow-gnn",
    "tensorflow-addons",
    "tensorflow-gan",
    "tensorflow-probability",
    "scann",
    "numpy",
    "pillow",
)


def command_of(run: Run, name: str, records: dict[str, dict[str, Any]]) -> tuple[bool, str]:
    """Whether the run recorded its command, and the command that trains it."""
    recorded = read_json(run.folder / "run.json").get("command")
    if recorded is not None:
        words = recorded if isinstance(recorded, list) else [recorded]
        return True, " ".join(map(str, words))
    words = ["rgan", "train", f"{name}/config.yaml", "--data", str(run.data or "DATA")]
    words += ["--run", "NEW_RUN" if run.data is None else name]
    taken = [record for record in records.values() if "taken_from" in record]
    if taken:
        words += ["--stages-from", str(taken[0]["taken_from"])]
        words += ["--as-they-are"] if taken[0].get("as_they_are") else []
    if run.data is None:  # a released run has a name and no path
        words[2] = run.config.name
    return False, " ".join(shlex.quote(word) for word in words)


def data_facts(run: Run, folder: Path | None, notes: Notes) -> dict[str, Any]:
    """Facts about the data; counts and licences only if it is the data trained on.

    Args:
      run: an opened run.
      folder: of its prepared data, which may have been moved.
      notes: gets a line for what is missing or damaged.
    """
    facts: list[tuple[str, Any]] = [
        ("folder", str(folder) if folder else "not recorded: a released run has no data folder"),
        ("categories", len(run.vocabulary.categories)),
        ("predicates", len(run.vocabulary.predicates) - 1),
    ]
    found = {"fingerprint": run.data_fingerprint, "facts": facts, "splits": None, "bank": None}
    data = _open(run, folder, notes)
    if data is None:
        return found
    for key in ("dataset", "seed", "image_size", "crop_size", "backbone"):
        facts.append((key.replace("_", " "), data.manifest.get(key)))
    splits = data.manifest["splits"].items()
    found["splits"] = [[name, *(split.get(key) for key in COUNTS)] for name, split in splits]
    try:
        found["bank"] = summarise(data.bank)
    except (BadInput, CorruptData) as error:
        notes.add(str(error))
    return found


def _open(run: Run, folder: Path | None, notes: Notes) -> PreparedData | None:
    if folder is None:
        return None
    try:
        data = PreparedData.open(folder)
    except (BadInput, CorruptData) as error:
        notes.add(str(error))
        return None
    if data.fingerprint != run.data_fingerprint:
        notes.add(f"{folder}: other data than the run was trained on; its counts are not shown")
        return None
    return data


def versions(run: Run) -> dict[str, list[tuple[str, str]]]:
    """Packages and versions, as recorded by the run and of this installation."""
    record = read_json(run.folder / "run.json")
    installed = []
    for package in _PACKAGES:
        try:
            installed.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            installed.append((package, "not installed"))
    recorded = [("tensorflow", str(record.get("tensorflow", "unknown")))]
    return {"recorded": recorded, "installed": installed}
