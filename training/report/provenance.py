"""Where a run comes from: data, licences, versions, weights, and the command that repeats it."""

from __future__ import annotations

import shlex
from importlib import metadata
from pathlib import Path
from typing import Any

from rgan_tf.bank.licences import licence_code
from rgan_tf.bank.summary import summarise
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.runs import Run
from rgan_tf.storage.files import read_json
from training.report.markup import Markup, join, table, tag
from training.report.notes import Notes
from training.report.stages import weights_table

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


def provenance_section(
    run: Run,
    name: str,
    records: dict[str, dict[str, Any]],
    *,
    data: Path | None,
    notes: Notes,
) -> Markup:
    """Everything that is needed to know or to repeat what was done.

    Args:
      run: an opened run.
      name: how a command would name it.
      records: of its stages.
      data: folder of its prepared data; may have moved away since.
      notes: told what is missing or damaged.
    """
    return join(
        [
            tag("h3", "Command"),
            *_command(run, name, records),
            tag("h3", "Weights"),
            weights_table(run, records, notes),
            tag("h3", "Data"),
            _data(run, data, notes),
            tag("h3", "Versions"),
            _versions(run),
        ]
    )


def _command(run: Run, name: str, records: dict[str, dict[str, Any]]) -> list[Markup]:
    recorded = read_json(run.folder / "run.json").get("command")
    if recorded is not None:
        words = recorded if isinstance(recorded, list) else [recorded]
        return [tag("pre", " ".join(map(str, words)))]
    words = ["rgan", "train", f"{name}/config.yaml", "--data", str(run.data or "DATA")]
    words += ["--run", "NEW_RUN" if run.data is None else name]
    taken = [record for record in records.values() if "taken_from" in record]
    if taken:
        words += ["--stages-from", str(taken[0]["taken_from"])]
        words += ["--as-they-are"] if taken[0].get("as_they_are") else []
    if run.data is None:  # a released run is a name and no path
        words[2] = run.config.name
    line = " ".join(shlex.quote(word) for word in words)
    text = "The run does not keep what was typed; this trains what is missing, or all of it anew:"
    return [tag("p", text), tag("pre", line)]


def _data(run: Run, folder: Path | None, notes: Notes) -> Markup:
    facts: list[tuple[str, Any]] = [
        ("fingerprint", tag("code", run.data_fingerprint)),
        ("folder", str(folder) if folder else "not told: a released run belongs to no machine"),
        ("categories", len(run.vocabulary.categories)),
        ("predicates", len(run.vocabulary.predicates) - 1),
    ]
    data = _open(run, folder, notes)
    if data is None:
        text = "Counts and licences are unknown without the data; name it with --data."
        return join([table(["", ""], facts), tag("p", text)])
    for key in ("dataset", "seed", "image_size", "crop_size", "backbone"):
        facts.append((key.replace("_", " "), data.manifest.get(key)))
    parts = [table(["", ""], facts)]
    splits = data.manifest["splits"]
    counts = ("images", "objects", "relationships")
    rows = [[split, *(entry.get(key) for key in counts)] for split, entry in splits.items()]
    parts.append(table(["split", *counts], rows))
    try:
        summary = summarise(data.bank)
    except (BadInput, CorruptData) as error:
        notes.add(str(error))
        return join(parts)
    rows = [[name, licence_code(name), count] for name, count in summary["licences"].items()]
    parts += [
        tag("h4", f"Licences of the {summary['patches']} patches that can be retrieved"),
        table(["licence as the dataset writes it", "code", "patches"], rows),
        tag(
            "details",
            tag("summary", f"Patches of {len(summary['categories'])} categories"),
            table(["category", "patches"], list(summary["categories"].items())),
        ),
    ]
    return join(parts)


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


def _versions(run: Run) -> Markup:
    record = read_json(run.folder / "run.json")
    recorded = [("tensorflow", str(record.get("tensorflow", "unknown")))]
    installed = []
    for package in _PACKAGES:
        try:
            installed.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            installed.append((package, "not installed"))
    return join(
        [
            tag("p", "As the run records them:"),
            table(["package", "version"], recorded),
            tag("p", "Of the installation that wrote this report:"),
            table(["package", "version"], installed),
        ]
    )
