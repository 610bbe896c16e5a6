"""Redraws objects of a picture until they get other patches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from export.model_folder import ModelFolder, with_composed_name
from export.requests import Draw, Request, build_request
from export.sample_graph import DrawnGraph, object_labels
from export.signatures import MAX_SEED, MODES, SAMPLE
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.errors import BadInput

MOST_DRAWS = 64
_PATIENCE = 6  # draws in which no further object changes

Answer = Callable[[Request, Draw], dict[str, Any]]


def build_edited_request(
    drawn: DrawnGraph,
    model: ModelFolder,
    folder: Path,
    index: int,
    source: str,
    licences: LicenceFilter,
) -> Request:
    """Encodes a graph, or a sample with what stays of its picture; see `build_request`.

    Raises:
      BadInput: as `build_request`, and if the model is not the sample's or the edit is impossible.
      CorruptData: if an image is damaged.
    """
    if (drawn.kept or drawn.replaced) and not model.reads_patches:
        raise BadInput(
            f"{source}: --keep and --redraw change patches, and this model is of {model.system}, "
            "which draws from none; draw with another --seed"
        )
    check_same_patches(drawn, model, source)
    request = build_request(drawn.fixed, model, folder, index, source, licences)
    request = dataclasses.replace(
        request, graph=drawn.graph, kept=drawn.kept, replaced=drawn.replaced
    )
    check_can_change(request, model, licences, source)
    return request


def check_same_patches(drawn: DrawnGraph, model: ModelFolder, source: str) -> None:
    """Refuses a sample of another model, where patch ids mean other patches.

    Raises:
      BadInput: if a patch that the sample fixes or replaces differs in the model.
    """
    fixed = {i for i, patch in enumerate(drawn.fixed.patches) if isinstance(patch, int)}
    for position in sorted(fixed | {i for i, old in drawn.replaced.items() if old is not None}):
        described = drawn.patches[position] if drawn.patches else None
        if described is None:
            continue
        if not is_same_patch(described, model):
            raise BadInput(
                f"{source}: objects[{position}]: patch {described['id']} is another one in "
                f"{model.folder}; "
                "the sample was made with another model or version, so name that one with --model"
            )


def is_same_patch(described: dict[str, Any], model: ModelFolder) -> bool:
    """Whether a sample's description of a patch, with its id, fits the model's patch of that id."""
    number = described["id"]
    row = model.provenance[number] if 0 <= number < len(model.provenance) else None
    described = with_composed_name(described)
    return row is not None and all(described.get(key, row[key]) == row[key] for key in row)


def check_can_change(
    request: Request, model: ModelFolder, licences: LicenceFilter, source: str
) -> None:
    """Refuses to redraw an object whose category has no other patch.

    Raises:
      BadInput: names the object.
    """
    for position, old in request.replaced.items():
        category = request.graph.objects[position]
        others = [
            number
            for number, row in enumerate(model.provenance)
            if row["category"] == category and licences.allows(row["licence"] or "")
        ]
        if others == [old]:
            raise BadInput(
                f"{source}: --redraw {_label(request, position)}: patch {old} is the only one of "
                f"{category} in this model under {licences}; there is no other to draw"
            )


def answer_edit(answer: Answer, request: Request, draw: Draw, step: int) -> dict[str, Any]:
    """Draws until no replaced object has its old patch; all other objects stay.

    Changed objects keep their new patches while the rest is redrawn with the seed `step` further
    on. If that does not help for a while, everything is redrawn, because the kept patches may be
    the only ones that the rest could take. The same arguments give the same reply.

    Args:
      answer: queries the model.
      request: with the other objects fixed.
      draw: of the first try.
      step: number of samples, so that no two of them use the same seeds.

    Raises:
      BadInput: if every draw gives an old patch again, or the mode draws nothing.
    """
    if not request.replaced:
        return answer(request, draw)
    if draw.mode not in (SAMPLE, None):  # every draw would be the same
        raise BadInput(
            f"redraw: redraws patches, which mode {MODES[draw.mode]} does not; take the list out "
            f"of the picture's JSON, or draw with mode {MODES[SAMPLE]}"
        )
    stubborn, start, since = request.replaced, request, 0
    for number in range(MOST_DRAWS):
        seed = (draw.seed + number * step) % (MAX_SEED + 1)
        reply = answer(request, dataclasses.replace(draw, seed=seed))
        chosen = np.array(request.fields["patch_ids"])  # [O]
        found = reply["patch_ids"]  # [O]
        before, stubborn = stubborn, {i: p for i, p in request.replaced.items() if found[i] == p}
        if not stubborn:
            return reply
        since = 0 if len(stubborn) < len(before) else since + 1
        if since == _PATIENCE:
            request, since = start, 0
            continue
        for position in request.replaced.keys() - stubborn.keys():
            chosen[position] = found[position]
        request = dataclasses.replace(request, fields={**request.fields, "patch_ids": chosen})
    names = ", ".join(f"{_label(request, i)} (patch {old})" for i, old in stubborn.items())
    raise BadInput(
        f"--redraw: {MOST_DRAWS} draws gave the old patch again for {names}; raise --temperature, "
        "allow one that another object has by --allow-repeats, or name another patch in the graph "
        "(rgan bank info MODEL --category NAME --picture FILE shows them)"
    )


def _label(request: Request, position: int) -> str:
    return object_labels(request.graph.objects)[position]
