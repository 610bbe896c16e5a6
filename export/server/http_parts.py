"""What every HTTP server of the project does alike; imports no TensorFlow."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from export.service_errors import DeadlineExceeded, InvalidRequest, ServiceError, TooLarge
from rgan_tf.errors import one_line

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_RETRY_AFTER_S = 1
_SHOWN = 80  # characters of a path or a reason in a message


def build_runner(app: web.Application, grace_s: float) -> web.AppRunner:
    """The runner of an application.

    Args:
      app: the application.
      grace_s: seconds for open requests at the end, whether their clients send and read or not.
    """
    logging.getLogger("aiohttp.server").addFilter(_is_worth_a_line)
    return web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,  # stop working for a client that left
        # It waits twice as long: the first time for all, then for those whose request is there.
        shutdown_timeout=grace_s / 2,
        auto_decompress=False,  # done by the handlers, with limits and our own errors
    )


def json_errors(more: Callable[[Exception], dict[str, Any]] = lambda _: {}):
    """A middleware that answers every error as {"error": "one line"} with an HTTP status.

    Args:
      more: gives further entries for an exception.
    """

    def answer(
        error: Exception, message: str, status: int, headers: dict[str, str] | None = None
    ) -> web.Response:
        content = {"error": one_line(message), **more(error)}
        return web.json_response(content, status=status, headers=headers)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ServiceError as error:
            headers = {"Retry-After": str(_RETRY_AFTER_S)} if error.is_retryable else None
            return answer(error, str(error), error.http_status, headers)
        except web.HTTPException as error:
            kept = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
            message = f"{request.method} {request.path[:_SHOWN]}: {error.reason}"
            return answer(error, message, error.status, kept)
        except Exception as error:
            logging.getLogger(__name__).exception(
                "%s %s failed", request.method, one_line(request.path, _SHOWN)
            )
            return answer(error, repr(error)[:200], ServiceError.http_status)

    return middleware


def continues(limit: int) -> Handler:
    """An `expect_handler`: answers "Expect: 100-continue", unless the body will be too large.

    Args:
      limit: bytes of a body.
    """

    async def handle(request: web.Request) -> None:
        if request.version < HttpVersion11:
            return
        if request.headers.get("Expect", "").lower() != "100-continue":
            raise web.HTTPExpectationFailed(
                text=json.dumps({"error": "Expect: must be 100-continue"}),
                content_type="application/json",
            )
        if (request.content_length or 0) <= limit:
            # A client that left already is found out by the reading of its body.
            with contextlib.suppress(ConnectionError):
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the interim answer does not count

    return handle


async def read_body(request: web.Request, limit: int, timeout_s: float) -> bytes:
    """The body as it was sent, packed or not.

    Args:
      request: whose body is not read yet.
      limit: bytes; a larger body is refused as soon as its length is known.
      timeout_s: seconds for the whole body.

    Raises:
      TooLarge: if it is larger.
      DeadlineExceeded: if it is not there in time.
      InvalidRequest: if the connection breaks, or its framing is wrong.
    """
    too_large = f"the request is larger than {limit} bytes"
    if (request.content_length or 0) > limit:
        raise TooLarge(too_large)
    try:
        # `wait_for` would leave the body of a failed request to the garbage collector.
        async with asyncio.timeout(timeout_s):
            return await request.clone(client_max_size=limit).read()
    except TimeoutError:
        raise DeadlineExceeded(f"no whole request within {timeout_s:g} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(too_large) from None
    except (web.RequestPayloadError, ConnectionError, ValueError) as error:
        raise InvalidRequest(f"the request cannot be read: {str(error)[:_SHOWN]}") from error


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """False for bytes that are not HTTP, with which anybody could fill the log."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
