"""A urllib3 connection with one deadline for all its waits."""

from __future__ import annotations

import socket
import time

from urllib3.connection import HTTPConnection


class RestConnection(HTTPConnection):
    """Its timeout covers the whole answer; urllib3's covers each wait for bytes."""

    def connect(self) -> None:
        """Connects; the time for this is deducted from the deadline."""
        started = time.monotonic()
        super().connect()
        self.sock = _DeadlineSocket(fileno=self.sock.detach())
        self.sock.settimeout(self.timeout - (time.monotonic() - started))


class _DeadlineSocket(socket.socket):
    """Each wait gets the remaining time, as status line, headers and chunks may arrive slowly."""

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
