"""Sends requests over REST, one per attempt; imports no TensorFlow."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Mapping
from urllib.parse import quote

import numpy as np
import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError
from urllib3.exceptions import TimeoutError as WaitedTooLong

from export.client.foreign import describe_answer
from export.client.replies import MAX_REPLY_BYTES, check_values
from export.client.rest_connection import RestConnection
from export.model_folder import ModelFolder
from export.service_errors import (
    BadReply,
    DeadlineExceeded,
    ServiceError,
    Unreachable,
    error_of_http,
)
from export.wire import TIMEOUT_HEADER, dump_call, parse_reply, specs_of
from rgan_tf.errors import BadInput, one_line

_BLOCK = 2**16
_MOST_IDLE = 256  # connections kept for later requests
_SHOWN = 200
_LONGEST = 1000  # characters of a server's message
_TOO_LATE = "no answer within the deadline"
_ENDED = " (a port that speaks TLS or another protocol may close connections like this)"


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = RestConnection


class RestTransport:
    """Keeps as many connections as were in use at once, for any threads.

    Args:
      host, port: of the server.
      name: of the model.
      version: number; None for the newest.
      contract: the model, as known on this machine.
    """

    def __init__(self, host: str, port: int, name: str, version: int | None, contract: ModelFolder):
        self._place = f"{host}:{port}"
        self._pool = _Pool(host.encode("idna").decode(), port, maxsize=_MOST_IDLE)
        part = "" if version is None else f"/versions/{version}"
        self._path = f"/v1/models/{quote(name, safe='')}{part}:predict"
        self._contract = contract

    def call(
        self, signature: str, arrays: Mapping[str, np.ndarray], timeout_s: float
    ) -> dict[str, np.ndarray]:
        """One attempt; see `export.client.Transport`."""
        deadline = time.monotonic() + timeout_s
        body = dump_call(signature, arrays)
        status, retry_after, content = self._post(body, deadline)
        if status != 200:
            error = error_of_http(status, _message_of(status, content))
            with contextlib.suppress(TypeError, ValueError):
                error.retry_after_s = max(0.0, float(retry_after))
            raise error
        rows = len(next(iter(arrays.values())))
        if not content.lstrip().startswith(b"{"):
            raise BadReply(f"reply: {self._place} gave {describe_answer(content)}")
        try:
            reply = parse_reply(
                content, specs_of(self._contract.outputs_of(signature), self._contract.sizes), rows
            )
        except BadInput as error:
            raise BadReply(str(error)) from error
        check_values(reply, self._contract.sizes)
        return reply

    def close(self) -> None:
        """Closes the connections; those in use when they are returned."""
        self._pool.close()

    def _post(self, body: bytes, deadline: float) -> tuple[int, str | None, bytes]:
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(_TOO_LATE)
        left_ms = max(1, round(1000.0 * left))
        content = bytearray()
        try:
            # Not sent again: the server may already have worked on it.
            response = self._pool.urlopen(
                "POST",
                self._path,
                body,
                {"Content-Type": "application/json", TIMEOUT_HEADER: str(left_ms)},
                retries=False,
                timeout=urllib3.Timeout(total=left),
                preload_content=False,
                decode_content=False,
            )
            for block in response.stream(_BLOCK):
                content += block
                if len(content) > MAX_REPLY_BYTES:
                    response.close()  # drops the rest of the answer
                    raise BadReply(f"reply: is larger than {MAX_REPLY_BYTES} bytes")
            response.release_conn()
        except (HTTPError, OSError) as error:
            raise self._error_of(error) from error
        return response.status, response.headers.get("Retry-After"), bytes(content)

    def _error_of(self, error: Exception) -> ServiceError:
        """The `ServiceError` for an incomplete answer."""
        if isinstance(error, NewConnectionError):
            error = error.__cause__ or error
        elif isinstance(error, ProtocolError):
            error = error.args[-1]
        if isinstance(error, (TimeoutError, WaitedTooLong)):
            return DeadlineExceeded(_TOO_LATE)
        is_cut = isinstance(error, (http.client.IncompleteRead, ConnectionError))
        if isinstance(error, http.client.HTTPException) and not is_cut:
            line = error.line if isinstance(error, http.client.BadStatusLine) else str(error)
            found = describe_answer(line.encode("latin-1", "replace"))
            return BadReply(f"{self._place} did not answer in HTTP, but gave {found}")
        reason = one_line(str(error), _SHOWN) or type(error).__name__
        also = _ENDED if isinstance(error, ConnectionResetError) else ""
        return Unreachable(f"{self._place}: {reason}{also}")


def _message_of(status: int, content: bytes) -> str:
    try:
        message = json.loads(content)["error"]
        if not isinstance(message, str):
            raise TypeError
    except (KeyError, TypeError, ValueError, RecursionError):
        return f"the server answered {status} with {describe_answer(content)}"
    return one_line(message, _LONGEST) or f"the server answered {status}"
