"""The life of a server: opens its ports, loads the model, watches for new versions, stops."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from export.server.batching import Batcher
from export.server.freezing import Freezer
from export.server.service import Service
from export.server.telemetry import Telemetry
from export.server.versions import Versions
from export.signatures import MAX_BATCH
from rgan_tf.errors import BadInput, Interrupted

_LAST_CALL_S = 0.5  # in which requests are still accepted after a stop signal


class Front(Protocol):
    """What clients speak to."""

    async def open(self) -> None:
        """Opens its ports; requests are refused as long as no version is loaded.

        Raises:
          BadInput: if a port is not available.
        """

    async def ready(self) -> None:
        """Called once when a version is loaded."""

    async def leave(self) -> None:
        """Called at the stop signal; requests are still answered."""

    async def end(self) -> None:
        """Called when no more requests are accepted."""

    async def close(self, grace_s: float) -> None:
        """Closes what is open, also after `open` failed; waits that long for open requests."""


@dataclasses.dataclass(frozen=True)
class Parts:
    """What answers, whatever the protocol."""

    versions: Versions
    batcher: Batcher
    telemetry: Telemetry
    service: Service


def build_parts(
    model: str | Path,
    name: str,
    load: Callable[[Path], Any],
    *,
    queue_rows: int,
    keep: int = 1,
    max_rows: int = MAX_BATCH,
) -> Parts:
    """The parts of a server; call it in a running event loop.

    Args:
      model: folder of versions, or one version.
      name: of the model for clients.
      load: folder -> a loaded version.
      queue_rows: rows that may wait.
      keep: number of versions to serve, the newest.
      max_rows: of a batch of merged requests; 1 merges none.
    """
    versions = Versions(Path(model), load, keep=keep)
    telemetry = Telemetry(
        max_rows=MAX_BATCH,
        waiting_rows=lambda: batcher.waiting_rows,
        newest_version=lambda: versions.newest,
    )
    batcher = Batcher(max_rows=max_rows, max_waiting=queue_rows, observe=telemetry.observe_batch)
    return Parts(versions, batcher, telemetry, Service(name, versions, batcher, telemetry))


async def live(parts: Parts, front: Front, *, poll_s: float, grace_s: float) -> None:
    """Serves until a stop signal.

    Args:
      parts: of the server.
      front: what clients speak to.
      poll_s: seconds between checks for new versions.
      grace_s: seconds for open requests at the end.

    Raises:
      BadInput: if a port is not available, or no version can be served.
      Interrupted: if the signal came before a version was loaded.
    """
    loading = _Loading(parts.versions)
    stop = _stop_signals()
    try:
        parts.versions.announce()
        await front.open()
        if not await loading.first(stop):
            raise Interrupted("stopped before a version was loaded")
        await front.ready()
        watch = asyncio.create_task(loading.watch(poll_s))
        await stop.wait()
        watch.cancel()
        logging.getLogger(__name__).info("stopping: accepted requests are still answered")
        parts.service.stop()
        await front.leave()
        # Requests sent by now are not yet read, and gRPC would cancel them.
        await asyncio.sleep(min(_LAST_CALL_S, grace_s))
        await front.end()
    finally:
        await front.close(grace_s)
        await parts.batcher.close()


class _Loading:
    """Loads and unloads versions."""

    def __init__(self, versions: Versions):
        self._versions = versions
        self._freezer = Freezer()

    async def first(self, stop: asyncio.Event) -> bool:
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

    async def watch(self, poll_s: float) -> None:
        """Looks for new versions until it is cancelled."""
        warned = ""
        while True:
            await asyncio.sleep(poll_s)
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
