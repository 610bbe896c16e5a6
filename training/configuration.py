"""Finds configs by name, shortens them, and compares them with the defaults."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rgan_tf.arguments import path_text, shown, whole_number
from rgan_tf.config import Config, changed
from rgan_tf.config_files import flat_settings, load_config
from rgan_tf.errors import BadInput
from rgan_tf.near_names import near_names

CONFIG_FOLDER = Path(__file__).parent / "configs"


def named_config(name: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The config of a YAML file, or a shipped config by name.

    Args:
      name: a YAML file, or a shipped config: "procedural_64", "street_64", "coco_mini_64",
        "faithful_64", "coco_128" or "vg_128".
      overrides: `section.key=value`, one or several.

    Raises:
      BadInput: if there is neither (lists the shipped ones), or a key or value is not allowed.

    Example:
      ```python
      import rgan_tf

      config = rgan_tf.load_config("street_64", ["training.steps=5000"])
      ```
    """
    if not isinstance(name, (str, os.PathLike)):
        raise BadInput(f"config {shown(name)}: must be a YAML file or the name of a shipped config")
    name = path_text(name, "config")
    path = Path(name)
    shipped = {file.stem: file for file in sorted(CONFIG_FOLDER.glob("*.yaml"))}
    # A folder of that name is a run or data, not a config.
    if not path.is_file() and name in shipped:
        path = shipped[name]
    if not path.exists():
        advice = near_names(path.stem, shipped)
        advice = f"; {advice}" if advice.startswith("did") else ""
        raise BadInput(
            f"config {name}: No such file, and no shipped config has this name; shipped are "
            f"{', '.join(shipped)}{advice}"
        )
    return load_config(path, overrides)


def at_most(config: Config, steps: int) -> Config:
    """A config that trains each stage for at most that many steps.

    Raises:
      BadInput: if it is below 1.
    """
    steps = whole_number(steps, "--max-steps")
    if steps < 1:
        raise BadInput(f"--max-steps {steps}: must be at least 1")
    return changed(
        config,
        sg2im={"steps": min(steps, config.sg2im.steps)},
        cooccurrence={"steps": min(steps, config.cooccurrence.steps)},
        attngan={"damsm_steps": min(steps, config.attngan.damsm_steps)},
        retrieval={"embedding_steps": min(steps, config.retrieval.embedding_steps)},
        training={"steps": min(steps, config.training.steps)},
    )


def changed_settings(config: Config) -> dict[str, tuple[Any, Any]]:
    """`section.key` -> (value, default) of every setting that is not the default."""
    defaults = flat_settings(Config())
    return {
        key: (value, defaults[key])
        for key, value in flat_settings(config).items()
        if value != defaults[key]
    }
