"""The rows of a comparison: from which run each system comes, and how that run differs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from rgan_tf.config import Config
from rgan_tf.config_files import flat_settings
from rgan_tf.errors import BadInput
from rgan_tf.registered_names import OPEN_TO_MORE, RIVALS, RULES, SHARED_RUN
from training.evaluation.names import FIRST_STAGE, own_retrievers

SYSTEMS = (
    "retrievegan",
    *RIVALS,
    "pastegan_style",
    "graph_nearest",
    "layout2im_style",
    FIRST_STAGE,
    "pasted_canvas",
    "oracle_patches",
)
ABLATION = ("no_selection_loss", "no_cooccurrence_loss", "no_retrieval_losses")
"""RetrieveGAN without its losses, as in the paper's table 2."""

_PARTS: dict[str, tuple[str, ...]] = {  # the switch first, then what goes with it
    "no_composition": ("generator.composition=false",),
    "no_masks": ("generator.masks=false",),
    "no_skip": ("generator.skip=false",),
    "no_feature_discriminator": (
        "discriminators.feature=false",
        "losses.adversarial_feature=0",
    ),
    "no_relit_patches": ("training.relit_patches=0",),
    "no_exchanged_patches": ("training.exchanged_patches=0",),
    "no_predicted_boxes": ("training.predicted_boxes=0",),
    "no_frozen_start": ("retrieval.embedding_start=random",),
    "no_half_size_patches": ("retrieval.half_size_patches=0",),
    "no_embedding_stage": ("retrieval.embedding_steps=0",),
    "paper_gradient": ("retrieval.gradient=paper", "retrieval.temperature_end=0.1"),
}
PARTS = tuple(_PARTS)
"""RetrieveGAN without one of the parts that this project adds to the paper, each by itself."""

SEED = "training.seed"
"""The setting by which rows differ that repeat another one."""

BUDGETS = ("steps", "flops")
"""What is equal for all rows: joint steps, or the operations of all of them."""

SEES_THE_TRUTH = ("oracle_patches",)
"""Systems that get what users do not have: bounds, not rivals."""

_NO_REDRAWS = "retrieval.redraw_every_steps=0"  # redraws need a learned embedding
_NO_STAGE_OF_PHI = "retrieval.embedding_steps=0"  # that stage has the selection loss alone
_NO_JOINT_STAGE = ("training.steps=0",)
_SETTINGS: dict[str, tuple[str, ...]] = {
    "pastegan_style": ("retrieval.choice=nearest_random", _NO_REDRAWS),
    "graph_nearest": ("retrieval.choice=nearest", _NO_REDRAWS),
    "layout2im_style": ("retrieval.choice=noise", _NO_REDRAWS),
    "oracle_patches": ("retrieval.choice=own", _NO_REDRAWS),
    **{rival: (f"training.system={rival}", _NO_REDRAWS) for rival in RIVALS},
    "no_selection_loss": ("losses.selection=0", _NO_STAGE_OF_PHI),
    "no_cooccurrence_loss": ("losses.cooccurrence=0",),
    "no_retrieval_losses": ("losses.selection=0", "losses.cooccurrence=0", _NO_STAGE_OF_PHI),
    **_PARTS,
}
_WITHIN_A_RUN = (FIRST_STAGE, "pasted_canvas")  # of the retrievegan run


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row.

    Attributes:
      name: of the row, unique.
      system: its name in `rgan eval`.
      config: as the user named it.
      run: name of its run folder.
      settings: overrides of that run, besides those of all runs.
      base: name of the run whose first two stages it takes; None trains its own.
      steps: of the run's joint stage.
      first_steps: of the first two stages of `base`.
      base_settings: overrides of `base` where it only provides its stages.
      repeats: name of the row that this one is with another seed of the training; "" for others.
    """

    name: str
    system: str
    config: str
    run: str
    settings: tuple[str, ...]
    base: str | None
    steps: int
    first_steps: tuple[int, int]
    base_settings: tuple[str, ...] = _NO_JOINT_STAGE
    repeats: str = ""

    @property
    def own_run(self) -> bool:
        """Whether the run is trained for this row; else it is a part of another row's."""
        return self.system not in _WITHIN_A_RUN

    @property
    def is_whole(self) -> bool:
        """Whether the row is the system itself, not RetrieveGAN without some part."""
        return (self.repeats or self.name).endswith(self.system)


