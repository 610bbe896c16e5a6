"""Starts, watches and stops a server."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from export.server.batching import Batcher
from export.server.freezing import Freezer
from export.server.grpc_service import build_grpc
from export.server.loaded_version import LoadedVersion
from export.server.ports import address_of, listen, refusal
from export.server.rest import build_rest
from export.server.service import Service
from export.server.telemetry import Telemetry
from export.server.versions import Versions
from export.signatures import MAX_BATCH
from rgan_tf.errors import BadInput, Interrupted

_LAST_CALL_S = 0.5  # in which requests are still accepted after a stop signal


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
    return asyncio.run(_Server(args).run(started))


class _Server:
    """One run of the server."""

    def __init__(self, args: argparse.Namespace):
        self._args = args
        self._versions = Versions(Path(args.model), LoadedVersion, keep=args.keep_versions)
        self._freezer = Freezer()

    async def run(self, started: float) -> dict[str, Any]:
        args = self._args
        telemetry = Telemetry(
            max_rows=MAX_BATCH,
            waiting_rows=lambda: batcher.waiting_rows,
            newest_version=lambda: self._versions.newest,
        )
        batcher = Batcher(
            max_rows=MAX_BATCH, max_waiting=args.queue_rows, observe=telemetry.observe_batch
        )
        service = Service(args.name, self._versions, batcher, telemetry)
        stop = _stop_signals()

        listener = listen(args.host, args.rest_port, "--rest-port")
        rest_port = listener.getsockname()[1]
        runner = web.AppRunner(
            build_rest(service, MAX_BATCH, args.rest_cors_origin),
            access_log=None,
            handler_cancellation=True,  # stop working for a client that left
            shutdown_timeout=args.grace_s,
            auto_decompress=False,  # done by us, with limits and our own errors
        )
        await runner.setup()
        server, health = build_grpc(service, MAX_BATCH)
        try:
            grpc_port = _add_port(server, args.host, args.grpc_port)
            self._versions.announce()
            await web.SockSite(runner, listener).start()
            await server.start()
            if not await self._load_first(stop):
                raise Interrupted("stopped before a version was loaded")
            await health.set(is_serving=True)
            print(
                f"rgan serve: version {self._versions.newest} of {args.name} at "
                f"http://{address_of(args.host, rest_port)} and "
                f"grpc://{address_of(args.host, grpc_port)} after "
                f"{time.monotonic() - started:.1f} s",
                file=sys.stderr,
                flush=True,
            )
            watch = asyncio.create_task(self._watch())
            await stop.wait()
            watch.cancel()
            logging.getLogger(__name__).info("stopping: accepted requests are still answered")
            service.stop()
            await health.set(is_serving=False)
            # Requests sent by now are not yet read, and gRPC would cancel them.
            await asyncio.sleep(min(_LAST_CALL_S, args.grace_s))
            await health.end_watches()
        finally:
            # Both at once: no new connections from here on, and time for open requests.
            await asyncio.gather(server.stop(args.grace_s), runner.cleanup())
            await batcher.close()
        return {
            "version": self._versions.newest,
            "rest_port": rest_port,
            "grpc_port": grpc_port,
            "answered": telemetry.answered,
            "seconds": round(time.monotonic() - started, 1),
        }

    async def _load_first(self, stop: asyncio.Event) -> bool:
        """Loads the versions; False if a stop signal came first."""
        loading = asyncio.create_task(asyncio.to_thread(self._refresh))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await loading  # a thread cannot be interrupted
        if stop.is_set():
            return False
        self._versions.check_any()
        return True

    async def _watch(self) -> None:
        warned = ""
        while True:
            await asyncio.sleep(self._args.poll_s)
            try:
                await asyncio.to_thread(self._refresh)
                warned = ""
            except (BadInput, OSError) as error:  # about the folder; log it once
                if str(error) != warned:
                    logging.getLogger(__name__).warning("no new versions: %s", error)
                warned = str(error)
            except Exception:  # keep serving the loaded versions
                logging.getLogger(__name__).exception("looking for new versions failed")

    def _refresh(self) -> None:
        self._versions.refresh()
        self._freezer.freeze_if_changed(self._versions.loaded)


def _stop_signals() -> asyncio.Event:
    """Set by SIGTERM and SIGINT; a second signal ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)  # Python's would wait for threads

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop


def _add_port(server, host: str, port: int) -> int:
    try:
        bound = server.add_insecure_port(address_of(host, port))
    except RuntimeError as error:
        raise refusal(host, port, "--grpc-port", error) from error
    if not bound:
        raise refusal(host, port, "--grpc-port", OSError())
    return bound
