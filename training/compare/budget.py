"""How many steps of each system cost as many operations as those of RetrieveGAN."""

from __future__ import annotations

import json
from pathlib import Path

from rgan_tf.config import Config, flat_settings
from rgan_tf.data.prepared import PreparedData
from rgan_tf.registered_names import RIVALS
from rgan_tf.storage.files import read_json, write_json_atomic
from training.bench import step_flops
from training.compare.entries import settings_of
from training.configuration import named_config

UNCOUNTED = (
    "AttnGAN's encoders are trained besides (stage damsm); their operations are not counted, so "
    "that this row has more in all."
)
"""What a reader has to know of the budget in operations."""


def steps_of_equal_cost(
    name: str,
    overrides: list[str],
    systems: list[str],
    data: PreparedData,
    remembered: Path,
    *,
    weights_dir: str | None,
) -> dict[str, int]:
    """Joint steps of each system that cost what those of RetrieveGAN cost, by counted operations.

    Systems with RetrieveGAN's own networks have its number of steps.

    Args:
      name: of the config.
      overrides: of every config.
      systems: the rows.
      data: gives a batch.
      remembered: JSON file of counts, as one takes a minute; made or extended.
      weights_dir: folder with backbone weight files.

    Returns:
      System -> steps, of the rivals among them.
    """
    ours = named_config(name, overrides)
    rivals = [system for system in systems if system in RIVALS]
    if not rivals:
        return {}
    counts = read_json(remembered) if remembered.exists() else {}

    def gflop(config: Config) -> float:
        # What is counted does not depend on the length of the training.
        settings = {k: v for k, v in flat_settings(config).items() if not k.endswith(".steps")}
        key = json.dumps([data.fingerprint, settings], sort_keys=True)
        if key not in counts:
            counts[key] = step_flops.training_gflop(config, data, weights_dir=weights_dir)
            write_json_atomic(remembered, counts)
        return counts[key]

    whole = gflop(ours) * ours.training.steps
    return {
        system: max(1, round(whole / gflop(named_config(name, [*overrides, *settings_of(system)]))))
        for system in rivals
    }
