"""A connection over HTTP of which every wait ends at one deadline."""

from __future__ import annotations

import functools
import http.client
import io
import socket
import time


class RestConnection(http.client.HTTPConnection):
    """Of one server.

    Attributes:
      deadline: on the monotonic clock, s; set before each request.
    """

    def __init__(self, host: str, port: int):
        super().__init__(host, port)
        self.deadline = 0.0
        self.response_class = functools.partial(_Response, limit=self.limit)

    @property
    def is_stale(self) -> bool:
        """Whether a connection that nobody uses is of no use any more.

        Known before anything is sent: what was sent is not sent twice, as nobody can say whether
        the server has worked on it.
        """
        if self.sock is None:
            return False
        try:
            self.sock.setblocking(False)
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True  # the end, or an answer that nobody asked for

    def limit(self) -> None:
        """Gives the next wait what is left of the time.

        Raises:
          TimeoutError: if nothing is left.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.timeout = left
        if self.sock is not None:
            self.sock.settimeout(left)


class _Response(http.client.HTTPResponse):
    """Looks at the time before each wait, status line and headers included: they may drip too."""

    def __init__(self, sock: socket.socket, *args, limit, **options):
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Limited(self.fp.detach(), limit))


class _Limited(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, limit):
        self._raw = raw
        self._limit = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int | None:
        self._limit()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
