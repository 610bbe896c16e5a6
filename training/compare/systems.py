"""What the rows of a comparison with rivals cost, how large they are, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rgan_tf.config import Config
from rgan_tf.model.networks import build_retrieval_networks
from rgan_tf.registered_names import RIVALS
from rgan_tf.rivals.attngan.image_encoder import NETWORK
from rgan_tf.rivals.attngan.sizes import scaled
from rgan_tf.rivals.pastegan.selector import TEST_CANDIDATES, TRAINING_CANDIDATES
from rgan_tf.rivals.registry import WITH_PERCEPTUAL, rival_networks
from rgan_tf.runs import Run
from training.compare.entries import Entry
from training.evaluation.rival import TOLD_BY_NAMES

_BUDGETS = {
    "steps": "Budget: all have as many joint steps; operations differ.",
    "flops": (
        "Budget: the rivals have as many joint steps as cost RetrieveGAN's operations, those of "
        "φ's own stage included."
    ),
}
_OF_ALL = (
    "Every rival has its published losses, their weights, form of the adversarial loss and Adam's "
    "betas; not as published are widths (those within RetrieveGAN's operations per image), group "
    "normalisation for batch normalisation, tanh at the end, one forward pass for both sides of "
    "the game, the moving average of the weights, and learning rates (those of this comparison)."
)


class Facts(NamedTuple):
    """Of one row.

    Attributes:
      steps: joint steps.
      gflop: of one such step; None where it is not counted.
      gflop_besides: of the stages that the system has for itself: φ's or AttnGAN's encoders'.
      weights: trainable ones, without discriminators and first stages.
    """

    steps: int
    gflop: float | None
    gflop_besides: float
    weights: int


def trainable_weights(run: Run) -> int:
    """Number of trainable weights of the networks that draw, as a joint step trains them."""
    if run.config.training.system in RIVALS:
        networks = rival_networks(run.config, run.vocabulary)
    else:
        networks = build_retrieval_networks(run.config, run.vocabulary, run.feature_size)
    return sum(variable.shape.num_elements() for variable in networks.trainable_variables)


def systems_table(facts: Mapping[str, Facts], *, budget: str) -> str:
    """Markdown: the budget, and steps, operations and weights by name of a row."""
    lines = [
        _BUDGETS[budget],
        "",
        "| system | joint steps | GFLOP per step | GFLOP of its own stages | GFLOP in all "
        "| trainable weights |",
        "|" + "---|" * 6,
    ]
    for name, (steps, gflop, besides, weights) in facts.items():
        counted = ["-"] * 3
        if gflop is not None:
            counted = [f"{gflop:.1f}", f"{besides:,.0f}", f"{steps * gflop + besides:,.0f}"]
        cells = [name.replace("_", " "), str(steps), *counted, f"{weights:,}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def deviations(
    entries: Sequence[Entry],
    configs: Mapping[str, Config],
    metrics: Mapping[str, Mapping[str, Any]],
    *,
    judge: str,
) -> str:
    """Markdown: in what the rivals among the rows are not the public systems.

    Args:
      entries: the rows.
      configs: name given by the user -> config.
      metrics: name of a row -> result of `rgan eval`.
      judge: network of the distances.
    """
    rivals = [entry for entry in entries if entry.system in RIVALS]
    data = {}  # name of a config -> sentence
    for entry in rivals:
        prefix = entry.name.removesuffix(entry.system).removesuffix("-")  # with several configs
        data[entry.config] = _data_of_training(configs[entry.config], prefix)
    lines = [" ".join(filter(None, [_OF_ALL, *data.values()])), ""]
    for entry in entries:
        if entry.system in RIVALS:
            text = _deviation(entry.system, configs[entry.config], metrics[entry.name])
            lines.append(f"* {entry.name}: {text}")
    through = [entry.name for entry in entries if _learns_through(entry, configs) == judge]
    if through:
        lines.append(f"* Trained through the judge's network, {judge}: {', '.join(through)}.")
    return "\n".join(lines)


def _data_of_training(config: Config, prefix: str) -> str:
    """What RetrieveGAN's config does to the rivals' batches and discriminators too.

    Args:
      config: of the rows.
      prefix: of their names, where other rows are of another config; else "".
    """
    incomplete = config.data.incomplete_scenes
    shared = [
        "mirrored images (data.flip)" if config.data.flip else "",
        f"scenes without some objects (data.incomplete_scenes={incomplete:g})"
        if incomplete
        else "",
        "relationships drawn anew for every epoch (data.redraw_relations)"
        if config.data.redraw_relations
        else "",
        f"augmented images before the discriminators ({config.discriminators.augmentation})"
        if config.discriminators.augmentation != "none"
        else "",
    ]
    found = ", ".join(filter(None, shared))
    if not found:
        return ""
    return f"{f'Those of {prefix}' if prefix else 'All'} are trained with {config.name}'s {found}."


def _deviation(system: str, config: Config, metrics: Mapping[str, Any]) -> str:
    if system == "sg2im":
        return (
            "predicted masks in training and at test, no true ones; boxes valid by construction; "
            "the image discriminator's classifier is applied."
        )
    if system == "layout2im":
        return (
            "predicts no boxes: its predicted boxes are those of the first stage; the order of the "
            "objects is drawn by the sample's seed."
        )
    if system == "pastegan":
        return (
            f"pool in training: the own patch and the {TRAINING_CANDIDATES} nearest of other "
            f"images; at test: the {TEST_CANDIDATES} nearest of other images; by the graph "
            "features of the first stage. Crop matching teaches neither the encoder nor the "
            f"patches. Perceptual network: {config.losses.perceptual_backbone}."
        )
    if system == "attngan":
        return _deviation_of_attngan(config, metrics)
    return f"as rgan_tf/rivals/{system}/__init__.py says."


def _deviation_of_attngan(config: Config, metrics: Mapping[str, Any]) -> str:
    sides = scaled(config.data.image_size, config.attngan.stages).sides(config.data.image_size)
    told = metrics.get(TOLD_BY_NAMES)
    of_names = f" Scenes without a relationship, told by their names: {told}." if told else ""
    return (
        'texts from the graphs, every relationship "subject predicate object", linked by "and", in '
        f"training and at test; stages of {', '.join(map(str, sides))} px; matched by {NETWORK}. "
        f"It draws in no layout: both box modes have the same images.{of_names}"
    )


def _learns_through(entry: Entry, configs: Mapping[str, Config]) -> str | None:
    """The network through which the row's generator gets a gradient, if any."""
    if entry.system == "attngan":
        return NETWORK
    if not entry.own_run or (entry.system in RIVALS and entry.system not in WITH_PERCEPTUAL):
        return None
    return configs[entry.config].losses.perceptual_backbone
