"""The arithmetic of a load, and that it does not wait for answers."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from export.bench.load import ANSWERED, LATE, REJECTED, Outcome, percentiles, run_load, summary
from export.service_errors import BadReply, DeadlineExceeded, Overloaded


def test_percentiles_are_values_that_were_measured():
    seconds = [place / 1000 for place in range(1, 101)]
    assert percentiles(seconds[::-1]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
    assert percentiles([0.004]) == {"p50": 4.0, "p95": 4.0, "p99": 4.0, "max": 4.0}
    assert percentiles([0.001, 0.009]) == {"p50": 1.0, "p95": 9.0, "p99": 9.0, "max": 9.0}
    assert percentiles([]) == {"p50": None, "p95": None, "p99": None, "max": None}


def test_a_summary_by_hand():
    outcomes = [
        Outcome(ANSWERED, 0.0, 0.100, 0.100),
        Outcome(ANSWERED, 1.0, 0.300, 0.200),
        Outcome(REJECTED, 1.5, 0.050, 0.002),
        Outcome(LATE, 1.6, 5.000, 5.000),
        Outcome("BadReply", 1.7, 0.1, 0.1),
        Outcome(ANSWERED, 1.9, 2.100, 2.100),
    ]
    found = summary(outcomes, 3, rate=4.0, seconds=2.0, rows=2)
    assert found == {
        "rate": 4.0,
        "seconds": 2.0,
        "sent": 6,
        "answered": 3,
        "rejected": 1,
        "deadline_exceeded": 1,
        "not_sent": 3,
        "errors": {"BadReply": 1},
        "rows_per_s": 1.5,  # 3 requests of 2 rows until the last answer, at 4 s
        "latency_ms": {"p50": 300.0, "p95": 2100.0, "p99": 2100.0, "max": 2100.0},
        "rejection_ms": {"p50": 2.0, "p95": 2.0, "p99": 2.0, "max": 2.0},
    }


def test_of_nothing_answered_nothing_is_made_up():
    found = summary([Outcome(REJECTED, 0.0, 0.1, 0.1)], 0, rate=1.0, seconds=1.0, rows=1)
    assert found["rows_per_s"] == 0.0 and found["latency_ms"]["p99"] is None


@pytest.mark.parametrize("lock", [False, True])
def test_requests_do_not_wait_for_those_before(lock):
    """A server that answers one at a time makes the queue grow, and the times say so."""
    one_at_a_time = threading.Lock()

    def call(number):
        if lock:
            with one_at_a_time:
                time.sleep(0.05)
        else:
            time.sleep(0.05)

    outcomes, not_sent = run_load(call, rate=60.0, seconds=1.0, seed=1, max_in_flight=200)
    seconds = sorted(outcome.seconds for outcome in outcomes)
    assert not_sent == 0 and 30 < len(outcomes) < 100
    if lock:  # 50 ms each and one every 17 ms: the last waited for most of the others
        assert seconds[-1] > 0.6
        assert seconds[len(seconds) // 2] > 0.25
    else:
        assert seconds[len(seconds) // 2] < 0.25


def test_what_cannot_be_sent_is_counted():
    options = {"rate": 100.0, "seconds": 0.5, "seed": 0}
    due = len(run_load(lambda number: None, max_in_flight=200, **options)[0])
    release, ticks = threading.Event(), []

    def tick():
        ticks.append(1)
        if len(ticks) == due:  # the last, which may find that one of the first has ended
            release.set()

    outcomes, not_sent = run_load(
        lambda number: release.wait(60), max_in_flight=3, tick=tick, **options
    )
    assert len(ticks) == due and len(outcomes) in (3, 4)
    assert not_sent == due - len(outcomes) > 20


def test_kinds_of_errors_and_moments():
    errors = {0: Overloaded("a"), 1: DeadlineExceeded("a"), 2: BadReply("a")}
    ticks = []

    def call(number):
        if number in errors:
            raise errors[number]

    outcomes, _ = run_load(
        call, rate=200.0, seconds=0.5, seed=3, max_in_flight=50, tick=lambda: ticks.append(1)
    )
    kinds = [outcome.kind for outcome in sorted(outcomes, key=lambda outcome: outcome.due_s)]
    assert kinds[:3] == [REJECTED, LATE, "BadReply"] and set(kinds[3:]) == {ANSWERED}
    assert len(ticks) == len(outcomes)
    moments = [outcome.due_s for outcome in sorted(outcomes, key=lambda o: o.due_s)]
    again, _ = run_load(call, rate=200.0, seconds=0.5, seed=3, max_in_flight=50)
    assert moments == sorted(outcome.due_s for outcome in again)
    gaps = np.diff(moments)
    assert gaps.std() > 0.5 * gaps.mean()  # not one after the other like a clock


def test_a_bug_in_a_call_is_not_lost():
    def call(number):
        if number == 2:
            raise ZeroDivisionError("in call 2")

    with pytest.raises(ZeroDivisionError, match="in call 2"):
        run_load(call, rate=200.0, seconds=0.3, seed=0, max_in_flight=50)
