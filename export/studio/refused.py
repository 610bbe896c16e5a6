"""The error of a request that the studio refuses."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from export.service_errors import InvalidRequest
from rgan_tf.errors import BadInput, CorruptData

GRAPH = "graph"  # its name in messages

_PLACE = re.compile(rf"{GRAPH}: (objects|relationships|boxes|patches)(\[[0-9]+\])?(?![\w])")
_FIELD = re.compile(r"((?:draws?|graph)(?:\.[a-z]+|\[[0-9]+\])*)\b")


class Refused(InvalidRequest):
    """A request that is wrong.

    Attributes:
      field: the wrong part of the request, such as "graph.boxes[2]"; None for the whole.

    Args:
      message: one line.
      field: see above.
      status: of HTTP.
    """

    def __init__(self, message: str, field: str | None = None, status: int = 400):
        super().__init__(message)
        self.field = field
        self.http_status = status


@contextlib.contextmanager
def as_refused(field: str | None = None) -> Iterator[None]:
    """Turns the errors of the project's parsers into `Refused`.

    Args:
      field: the part of the request; by default as the message says.
    """
    try:
        yield
    except (BadInput, CorruptData) as error:
        message = str(error)
        raise Refused(message, field or _field_of(message)) from error


def _field_of(message: str) -> str | None:
    """The part of a request with which a message begins."""
    if place := _PLACE.match(message):
        return f"{GRAPH}.{place[1]}{place[2] or ''}"
    if message.startswith(f"{GRAPH}: relationship "):
        return f"{GRAPH}.relationships"
    field = _FIELD.match(message)
    return field[1] if field else None
