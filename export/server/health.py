"""gRPC's health service, for the server as a whole and for each of its services.

The one of the package grpcio-health-checking blocks a server's stop while anybody watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_WHOLE = ""  # name of the server as a whole
_Response = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """Reports NOT_SERVING until `set` changes it.

    Args:
      services: full names.
    """

    def __init__(self, services: Sequence[str]):
        self._services = {_WHOLE, *services}
        self._is_serving = False
        self._is_over = False
        self._changed = asyncio.Condition()

    async def set(self, *, is_serving: bool) -> None:
        """Sends the new state to all watchers."""
        async with self._changed:
            self._is_serving = is_serving
            self._changed.notify_all()

    async def end_watches(self) -> None:
        """Ends every `Watch` after it has sent the last change."""
        async with self._changed:
            self._is_over = True
            self._changed.notify_all()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> _Response:
        """The current state; NOT_FOUND for an unknown service."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service[:80]!r}")
        return self._response(request.service)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[_Response]:
        """The current state and every change of it, until the server stops."""
        sent: _Response | None = None
        while True:
            async with self._changed:
                while not self._is_over and self._response(request.service) == sent:
                    await self._changed.wait()
                is_over, response = self._is_over, self._response(request.service)
            if response != sent:
                yield response
                sent = response
            if is_over:
                return

    def _response(self, service: str) -> _Response:
        if service not in self._services:
            return _Response(status=_Response.SERVICE_UNKNOWN)
        return _Response(status=_Response.SERVING if self._is_serving else _Response.NOT_SERVING)
