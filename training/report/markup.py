"""HTML that cannot be anything but what was meant: all text is escaped, elements are not text."""

from __future__ import annotations

import html
from collections.abc import Sequence

_VOID = {"br", "img", "meta"}
_CONTROL = {code: "\ufffd" for code in range(32) if chr(code) not in "\t\n"}


class Markup(str):
    """Finished HTML. Only `tag` and `join` make it of what they are given, and `page` of constants,
    so that text never turns into elements."""


Content = str | int | float | None


def tag(name: str, *content: Content, **attributes: str | int | float) -> Markup:
    """One element.

    Args:
      name: of the element, such as "p".
      *content: `Markup` is taken as it is; text and numbers are escaped; None is left out.
      **attributes: their values are escaped; `class_` gives `class`, `view_box` `viewBox`, and
        another `_` a hyphen.
    """
    opened = "".join(
        f' {_attribute(key)}="{escape(str(value))}"' for key, value in attributes.items()
    )
    if name in _VOID:
        return Markup(f"<{name}{opened}>")
    return Markup(f"<{name}{opened}>{join(content)}</{name}>")


def join(content: Sequence[Content]) -> Markup:
    """Several pieces, one after the other."""
    return Markup(
        "".join(
            piece if isinstance(piece, Markup) else escape(str(piece))
            for piece in content
            if piece is not None
        )
    )


def escape(text: str) -> str:
    """Text as HTML shows it; characters that HTML has none of become U+FFFD."""
    text = text.translate(_CONTROL).encode("utf-8", "replace").decode("utf-8")
    return html.escape(text, quote=True)


def table(head: Sequence[Content], rows: Sequence[Sequence[Content]], **attributes: str) -> Markup:
    """A table; cells that are numbers or missing are set to the right.

    Args:
      head: titles of the columns.
      rows: as many cells each; None shows a dash.
      **attributes: of the table.
    """
    titles = tag("tr", *(tag("th", title) for title in head))
    lines = [tag("tr", *(cell(value) for value in row)) for row in rows]
    return tag("table", tag("thead", titles), tag("tbody", *lines), **attributes)


def cell(value: Content, **attributes: str | int) -> Markup:
    """A cell of a table: numbers to the right, a dash for None."""
    if value is None:
        return tag("td", "–", class_="number", **attributes)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return tag("td", number(value), class_="number", **attributes)
    return tag("td", value, **attributes)


def number(value: float) -> str:
    """A figure for people: four significant digits, integers whole."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return str(int(value))
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.4g}"


def _attribute(key: str) -> str:
    return {"class_": "class", "view_box": "viewBox"}.get(key, key.replace("_", "-"))
