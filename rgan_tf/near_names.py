"""Suggests known names for a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_NAMED = 8


def near_names(name: str, known: Iterable[str]) -> str:
    """Advice at the end of a message about an unknown name, ignoring case.

    Args:
      name: the unknown name.
      known: the known names, in order; the first few are listed if none is near.

    Returns:
      Such as "did you mean 'tree' or 'tram'?"; empty if no name is known.
    """
    known = list(known)
    by_folded: dict[str, str] = {}
    for other in known:
        by_folded.setdefault(other.casefold(), other)
    near = difflib.get_close_matches(name.casefold(), by_folded, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(repr(by_folded[other]) for other in near) + "?"
    if not known:
        return ""
    return "known names include " + ", ".join(map(repr, known[:_MOST_NAMED]))
