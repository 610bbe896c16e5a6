"""REST to a server, each attempt one request; imports no TensorFlow."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Mapping
from urllib.parse import quote

import numpy as np

from export.client.foreign import describe_answer
from export.client.replies import MAX_REPLY_BYTES, check_values
from export.client.rest_connection import RestConnection
from export.model_folder import ModelFolder
from export.service_errors import BadReply, DeadlineExceeded, Unreachable, error_of_http
from export.wire import TIMEOUT_HEADER, dump_call, parse_reply, specs_of
from rgan_tf.errors import BadInput, one_line

_BLOCK = 2**16
_SHOWN = 200
_LONGEST = 1000  # characters of a message of the server's
_ENDED = " (a port that speaks TLS or another protocol may end connections so)"


class RestTransport:
    """Keeps as many connections as were in use at once, whatever the threads.

    Args:
      host, port: of the server.
      name: of the model.
      version: number; None for the newest.
      contract: the model, as this machine knows it.
    """

    def __init__(self, host: str, port: int, name: str, version: int | None, contract: ModelFolder):
        self._host, self._port = host, port
        part = "" if version is None else f"/versions/{version}"
        self._path = f"/v1/models/{quote(name, safe='')}{part}:predict"
        self._contract = contract
        self._lock = threading.Lock()
        self._is_closed = False
        self._idle: list[RestConnection] = []

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
            raise BadReply(f"reply: {self._host}:{self._port} gave {describe_answer(content)}")
        try:
            reply = parse_reply(
                content, specs_of(self._contract.outputs_of(signature), self._contract.sizes), rows
            )
        except BadInput as error:
            raise BadReply(str(error)) from error
        check_values(reply, self._contract.sizes)
        return reply

    def close(self) -> None:
        """Closes the connections; those in use when they are given back."""
        with self._lock:
            self._is_closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def _post(self, body: bytes, deadline: float) -> tuple[int, str | None, bytes]:
        connection = self._take()
        connection.deadline = deadline
        is_whole = False
        try:
            answer = self._exchange(connection, body)
            is_whole = True
            return answer
        except TimeoutError as error:
            raise DeadlineExceeded("no answer within the deadline") from error
        except (ConnectionError, http.client.IncompleteRead) as error:
            reason = one_line(str(error), _SHOWN) or type(error).__name__
            also = _ENDED if isinstance(error, ConnectionResetError) else ""
            raise Unreachable(f"{self._host}:{self._port}: {reason}{also}") from error
        except http.client.HTTPException as error:
            line = error.line if isinstance(error, http.client.BadStatusLine) else str(error)
            found = describe_answer(line.encode("latin-1", "replace"))
            raise BadReply(f"{self._host}:{self._port} gave no HTTP, but {found}") from error
        except OSError as error:
            reason = one_line(str(error), _SHOWN) or type(error).__name__
            raise Unreachable(f"{self._host}:{self._port}: {reason}") from error
        finally:
            if not is_whole:
                connection.close()  # what is left of the answer is not wanted
            self._give_back(connection)

    def _exchange(self, connection: RestConnection, body: bytes) -> tuple[int, str | None, bytes]:
        connection.limit()
        left_ms = max(1, round(1000.0 * (connection.deadline - time.monotonic())))
        headers = {"Content-Type": "application/json", TIMEOUT_HEADER: str(left_ms)}
        connection.request("POST", self._path, body, headers)
        response = connection.getresponse()
        content = bytearray()
        while block := response.read1(_BLOCK):
            content += block
            if len(content) > MAX_REPLY_BYTES:
                raise BadReply(f"reply: is larger than {MAX_REPLY_BYTES} bytes")
        if response.length:  # the server closed before the end
            raise http.client.IncompleteRead(b"", response.length)
        response.close()  # else the connection takes no further request
        return response.status, response.headers.get("Retry-After"), bytes(content)

    def _take(self) -> RestConnection:
        """The connection that was used last, opened anew where the server has closed it since."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            return RestConnection(self._host, self._port)
        if connection.is_stale:
            connection.close()
        return connection

    def _give_back(self, connection: RestConnection) -> None:
        with self._lock:
            if self._is_closed or connection.sock is None:
                connection.close()
            else:
                self._idle.append(connection)


def _message_of(status: int, content: bytes) -> str:
    try:
        message = json.loads(content)["error"]
        if not isinstance(message, str):
            raise TypeError
    except (KeyError, TypeError, ValueError, RecursionError):
        return f"the server answered {status} with {describe_answer(content)}"
    return one_line(message, _LONGEST) or f"the server answered {status}"
