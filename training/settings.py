"""The settings of a config as one flat table."""

from __future__ import annotations

from typing import Any

from rgan_tf.config import Config, config_to_dict


def flat_settings(config: Config) -> dict[str, Any]:
    """`section.key` -> value, in the order of the config; sequences are lists."""
    flat: dict[str, Any] = {}
    for key, value in config_to_dict(config).items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": item for name, item in value.items()}
        else:
            flat[key] = value
    return flat


def changed_settings(config: Config) -> dict[str, tuple[Any, Any]]:
    """`section.key` -> (value, default) of every setting that is not the default."""
    defaults = flat_settings(Config())
    return {
        key: (value, defaults[key])
        for key, value in flat_settings(config).items()
        if value != defaults[key]
    }
