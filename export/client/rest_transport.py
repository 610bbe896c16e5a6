"""REST to a server; imports no TensorFlow."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Mapping
from urllib.parse import quote

import numpy as np

from export.client.replies import MAX_REPLY_BYTES, output_specs
from export.service_errors import (
    BadReply,
    DeadlineExceeded,
    ServiceError,
    Unreachable,
    error_of_http,
)
from export.signatures import Sizes
from export.wire import dump_call, parse_reply
from rgan_tf.errors import BadInput

TIMEOUT_HEADER = "X-Request-Timeout-Ms"  # TensorFlow Serving does not look at it
_BLOCK = 2**16
_SHOWN = 200
# What a server does to a connection that it has closed while nobody used it.
_STALE = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)


class RestTransport:
    """Keeps one connection per thread.

    Args:
      host, port: of the server.
      name: of the model.
      version: number; None for the newest.
      sizes: of the model.
    """

    def __init__(self, host: str, port: int, name: str, version: int | None, sizes: Sizes):
        self._host, self._port = host, port
        part = "" if version is None else f"/versions/{version}"
        self._path = f"/v1/models/{quote(name, safe='')}{part}:predict"
        self._sizes = sizes
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[http.client.HTTPConnection] = []

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
        try:
            return parse_reply(content, output_specs(signature, self._sizes), rows)
        except BadInput as error:
            raise BadReply(str(error)) from error

    def close(self) -> None:
        """Closes the connections of all threads."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def _post(self, body: bytes, deadline: float) -> tuple[int, str | None, bytes]:
        connection = self._connection()
        was_open = connection.sock is not None
        try:
            try:
                return self._exchange(connection, body, deadline)
            except _STALE:
                connection.close()
                if not was_open:
                    raise
                return self._exchange(connection, body, deadline)
        except TimeoutError as error:
            connection.close()
            raise DeadlineExceeded("no answer within the deadline") from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            reason = " ".join(str(error).split()) or type(error).__name__
            raise Unreachable(f"{self._host}:{self._port}: {reason[:_SHOWN]}") from error
        except ServiceError:
            connection.close()  # what is left of the answer is not wanted
            raise

    def _exchange(
        self, connection: http.client.HTTPConnection, body: bytes, deadline: float
    ) -> tuple[int, str | None, bytes]:
        _limit(connection, deadline)
        left_ms = max(1, round(1000.0 * (deadline - time.monotonic())))
        headers = {"Content-Type": "application/json", TIMEOUT_HEADER: str(left_ms)}
        connection.request("POST", self._path, body, headers)
        _limit(connection, deadline)
        response = connection.getresponse()
        content = bytearray()
        while True:  # each block may take what is left of the time, and not longer
            _limit(connection, deadline)
            block = response.read1(_BLOCK)
            if not block:
                break
            content += block
            if len(content) > MAX_REPLY_BYTES:
                raise BadReply(f"reply: is larger than {MAX_REPLY_BYTES} bytes")
        if response.length:  # the server closed before the end
            raise http.client.IncompleteRead(b"", response.length)
        response.close()  # else the connection takes no further request
        return response.status, response.headers.get("Retry-After"), bytes(content)

    def _connection(self) -> http.client.HTTPConnection:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self._host, self._port)
            self._local.connection = connection
            with self._lock:
                self._connections.append(connection)
        return connection


def _limit(connection: http.client.HTTPConnection, deadline: float) -> None:
    """Gives the next wait on the connection what is left of the time.

    Raises:
      TimeoutError: if nothing is left.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.timeout = left
    if connection.sock is not None:
        connection.sock.settimeout(left)


def _message_of(status: int, content: bytes) -> str:
    try:
        message = json.loads(content)["error"]
        if not isinstance(message, str):
            raise TypeError
    except (KeyError, TypeError, ValueError, RecursionError):
        message = content.decode("utf-8", "replace")
    return " ".join(message.split())[:1000] or f"the server answered {status}"
