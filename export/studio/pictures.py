"""Pictures of the bank's patches, many in one run of the model.

A page shows dozens of thumbnails at once; each as a row of its own would fill the queue.
"""

from __future__ import annotations

import asyncio
import collections
import time
from typing import Any

import numpy as np

from export.service_errors import Overloaded
from export.signatures import NO_PATCH, PATCHES
from export.studio.description import id_of
from export.studio.engine import Engine

_KEPT = 4096  # pictures in memory, of about 2 kB each
_PAUSE_S = 0.05  # when the queue is full

_Key = tuple[int, str, int]  # number of the version, its model, id


class PatchPictures:
    """PNG files of patches; at most one run is in the queue.

    Args:
      engine: makes them.
      timeout_s: seconds for a run.
    """

    def __init__(self, engine: Engine, timeout_s: float):
        self._engine = engine
        self._timeout_s = timeout_s
        self._files: collections.OrderedDict[_Key, bytes] = collections.OrderedDict()
        self._wanted: dict[_Key, tuple[Any, asyncio.Future]] = {}
        self._worker: asyncio.Task | None = None

    async def get(self, version: Any, number: int) -> bytes:
        """The PNG of one patch.

        Args:
          version: an `export.studio.engine.Version` that tells pixels.
          number: id of the patch, in range.

        Raises:
          ServiceError: if the model fails, or does not answer in time.
        """
        # A number alone may come again: what follows a deleted version has the same.
        key = (version.number, id_of(version.model), number)
        if key in self._files:
            self._files.move_to_end(key)
            return self._files[key]
        if key not in self._wanted:
            self._wanted[key] = (version, asyncio.get_running_loop().create_future())
        future = self._wanted[key][1]
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await asyncio.shield(future)  # others may wait for it too

    async def close(self) -> None:
        """Gives up what nobody waits for any more."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def _work(self) -> None:
        while self._wanted:
            version = next(iter(self._wanted.values()))[0]
            keys = [key for key, (other, _) in self._wanted.items() if other is version]
            keys = keys[: version.model.candidates]
            try:
                files = await self._run(version, [number for *_, number in keys])
            except Exception as error:  # noqa: BLE001 - somebody waits for an answer
                for key in keys:
                    future = self._wanted.pop(key)[1]
                    future.set_exception(error)
                    future.exception()  # it counts as seen, should all have left
                continue
            for key, content in zip(keys, files, strict=True):
                self._wanted.pop(key)[1].set_result(content)
                self._files[key] = content
            while len(self._files) > _KEPT:
                self._files.popitem(last=False)

    async def _run(self, version: Any, numbers: list[int]) -> list[bytes]:
        ids = np.full([1, version.model.candidates], NO_PATCH, np.int32)
        ids[0, : len(numbers)] = numbers
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                reply = await self._engine.run(version, PATCHES, {"ids": ids}, deadline)
                return list(reply["patch_crops_bytes"][0, : len(numbers)])
            except Overloaded:
                if time.monotonic() + _PAUSE_S >= deadline:
                    raise
                await asyncio.sleep(_PAUSE_S)
