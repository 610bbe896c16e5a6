"""The resolved config, with what differs from the defaults brought out."""

from __future__ import annotations

from typing import Any

from rgan_tf.config import Config, config_to_dict, flat_settings
from training.configuration import changed_settings
from training.report.markup import Content, Markup, join, tag


def config_section(config: Config) -> Markup:
    """One table per section; settings that are not the default are marked, with the default."""
    changed = changed_settings(config)
    count = f"{len(changed)} of {len(flat_settings(config))}"
    parts = [tag("p", f"{count} settings are not the default; these are marked.")]
    tables = []
    for section, settings in config_to_dict(config).items():
        if not isinstance(settings, dict):
            continue
        rows = []
        for key, value in settings.items():
            default = changed.get(f"{section}.{key}")
            cells: list[Content] = [tag("td", key), tag("td", _text(value))]
            if default is None:
                rows.append(tag("tr", *cells, tag("td", "")))
            else:
                rows.append(
                    tag("tr", *cells, tag("td", f"default {_text(default[1])}"), class_="changed")
                )
        tables.append(tag("div", tag("h4", section), tag("table", tag("tbody", *rows))))
    parts.append(tag("div", *tables, class_="columns"))
    return join(parts)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
