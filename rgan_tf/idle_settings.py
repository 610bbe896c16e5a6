"""Which settings change nothing in a run, because of what others are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rgan_tf.config import Config
from rgan_tf.config_files import flat_settings
from rgan_tf.registered_names import RIVALS, RULES

# Settings that the first two stages do not use.
OF_JOINT_STAGE = (
    "retrieval.",
    "generator.",
    "losses.selection",
    "losses.cooccurrence",
    "losses.perceptual_",
    "losses.adversarial_feature",
    "discriminators.feature",
    "discriminators.judged",
    "attngan.",
    "training.system",
    "training.predicted_boxes",
    "training.relit_patches",
    "training.exchanged_patches",
)
# Of these, what rivals use: all of them, and each.
_OF_RIVALS = ("training.system", "retrieval.backbone")  # the latter made the features of the data
_OF_RIVAL = {
    "pastegan": (
        "retrieval.candidates",
        "retrieval.exact_candidates",
        "retrieval.index",
        "losses.perceptual_backbone",
    ),
    "attngan": ("attngan.",),
}
# Only what learns a choice has them: a rule's two retrieval losses are 0.
_OF_LEARNING = (
    "losses.selection",
    "losses.cooccurrence",
    "retrieval.selection_loss",
    "retrieval.cooccurrence_loss",
    "retrieval.straight_through",
    "retrieval.gradient",
    "retrieval.embedding_steps",
    "retrieval.embedding_scenes",
    "retrieval.embedding_learning_rate",
)
_OF_MANY = ("retrieval.loaded_candidates", "retrieval.cache_max_age_steps", "data.bank_on_device")


def idle_settings(config: Config, given: Iterable[str]) -> dict[str, list[str]]:
    """The settings that a user gave and that change nothing in a run of this config.

    Args:
      config: the resolved config.
      given: names such as "generator.masks", or of a whole section.

    Returns:
      Why -> names, such as "training.system=sg2im" -> ["generator.masks"].
    """
    idle: dict[str, list[str]] = {}
    known = flat_settings(config)
    for name in dict.fromkeys(given):
        meant = [key for key in known if key == name or key.startswith(f"{name}.")]
        meant = [key for key in meant if known[key]]  # what is switched off is off
        reasons = {next(_reasons(key, config), "") for key in meant}
        if len(reasons) == 1 and (reason := reasons.pop()):
            idle.setdefault(reason, []).append(name)
    return idle


def idle_line(config: Config, given: Iterable[str]) -> str:
    """`idle_settings` in one line for a user; empty if every setting may change something."""
    found = [
        f"{', '.join(names)} with {reason}"
        for reason, names in idle_settings(config, given).items()
    ]
    return f"--set: nothing is changed by {'; '.join(found)}" if found else ""


def names_of(overrides: Iterable[str]) -> list[str]:
    """The names in overrides such as "section.key=value"."""
    return [override.partition("=")[0].strip() for override in overrides]


def _reasons(key: str, config: Config) -> Iterator[str]:
    """Why a setting changes nothing; none if it may change something."""
    system, retrieval, heads = config.training.system, config.retrieval, config.discriminators
    if system in RIVALS:
        used = (*_OF_RIVALS, *_OF_RIVAL.get(system, ()))
        is_idle = key.startswith((*OF_JOINT_STAGE, "data.bank_on_device"))
        is_idle = is_idle and not key.startswith(used)
    else:
        is_idle = key.startswith("attngan.")
    if is_idle:
        yield f"training.system={system}"
    elif retrieval.choice in RULES and key in _OF_LEARNING:
        yield f"retrieval.choice={retrieval.choice}"
    if not heads.feature and key in (
        "discriminators.feature_channels",
        "losses.adversarial_feature",
    ):
        yield "discriminators.feature=false"
    if not heads.gradient_penalty and key == "discriminators.gradient_penalty_every_steps":
        yield "discriminators.gradient_penalty=0"
    if not config.training.predicted_boxes and key == "training.predicted_boxes_from":
        yield "training.predicted_boxes=0"
    if not retrieval.embedding_steps and key in (
        "retrieval.embedding_scenes",
        "retrieval.embedding_learning_rate",
    ):
        yield "retrieval.embedding_steps=0"
    if retrieval.candidates <= retrieval.exact_candidates and key in _OF_MANY:
        yield "retrieval.candidates of at most retrieval.exact_candidates"
