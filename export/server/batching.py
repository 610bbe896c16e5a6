"""Runs waiting requests together."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from export.service_errors import DeadlineExceeded, InvalidRequest, Overloaded, ServiceError

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(eq=False)
class _Job:
    version: Any
    signature: str
    arrays: Arrays
    deadline: float
    answer: asyncio.Future

    @property
    def rows(self) -> int:
        return len(next(iter(self.arrays.values())))

    def can_join(self, other: _Job) -> bool:
        return self.version is other.version and self.signature == other.signature


class Batcher:
    """A bounded queue before one thread that runs the model.

    When the thread becomes free, all waiting requests run as one batch, so nobody waits for a batch
    to fill. A model refuses a whole batch for one wrong row; then the requests of that batch run
    one by one, and only the wrong one is refused.

    Args:
      max_rows: of a batch.
      max_waiting: rows that may wait; further requests are refused at once.
      observe: called with the number of rows of every batch.
    """

    def __init__(
        self, *, max_rows: int, max_waiting: int, observe: Callable[[int], None] = lambda _: None
    ):
        self._max_rows = max_rows
        self._max_waiting = max_waiting
        self._observe = observe
        self._waiting: collections.deque[_Job] = collections.deque()
        self._changed = asyncio.Event()
        self._is_closing = False
        self._thread = ThreadPoolExecutor(1, "model")
        self._worker: asyncio.Task | None = None

    @property
    def waiting_rows(self) -> int:
        """Number of waiting rows, without those running."""
        return sum(job.rows for job in self._waiting)

    def check_room(self, rows: int = 1) -> None:
        """Checks that a request with that many rows would be accepted now.

        Raises:
          Overloaded: if it would not.
        """
        waiting = self.waiting_rows
        # A request larger than the queue is accepted if nothing waits.
        if waiting and waiting + rows > self._max_waiting:
            raise Overloaded(f"{waiting} rows wait already; try again later")

    async def run(self, version: Any, signature: str, arrays: Arrays, deadline: float) -> Arrays:
        """Runs a request, alone or with others, and returns the reply.

        Args:
          version: has `run(signature, arrays)`.
          signature: name.
          arrays: [rows, ...] by field name, rows at most `max_rows`.
          deadline: on the clock of `time.monotonic`.

        Raises:
          Overloaded: if too many rows wait, or the server is stopping.
          DeadlineExceeded: if the reply is not there in time.
          ServiceError: see `version.run`.
        """
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the deadline has passed")
        if self._is_closing:
            raise Overloaded("the server is stopping")
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        answer = asyncio.get_running_loop().create_future()
        job = _Job(version, signature, arrays, deadline, answer)
        self.check_room(job.rows)
        self._waiting.append(job)
        self._changed.set()
        try:
            return await asyncio.wait_for(answer, left)
        except TimeoutError:
            raise DeadlineExceeded("no answer within the deadline") from None
        finally:
            if job in self._waiting:  # the caller has given up
                self._waiting.remove(job)

    async def close(self) -> None:
        """Accepts no more requests, and ends after the waiting ones are answered."""
        self._is_closing = True
        self._changed.set()
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    async def _work(self) -> None:
        while True:
            while jobs := self._next_batch():
                await self._answer(jobs)
            if self._is_closing:
                return
            self._changed.clear()
            await self._changed.wait()

    def _next_batch(self) -> list[_Job]:
        now = time.monotonic()
        batch: list[_Job] = []
        rows = 0
        for job in list(self._waiting):
            if job.deadline <= now:
                self._waiting.remove(job)  # the caller waits until its deadline
                continue
            if batch and not job.can_join(batch[0]):
                continue
            if batch and rows + job.rows > self._max_rows:
                break
            batch.append(job)
            rows += job.rows
            self._waiting.remove(job)
        return batch

    async def _answer(self, jobs: list[_Job]) -> None:
        try:
            replies = await self._run(jobs)
        except InvalidRequest as error:
            if len(jobs) == 1:
                _fail(jobs[0], error)
                return
            for job in jobs:
                if not job.answer.done():  # the client may have left, or its deadline passed
                    await self._answer([job])
            return
        except Exception as error:  # noqa: BLE001 - somebody waits for an answer
            failure = error if isinstance(error, ServiceError) else ServiceError(repr(error)[:200])
            for job in jobs:
                _fail(job, failure)
            return
        for job, reply in zip(jobs, replies, strict=True):
            if not job.answer.done():
                job.answer.set_result(reply)

    async def _run(self, jobs: list[_Job]) -> list[Arrays]:
        first = jobs[0]
        merged = {
            name: np.concatenate([job.arrays[name] for job in jobs]) if len(jobs) > 1 else value
            for name, value in first.arrays.items()
        }
        reply = await asyncio.get_running_loop().run_in_executor(
            self._thread, first.version.run, first.signature, merged
        )
        self._observe(sum(job.rows for job in jobs))
        ends = np.cumsum([job.rows for job in jobs])
        return [
            {name: value[end - job.rows : end] for name, value in reply.items()}
            for job, end in zip(jobs, ends, strict=True)
        ]


def _fail(job: _Job, error: ServiceError) -> None:
    if not job.answer.done():
        job.answer.set_exception(error)
