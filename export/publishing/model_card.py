"""`assets.extra/model_card.md`: describes a model and its limits for people who find it.

Contains only what the run and the bank record. Imports no TensorFlow.
"""

from __future__ import annotations

import collections
import fnmatch
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from export.signatures import RETRIEVEGAN, VERSION, Endpoints, Sizes, describe, endpoints_of
from rgan_tf.bank.licences import licence_code
from rgan_tf.errors import BadInput
from rgan_tf.storage.files import parse_json
from rgan_tf.vocabulary import Vocabulary

MODEL_CARD_FILE = "model_card.md"
METRICS_FILE = "metrics.jsonl"

# Metrics of `rgan eval` to show, if they were measured.
_HEADLINES = (
    "floor/real/fd_*",
    "SYSTEM/*_boxes/fd_*",
    "layout/box_iou",
    "layout/relation_score",
    "retrieval/learned/style_agreement",
    "retrieval/learned/gt_recall@1",
    "cooccurrence/same_image_auc",
)
# Suffixes of values that belong to another metric.
_SPREADS = ("/interval_95", "/deviation", "/resampled")
_PARAGRAPH = (
    "RetrieveGAN: takes a scene graph (objects and their relationships), retrieves a real image "
    "patch for every object from a bank inside the model, and makes one image of them."
)
_RIVAL_PURPOSE = "a scene graph and a seed to an image"
_PURPOSES = {
    "serving_default": "a scene graph to an image and the patches it is made of",
    "generate_with_patches": "the same, with patches of your own",
    "retrieve": "layout and patches without the image",
    "encode": "layout and the features by which the bank is searched",
    "candidates": "what the pre-filter finds for each object, and how well it suits the others",
    "patches": "patches of the bank as pictures",
    "neighbours": "patches of the bank that are like one of them",
}


def read_newest_metrics(run_folder: Path) -> dict[str, Any] | None:
    """The newest evaluation recorded in a run folder.

    Args:
      run_folder: may hold `metrics.jsonl`.

    Returns:
      `split`, `step`, the fingerprints `weights` and `data` (which earlier versions did not write)
      and the metrics by name; None if none is readable.
    """
    path = run_folder / METRICS_FILE
    if not path.is_file():
        return None
    for line in reversed(path.read_bytes().split(b"\n")):
        try:
            record = parse_json(line, METRICS_FILE)
        except BadInput:  # a blank line, or one cut off by a killed process
            continue
        if isinstance(record, dict) and isinstance(record.get("split"), str):
            return record
    return None


def model_card(
    *,
    config_name: str,
    sizes: Sizes,
    vocabulary: Vocabulary,
    weights: str,
    steps: Mapping[str, int],
    data_fingerprint: str,
    bank_fingerprint: str | None,
    patch_licences: Iterable[str],
    index: str | None,
    metrics: Mapping[str, Any] | None,
    system: str = RETRIEVEGAN,
    endpoints: Endpoints | None = None,
) -> str:
    """The card as Markdown.

    Args:
      config_name: of the run.
      sizes: of the model.
      vocabulary: of the model.
      weights: fingerprint of the weights of all stages.
      steps: done by each stage, by its name.
      data_fingerprint: of the prepared data that the run was trained on.
      bank_fingerprint: of the bank whose patches are in the model; None if it has none.
      patch_licences: name of the licence of every patch, as in the bank's table.
      index: how the model searches its bank.
      metrics: the newest evaluation, or None.
      system: value of `training.system`.
      endpoints: of a rival; None takes RetrieveGAN's.
    """
    limits = describe(sizes, system=system, endpoints=endpoints)["limits"]
    has_bank = bank_fingerprint is not None
    counts = collections.Counter(name or "" for name in patch_licences)
    lines = [
        f"# {_plain(config_name)}",
        "",
        _PARAGRAPH if endpoints is None else _rival_paragraph(system, endpoints),
        "",
        "| | |",
        "|---|---|",
        f"| config | {_plain(config_name)} |",
        f"| image | {sizes.image} x {sizes.image} px"
        + (f", from patches of {sizes.crop} px |" if has_bank else " |"),
        f"| objects per graph | at most {limits['objects']} |",
        f"| relationships per graph | at most {limits['relationships']} |",
        f"| graphs per request | at most {limits['batch']} |",
        *(
            [f"| temperature | above 0, at most {limits['temperature']:g} |"]
            if endpoints is None
            else []
        ),
        *([f"| search of the bank | {_plain(index)} |"] if has_bank else []),
        f"| weights | `{weights}` |",
        *(
            [f"| patch bank | `{bank_fingerprint}` |", f"| patches | {sum(counts.values())} |"]
            if has_bank
            else []
        ),
        "",
        "## Training",
        "",
        f"Trained on prepared data with fingerprint `{data_fingerprint}`. Steps: "
        + (", ".join(f"{stage} {count}" for stage, count in steps.items()) or "not recorded")
        + "."
        + (
            " The patches above are what images are made of; they may come from other data."
            if has_bank
            else ""
        ),
        "",
        "## Evaluation",
        "",
        *_evaluation(metrics, steps.get("retrievegan"), system, weights, data_fingerprint),
        "",
        *(_licences(counts) if has_bank else []),
        "## Categories",
        "",
        ", ".join(_plain(name) for name in vocabulary.categories) + ".",
        "",
        "Relationships: " + ", ".join(_plain(name) for name in vocabulary.predicates[1:]) + ".",
        "",
        "## What it cannot do",
        "",
        "* It knows no other categories and relationships than these.",
        *(
            [
                "* An object whose category has no patch here gets one of another category; the "
                "reply says which (`patch_categories`)."
            ]
            if endpoints is None
            else []
        ),
        "* It makes images of this one size, of no more objects than stated.",
        "* It has no safety filter: neither the bank nor the images were checked for content.",
        *(
            ["* It does not clear rights: the licences of the patches carry over to the images."]
            if has_bank
            else []
        ),
        "",
        "## How to ask it",
        "",
        "```",
        "rgan generate GRAPH.json --model MODEL --out OUT",
        "```",
        "",
        "Or load this version in TensorFlow or TensorFlow Serving; `signature.json`, beside this "
        "file, describes every field.",
        "",
        *(
            f"* `{endpoint}`: {_PURPOSES[endpoint] if endpoints is None else _RIVAL_PURPOSE}"
            for endpoint in (endpoints or endpoints_of(VERSION)).inputs
        ),
    ]
    return "\n".join(lines) + "\n"