def entries_of(
    configs: Mapping[str, Config],
    systems: Sequence[str],
    *,
    joint_steps: Mapping[str, Mapping[str, int]] | None = None,
    shares_a_base: bool = False,
) -> list[Entry]:
    """One row for every system of every config.

    All systems of a config share the first two stages of its `retrievegan` run and have the same
    number of joint steps. The first stage is a row as well, of its own number of steps. A row
    without a part that the config lacks anyway is left out.

    Args:
      configs: name given by the user -> resolved config.
      systems: from `SYSTEMS`, `ABLATION`, `PARTS` and the registered retrievers, without repeats.
      joint_steps: config -> system -> its joint steps, if not those of the config.
      shares_a_base: whether the first two stages are a run of their own, so that the learning
        rates of `retrievegan` may differ from those of its first stages.

    Raises:
      BadInput: for an unknown system.
    """
    entries = []
    names = _short_names(list(configs))
    for named, config in configs.items():
        rows = [system for system in systems if not changes_nothing(config, system)]
        # φ's own stage may take longer than a rival's whole training.
        is_without_phi = all(map(_is_without_phi, rows))
        base_settings = (*_NO_JOINT_STAGE, *([_NO_STAGE_OF_PHI] if is_without_phi else []))
        prefix = f"{names[named]}-" if len(configs) > 1 else ""
        ours = f"{prefix}retrievegan"
        base = f"{prefix}{SHARED_RUN}" if shares_a_base else ours
        joint, first = config.training.steps, config.sg2im.steps
        # The run with the shared stages comes first, wherever its row is.
        for system in sorted(rows, key=lambda name: name != "retrievegan"):
            run = ours if system in _WITHIN_A_RUN else f"{prefix}{system}"
            steps = (joint_steps or {}).get(named, {}).get(system, joint)
            settings = settings_of(system)
            if steps != joint:
                settings = (*settings, f"training.steps={steps}")
            entries.append(
                Entry(
                    name=f"{prefix}{system}",
                    system="retrievegan" if system in (*ABLATION, *PARTS) else system,
                    config=named,
                    run=run,
                    settings=settings,
                    base=base if run != base else None,
                    steps=steps,
                    first_steps=(first, config.cooccurrence.steps),
                    base_settings=base_settings,
                )
            )
    return entries


def with_seeds(entries: Sequence[Entry], seeds: Sequence[int]) -> list[Entry]:
    """The rows, and each of them once more with every further seed of the training.

    The first two stages are shared by all, so that every row has the same candidates, whatever its
    seed; the joint stage, and those that a system has for itself, are trained anew.

    Args:
      entries: the rows, of the config's seed.
      seeds: the further ones.

    Returns:
      The rows, then those of each seed, whose names and runs end in "-seed_" and the seed.
    """
    rows = list(entries)
    for seed in seeds:
        rows += [
            dataclasses.replace(
                entry,
                name=f"{entry.name}-seed_{seed}",
                run=f"{entry.run}-seed_{seed}",
                settings=(*entry.settings, f"{SEED}={seed}"),
                base=entry.base or entry.run,
                repeats=entry.name,
            )
            for entry in entries
            if entry.system != FIRST_STAGE
        ]
    return rows


def settings_of(system: str) -> tuple[str, ...]:
    """How the run of a system differs from that of `retrievegan`.

    Raises:
      BadInput: for an unknown system.
    """
    if system in own_retrievers():
        return (f"retrieval.choice={system}", _NO_REDRAWS)
    if system not in (*SYSTEMS, *ABLATION, *PARTS):
        known = ", ".join((*SYSTEMS, *ABLATION, *PARTS, *own_retrievers()))
        raise BadInput(f"system {system}: unknown; known are {known}; {OPEN_TO_MORE}")
    return _SETTINGS.get(system, ())


def _is_without_phi(system: str) -> bool:
    """Whether the run of a system never has the stage of its own that trains φ alone."""
    return any(
        setting == _NO_STAGE_OF_PHI
        or setting in (f"retrieval.choice={rule}" for rule in RULES)
        or setting.startswith("training.system=")
        for setting in settings_of(system)
    )


def changes_nothing(config: Config, system: str) -> bool:
    """Whether a row without some part would be `retrievegan` again: the config lacks the part.

    Args:
      config: of `retrievegan`.
      system: from `ABLATION` or `PARTS`; every other system is a row of its own.
    """
    if system not in (*ABLATION, *PARTS):
        return False
    switches = _PARTS[system][:1] if system in PARTS else _SETTINGS[system]
    given = flat_settings(config)
    return all(
        given[key] == yaml.safe_load(value) for key, value in (text.split("=") for text in switches)
    )


def _short_names(configs: list[str]) -> dict[str, str]:
    """A name for folders and rows per config: its stem, numbered if it is not unique."""
    names: dict[str, str] = {}
    for config in configs:
        stem = re.sub(r"[^\w.+-]", "_", Path(config).stem) or "config"
        name, number = stem, 2
        while name in names.values():
            name, number = f"{stem}_{number}", number + 1
        names[config] = name
    return names
