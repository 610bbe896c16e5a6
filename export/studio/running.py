"""Runs `rgan studio`."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from aiohttp import web

from export.server.http_parts import build_runner
from export.server.lifecycle import Parts, build_parts, live
from export.server.ports import address_of, listen
from export.studio.app import build_app
from export.studio.engine import ServedEngine
from export.studio.guard import Guard, is_loopback
from export.studio.served_version import StudioVersion
from rgan_tf.progress import note


def serve_studio(args: argparse.Namespace, started: float) -> dict[str, Any]:
    """Serves the studio until a stop signal.

    Args:
      args: of `rgan studio`, validated.
      started: start of the command, on the clock of `time.monotonic`.

    Returns:
      The printed result.

    Raises:
      BadInput: if the port is not available, or no version can be served.
    """
    return asyncio.run(_serve(args, started))


async def _serve(args: argparse.Namespace, started: float) -> dict[str, Any]:
    parts = build_parts(
        args.model,
        args.name,
        StudioVersion,
        queue_rows=args.queue_rows,
        max_rows=1,  # see `StudioVersion`
    )
    front = _Page(args, parts, started)
    await live(parts, front, poll_s=args.poll_s, grace_s=args.grace_s)
    return {
        "version": parts.versions.newest,
        "port": front.port,
        "answered": parts.telemetry.answered,
        "seconds": round(time.monotonic() - started, 1),
    }


class _Page:
    """The page and its API; an `export.server.lifecycle.Front`."""

    def __init__(self, args: argparse.Namespace, parts: Parts, started: float):
        self._args = args
        self._parts = parts
        self._started = started
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def open(self) -> None:
        args = self._args
        listener = listen(args.host, args.port, "--port")
        self.port = listener.getsockname()[1]
        guard = Guard(args.host, self.port, args.token)
        app = build_app(ServedEngine(self._parts.service), guard)
        self._runner = build_runner(app, args.grace_s)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def ready(self) -> None:
        args = self._args
        fragment = "" if args.token is None else f"#token={args.token}"
        note(
            f"rgan studio: version {self._parts.versions.newest} of {args.name} at "
            f"http://{address_of(args.host, self.port)}/{fragment} after "
            f"{time.monotonic() - self._started:.1f} s; open it in a browser, Ctrl-C ends it"
        )
        if not is_loopback(args.host):
            note("rgan studio: others on the network can read what is sent: it is not encrypted")

    async def leave(self) -> None:
        """Requests are answered as before."""

    async def end(self) -> None:
        """`close` does it all."""

    async def close(self, grace_s: float) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
