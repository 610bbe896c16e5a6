"""Answers that pages of other origins may read, as TensorFlow Serving gives them when asked to.

Only the paths of models: who watches a server is no page.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from export.service_errors import InvalidRequest
from export.wire import TIMEOUT_HEADER
from rgan_tf.errors import BadInput

ANY_ORIGIN = "*"
_PATHS = re.compile(r"(?i)/v1/")
_ORIGIN = re.compile(r"https?://[^/\s,;]+")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def check_origin(origin: str) -> None:
    """Refuses what no browser sends as the origin of a page.

    Raises:
      BadInput: in one line.
    """
    if origin != ANY_ORIGIN and not _ORIGIN.fullmatch(origin):
        raise BadInput(
            f"--rest-cors-origin {origin[:80]!r}: must be * or like https://pages.example:8080"
        )


def cors_headers(origin: str) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """What is called with every answer before its headers are sent.

    Args:
      origin: that may read, or `ANY_ORIGIN`.
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
    """The handler, and an answer to what a browser asks before it sends a request."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.method != "OPTIONS":
            return await handler(request)
        if not _ORIGIN.search(request.headers.get("Origin", "")):
            raise InvalidRequest("Origin: must be that of a page, http:// or https://")
        return web.Response()

    return handle
