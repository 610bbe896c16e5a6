"""The errors a user can cause or meet, each with the exit code of the `rgan` command.

A message is one line that says what is wrong, where, and what to do about it.
"""

from __future__ import annotations


class RganError(Exception):
    """Base of every error that `rgan` reports as one line instead of a traceback."""

    exit_code = 1


class BadInput(RganError):
    """A request, file, config or option that cannot be used as given."""

    exit_code = 2


class Diverged(RganError):
    """Training produced non-finite numbers and could not recover."""

    exit_code = 3


class CorruptData(RganError):
    """Data that was written correctly once and is damaged now."""

    exit_code = 4


class Interrupted(RganError):
    """Stopped on request; the same command continues the work."""

    exit_code = 75


def one_line(text: str, limit: int | None = None) -> str:
    """Text as a message may show it, whoever wrote it.

    Args:
      text: that may hold line ends, and characters by which a terminal does things.
      limit: characters after which it is cut and ends in "...".

    Returns:
      Blanks and line ends as one blank each, and what cannot be printed as its escape.
    """
    if limit is not None and len(text) > limit:
        text = text[:limit] + "..."
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in " ".join(text.split())
    )
