"""Runs `rgan serve`."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from aiohttp import web

from export.server.grpc_service import build_grpc
from export.server.http_parts import build_runner
from export.server.lifecycle import Parts, build_parts, live
from export.server.loaded_version import LoadedVersion
from export.server.ports import address_of, listen, refusal
from export.server.rest import build_rest
from export.signatures import MAX_BATCH
from rgan_tf.progress import note


def serve(args: argparse.Namespace, started: float) -> dict[str, Any]:
    """Serves until a stop signal.

    Args:
      args: of `rgan serve`, validated.
      started: start of the command, on the clock of `time.monotonic`.

    Returns:
      The printed result.

    Raises:
      BadInput: if a port is not available, or no version can be served.
    """
    return asyncio.run(_serve(args, started))


async def _serve(args: argparse.Namespace, started: float) -> dict[str, Any]:
    parts = build_parts(
        args.model, args.name, LoadedVersion, queue_rows=args.queue_rows, keep=args.keep_versions
    )
    front = _Ports(args, parts, started)
    await live(parts, front, poll_s=args.poll_s, grace_s=args.grace_s)
    return {
        "version": parts.versions.newest,
        "rest_port": front.rest_port,
        "grpc_port": front.grpc_port,
        "answered": parts.telemetry.answered,
        "seconds": round(time.monotonic() - started, 1),
    }


class _Ports:
    """REST and gRPC; an `export.server.lifecycle.Front`."""

    def __init__(self, args: argparse.Namespace, parts: Parts, started: float):
        self._args = args
        self._parts = parts
        self._started = started
        rest = build_rest(parts.service, MAX_BATCH, args.rest_cors_origin)
        self._runner = build_runner(rest, args.grace_s)
        self._server, self._health = build_grpc(parts.service, MAX_BATCH)
        self.rest_port = self.grpc_port = 0

    async def open(self) -> None:
        args = self._args
        listener = listen(args.host, args.rest_port, "--rest-port")
        self.rest_port = listener.getsockname()[1]
        await self._runner.setup()
        self.grpc_port = _add_port(self._server, args.host, args.grpc_port)
        await web.SockSite(self._runner, listener).start()
        await self._server.start()

    async def ready(self) -> None:
        await self._health.set(is_serving=True)
        host = self._args.host
        note(
            f"rgan serve: version {self._parts.versions.newest} of {self._args.name} at "
            f"http://{address_of(host, self.rest_port)} and "
            f"grpc://{address_of(host, self.grpc_port)} after "
            f"{time.monotonic() - self._started:.1f} s"
        )

    async def leave(self) -> None:
        await self._health.set(is_serving=False)

    async def end(self) -> None:
        await self._health.end_watches()

    async def close(self, grace_s: float) -> None:
        # Both at once: no new connections from here on, and time for open requests.
        await asyncio.gather(self._server.stop(grace_s), self._runner.cleanup())


def _add_port(server, host: str, port: int) -> int:
    try:
        bound = server.add_insecure_port(address_of(host, port))
    except RuntimeError as error:
        raise refusal(host, port, "--grpc-port", error) from error
    if not bound:
        raise refusal(host, port, "--grpc-port", OSError())
    return bound
