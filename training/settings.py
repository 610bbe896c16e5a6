"""Which settings of a config are not the defaults."""

from __future__ import annotations

from typing import Any

from rgan_tf.config import Config, flat_settings


def changed_settings(config: Config) -> dict[str, tuple[Any, Any]]:
    """`section.key` -> (value, default) of every setting that is not the default."""
    defaults = flat_settings(Config())
    return {
        key: (value, defaults[key])
        for key, value in flat_settings(config).items()
        if value != defaults[key]
    }
