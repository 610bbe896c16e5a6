"""Describes a model and its patches to the page."""

from __future__ import annotations

import collections
import hashlib
import json
from pathlib import Path
from typing import Any

from export.model_folder import ModelFolder
from export.signatures import (
    MAX_BATCH,
    MAX_SEED,
    MAX_TEMPERATURE,
    MODES,
)
from rgan_tf.bank.licences import licence_code
from rgan_tf.scene_graph import MAX_OBJECTS, MAX_RELATIONSHIPS
from rgan_tf.vocabulary import RESERVED_PREDICATES, Vocabulary

_GRAPHS = Path(__file__).parents[1] / "demo_graphs.json"
_EXAMPLES = 3


def read_demo_graphs() -> list[dict[str, Any]]:
    """The graphs of `rgan demo`, with their titles."""
    return json.loads(_GRAPHS.read_text("utf-8"))


def describe_model(
    name: str, version: Any, upload_bytes: int, graphs: list[dict[str, Any]]
) -> dict[str, Any]:
    """What the page needs to know before the first request.

    Args:
      name: of the model.
      version: an `export.studio.engine.Version`.
      upload_bytes: limit of an upload.
      graphs: from `read_demo_graphs`.
    """
    model: ModelFolder = version.model
    sizes = model.sizes
    patches = collections.Counter(row["category"] for row in model.provenance)
    licences = collections.Counter(licence_code(row["licence"] or "") for row in model.provenance)
    objects = min(sizes.objects, MAX_OBJECTS)
    relationships = min(sizes.triples, MAX_RELATIONSHIPS)
    return {
        "name": name,
        "version": version.number,
        "id": id_of(model),
        "contract": model.contract,
        "weights": model.manifest.get("weights"),
        "bank": model.manifest.get("bank"),
        "image": sizes.image,
        "crop": sizes.crop,
        "own_patch": sizes.own_patch,
        "candidates": model.candidates,
        "scale": model.scale,
        "has_candidates": model.has_candidates,
        "avoids_repeats": model.avoids_repeats,
        "limits": {
            "objects": objects,
            "relationships": relationships,
            "draws": MAX_BATCH,
            "seed": MAX_SEED,
            "temperature": MAX_TEMPERATURE,
            "upload_bytes": upload_bytes,
        },
        "modes": list(MODES),
        "objects": [
            {"name": category, "patches": patches[category]}
            for category in model.vocabulary.categories
        ],
        "predicates": list(model.vocabulary.predicates[len(RESERVED_PREDICATES) :]),
        "licences": [{"code": code, "patches": licences[code]} for code in model.licences],
        "examples": _examples(graphs, model.vocabulary, patches, objects, relationships),
    }


def id_of(model: ModelFolder) -> str:
    """Tells apart models whose versions have one number: what is drawn with, and from what."""
    made_of = [model.manifest.get("weights"), model.manifest.get("bank")]
    return hashlib.sha256(json.dumps(made_of).encode("ascii")).hexdigest()[:16]


def describe_patch(number: int, model: ModelFolder) -> dict[str, Any]:
    """A patch of the bank with its provenance."""
    row = model.provenance[number]
    return {"id": number, **row, "code": licence_code(row["licence"] or "")}


def with_codes(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample of `describe_sample` whose patches of the bank have the `code` of their licence."""

    def described(patch: dict[str, Any]) -> dict[str, Any]:
        if patch["id"] is None:  # the user's own, or none
            return patch
        return {**patch, "code": licence_code(patch["licence"] or "")}

    objects = [{**item, "patch": described(item["patch"])} for item in sample["objects"]]
    return {**sample, "objects": objects}


def _examples(
    graphs: list[dict[str, Any]],
    vocabulary: Vocabulary,
    patches: collections.Counter,
    objects: int,
    relationships: int,
) -> list[dict[str, Any]]:
    """Graphs of names that the model knows: the demo's, else of its most frequent categories."""
    known, predicates = set(vocabulary.categories), set(vocabulary.predicates)
    found = [
        {
            "title": graph["title"],
            "graph": {key: graph[key] for key in ("objects", "relationships")},
        }
        for graph in graphs
        if known.issuperset(graph["objects"])
        and predicates.issuperset(predicate for _, predicate, _ in graph["relationships"])
        and len(graph["objects"]) <= objects
        and len(graph["relationships"]) <= relationships
    ]
    names = [name for name, _ in patches.most_common() if name in known] or sorted(known)
    for start in range(0, len(names), 3):
        three = names[start : start + 3][:objects]
        between = [[0, "above", 1], [1, "left of", 2]][:relationships]
        rows = [row for row in between if row[1] in predicates and row[2] < len(three)]
        found.append(
            {"title": ", ".join(three), "graph": {"objects": three, "relationships": rows}}
        )
    return found[:_EXAMPLES]
