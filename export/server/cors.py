"""CORS headers for pages of other origins, like TensorFlow Serving's.

Only for the paths of models, since pages do not monitor servers.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from export.server.http_parts import Handler
from export.service_errors import InvalidRequest
from export.wire import TIMEOUT_HEADER
from rgan_tf.errors import BadInput

ANY_ORIGIN = "*"
_PATHS = re.compile(r"(?i)/v1/")
_ORIGIN = re.compile(r"https?://[^/\s,;]+")


def check_origin(origin: str) -> None:
    """Refuses values that no browser sends as the origin of a page.

    Raises:
      BadInput: if it is one.
    """
    if origin != ANY_ORIGIN and not _ORIGIN.fullmatch(origin):
        raise BadInput(
            f"--rest-cors-origin {origin[:80]!r}: must be * or like https://pages.example:8080"
        )


def cors_headers(origin: str) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A hook that is called with every answer before its headers are sent.

    Args:
      origin: the origin that may read, or `ANY_ORIGIN`.
    """

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        if not _PATHS.match(request.path):
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Methods"] = "POST, GET"
        response.headers["Access-Control-Allow-Headers"] = f"Content-Type, {TIMEOUT_HEADER}"
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"
        if origin != ANY_ORIGIN:
            response.headers["Vary"] = "Origin"

    return add


def with_preflight(handler: Handler) -> Handler:
    """The handler, plus an answer to the preflight request of browsers."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.method != "OPTIONS":
            return await handler(request)
        if not _ORIGIN.search(request.headers.get("Origin", "")):
            raise InvalidRequest("Origin: must be that of a page, http:// or https://")
        return web.Response()

    return handle
