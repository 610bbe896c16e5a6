"""An open loop of requests, which are sent whether or not earlier ones are answered."""

from __future__ import annotations

import collections
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from export.service_errors import DeadlineExceeded, Overloaded, ServiceError

REJECTED, LATE, ANSWERED = "rejected", "deadline_exceeded", "answered"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of one request.

    Attributes:
      kind: ANSWERED, REJECTED, LATE, or the name of another error.
      due_s: scheduled sending time, from the start.
      seconds: from the scheduled time to the outcome, so that delays of sending count.
      reply_s: from the actual sending to the outcome.
    """

    kind: str
    due_s: float
    seconds: float
    reply_s: float


def run_load(
    call: Callable[[int], object],
    *,
    rate: float,
    seconds: float,
    seed: int,
    max_in_flight: int,
    tick: Callable[[], None] = lambda: None,
) -> tuple[list[Outcome], int]:
    """Sends requests at random moments, independent of each other (a Poisson process).

    Args:
      call: sends request number i and waits for the answer; raises `ServiceError`.
      rate: average requests per second.
      seconds: duration of sending; all answers are awaited.
      seed: of the sending times.
      max_in_flight: maximum number of concurrent requests.
      tick: called before each request.

    Returns:
      Outcomes in order of completion, and the number of requests not sent because too many were in
      flight; if there are any, the load was lower than intended.

    Raises:
      Exception: any other exception raised by a call, after all calls have ended.
    """
    gaps = np.random.default_rng(seed).exponential(
        1.0 / rate, max(16, int(2 * rate * seconds) + 64)
    )
    moments = np.cumsum(gaps)
    outcomes: list[Outcome] = []
    free = threading.Semaphore(max_in_flight)
    futures: list[Future[None]] = []
    not_sent = 0
    start = time.monotonic()

    def send(number: int, due: float) -> None:
        sent = time.monotonic() - start
        kind = ANSWERED
        try:
            call(number)
        except Overloaded:
            kind = REJECTED
        except DeadlineExceeded:
            kind = LATE
        except ServiceError as error:
            kind = type(error).__name__
        finally:
            free.release()
        now = time.monotonic() - start
        outcomes.append(Outcome(kind, due, now - due, now - sent))

    with ThreadPoolExecutor(max_in_flight) as pool:
        for number, due in enumerate(moments[moments < seconds].tolist()):
            tick()
            time.sleep(max(0.0, start + due - time.monotonic()))
            if free.acquire(blocking=False):
                futures.append(pool.submit(send, number, due))
            else:
                not_sent += 1
    for future in futures:
        future.result()  # a bug is not an outcome and must not reduce the load
    return outcomes, not_sent


def summary(
    outcomes: Sequence[Outcome], not_sent: int, *, rate: float, seconds: float, rows: int
) -> dict[str, Any]:
    """Statistics of a load.

    Args:
      outcomes, not_sent: from `run_load`.
      rate, seconds: as given to `run_load`.
      rows: rows per request.

    Returns:
      `rate` and `seconds` as given; counts `sent`, `answered`, `rejected`, `deadline_exceeded`,
      `not_sent` and `errors` by name; `rows_per_s`, answered rows until the last answer;
      `latency_ms` of the answered requests, from the scheduled time; `rejection_ms` of the
      rejected ones, from their sending. Percentiles of nothing are null.
    """
    counts = collections.Counter(outcome.kind for outcome in outcomes)
    answered = [outcome for outcome in outcomes if outcome.kind == ANSWERED]
    end = max([seconds, *(outcome.due_s + outcome.seconds for outcome in answered)])
    return {
        "rate": rate,
        "seconds": seconds,
        "sent": len(outcomes),
        "answered": counts[ANSWERED],
        "rejected": counts[REJECTED],
        "deadline_exceeded": counts[LATE],
        "not_sent": not_sent,
        "errors": {
            kind: count
            for kind, count in sorted(counts.items())
            if kind not in (ANSWERED, REJECTED, LATE)
        },
        "rows_per_s": round(rows * counts[ANSWERED] / end, 2),
        "latency_ms": percentiles([outcome.seconds for outcome in answered]),
        "rejection_ms": percentiles(
            [outcome.reply_s for outcome in outcomes if outcome.kind == REJECTED]
        ),
    }


def percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """p50, p95, p99 and the largest, in milliseconds: the smallest value reached by that share."""
    ordered = sorted(seconds)

    def at(share: float) -> float | None:
        if not ordered:
            return None
        return round(1000.0 * ordered[max(0, math.ceil(share * len(ordered)) - 1)], 2)

    return {"p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": at(1.0)}