def _rival_paragraph(system: str, endpoints: Endpoints) -> str:
    inputs, outputs = (
        {field.name for fields in part.values() for field in fields}
        for part in (endpoints.inputs, endpoints.outputs)
    )
    text = f"{_plain(system)}: takes a scene graph (objects and their relationships) and a seed, "
    text += "and makes one image."
    if "boxes" not in outputs:
        text += " It draws in no layout: boxes can neither be given nor are answered."
    if "patch_ids" not in inputs:
        return text + " It draws from no patches: it has no candidates, and none can be named."
    return text + " Each object's patch is drawn from the nearest of its category in the bank."


def _licences(counts: Mapping[str, int]) -> list[str]:
    return [
        "## Licences of the patches",
        "",
        "| licence | code | patches |",
        "|---|---|---|",
        *(
            f"| {_plain(name) or 'not stated'} | {licence_code(name)} | {count} |"
            for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ),
        "",
        "Images reproduce parts of their patches: the terms of these licences (naming the author, "
        "no commercial use and so on) hold for the images. Replies name their patches; "
        "`provenance.jsonl`, beside this file, gives the origin of each.",
        "",
    ]


def _evaluation(
    metrics: Mapping[str, Any] | None, step: int | None, system: str, weights: str, data: str
) -> list[str]:
    if metrics is None:
        return ["No evaluation is recorded with the run that this model was made from."]
    shown = [
        (name, value)
        for name, value in metrics.items()
        if any(
            fnmatch.fnmatchcase(name, pattern.replace("SYSTEM", system)) for pattern in _HEADLINES
        )
        and not name.endswith(_SPREADS)
    ]
    of_step = metrics.get("step")
    lines = [f"The newest that is recorded with the run: split {_plain(metrics['split'])}, "]
    if of_step == step and metrics.get("weights", weights) != weights:
        lines[0] += f"weights of step {of_step} from before a stage was trained again. This model "
        lines[0] += "has those that came after."
    elif of_step == step:
        lines[0] += f"the weights of step {of_step}, which are those of this model."
    else:
        lines[0] += f"the weights of step {of_step}. This model has those of step {step}."
    if metrics.get("data", data) != data:
        lines[0] += " It was made on other data than the training."
    if not shown:
        return [*lines, "It measured none of the headline figures."]
    return [
        *lines,
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| `{name}` | {_number(value)} |" for name, value in shown),
    ]


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "not measurable" if value is None else _plain(str(value))
    return f"{value:.4g}"


def _plain(text: str) -> str:
    """Text from other sources on one line, without Markdown or HTML syntax."""
    line = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in line)
