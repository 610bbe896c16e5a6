"""The errors that users can cause or meet, each with the exit code of the `rgan` command.

A message is one line that says what is wrong, where, and what to do about it.
"""

from __future__ import annotations


class RganError(Exception):
    """Base of every error that `rgan` reports as one line instead of a traceback.

    Attributes:
      exit_code: of the command that ends with it.
    """

    exit_code = 1


class BadInput(RganError):
    """A request, file, config or option that cannot be used as given; exit code 2."""

    exit_code = 2


class Diverged(RganError):
    """Training produced non-finite numbers and could not recover; exit code 3."""

    exit_code = 3


class CorruptData(RganError):
    """Data that was valid when written is damaged; exit code 4."""

    exit_code = 4


class Interrupted(RganError):
    """Stopped on request; the same command resumes the work; exit code 75."""

    exit_code = 75


def one_line(text: str, limit: int | None = None) -> str:
    """Makes any text safe to show in a message.

    Args:
      text: may contain line ends and terminal control characters.
      limit: maximum length; longer text is cut and ends in "...".

    Returns:
      The text with blanks and line ends collapsed and unprintable characters escaped.
    """
    if limit is not None and len(text) > limit:
        text = text[:limit] + "..."
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in " ".join(text.split())
    )
