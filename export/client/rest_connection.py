"""A connection of urllib3 of which every wait ends at one deadline."""

from __future__ import annotations

import socket
import time

from urllib3.connection import HTTPConnection


class RestConnection(HTTPConnection):
    """Its timeout is that of the whole answer, where urllib3's is that of each wait for bytes."""

    def connect(self) -> None:
        """Connects; what that takes is no longer there for sending."""
        started = time.monotonic()
        super().connect()
        self.sock = _DeadlineSocket(fileno=self.sock.detach())
        self.sock.settimeout(self.timeout - (time.monotonic() - started))


class _DeadlineSocket(socket.socket):
    """Status line, headers and sizes of chunks may drip too: each wait gets what is left."""

    def settimeout(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._limit()

    def recv_into(self, *args) -> int:
        self._limit()
        return super().recv_into(*args)

    def sendall(self, *args) -> None:
        self._limit()
        super().sendall(*args)

    def _limit(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        super().settimeout(left)
