"""Renders pages from template files; an undefined variable is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

# Characters that HTML does not allow show as U+FFFD.
_CONTROL = {code: "\ufffd" for code in range(32) if chr(code) not in "\t\n"}


def environment(folder: Path, **options: Any) -> Environment:
    """The environment for the templates of a folder.

    Args:
      folder: of the templates.
      **options: for Jinja's environment, such as `autoescape`.
    """
    return Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )


def html_environment(folder: Path) -> Environment:
    """Templates of HTML pages: values are escaped and formatted for people (`shown`)."""
    return environment(folder, autoescape=True, finalize=shown)


def page_bytes(page: str) -> bytes:
    """A rendered page as bytes of a file."""
    return page.translate(_CONTROL).encode("utf-8", "replace")


def shown(value: Any) -> Any:
    """Formats a value for people: numbers with four significant digits, a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return value
    if value.is_integer() and abs(value) < 1e15:
        return int(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
