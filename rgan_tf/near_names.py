"""Suggests known names for a wrong one, and files that are there for one that is not."""

from __future__ import annotations

import difflib
import functools
import os
import time
import unicodedata
from collections.abc import Iterable
from pathlib import Path

_MOST_NAMED = 8
_TICK_NS = 2_000_000_000  # the coarsest clock of a file system
_ONE_ENDING = {".jpeg": ".jpg"}


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


def spelled_otherwise(path: str | Path) -> str:
    """Advice behind "No such file": what is there under nearly the same name.

    Names are nearly the same if they differ in letter case, in how an accent is written, or as
    .jpg from .jpeg, in any part of the path. Annotations that were made where letter case does not
    count name files so. Files named by numbers are alike without being each other's, so no other
    likeness counts.

    Args:
      path: of a file or folder that is missing.

    Returns:
      Such as ", but 'images/A.JPG' is there; write the name as the file has it"; empty if nothing
      is.
    """
    place, missing = Path(path), []
    try:
        while not place.is_dir():
            if not place.name:
                return ""
            missing.insert(0, place.name)
            place = place.parent
        base = place
        for name in missing:
            # Two files may differ in letter case alone; the one that was named comes first.
            is_there = os.path.lexists(place / name)
            written = name if is_there else _names_in(place).get(_plain(name))
            if written is None:
                return ""
            place /= written
    except (OSError, ValueError):  # the text is not a path, or a folder on it cannot be listed
        return ""
    found = place.relative_to(base).as_posix()
    if not missing or found == "/".join(missing):
        return ""
    return f", but {found!r} is there; write the name as the file has it"


def _names_in(folder: Path) -> dict[str, str]:
    """Plain form of a name -> the name, of all that a folder holds."""
    changed_ns = os.stat(folder).st_mtime_ns
    if time.time_ns() - changed_ns < _TICK_NS:  # it may change again without looking so
        return _list(str(folder))
    return _listed(str(folder), changed_ns)


def _list(folder: str) -> dict[str, str]:
    return {_plain(name): name for name in sorted(os.listdir(folder), reverse=True)}


@functools.lru_cache(maxsize=4)  # thousands of missing images lie in few folders
def _listed(folder: str, changed_ns: int) -> dict[str, str]:
    return _list(folder)


def _plain(name: str) -> str:
    stem, ending = os.path.splitext(unicodedata.normalize("NFC", name).casefold())
    return stem + _ONE_ENDING.get(ending, ending)
