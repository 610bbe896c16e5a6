"""The queue before the model, with a model that does what the test tells it."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.server.batching import Batcher
from export.service_errors import DeadlineExceeded, InvalidRequest, Overloaded, ServiceError

LONG_S = 60.0


class FakeVersion:
    """Answers each row with its double; notes the batches that it was run on.

    Args:
      wrong: a batch with one of these values is refused.
      is_open: if False, nothing is answered before `gate` is set.
      fail: raised by every run.
    """

    def __init__(self, *, wrong=(), is_open=True, fail: BaseException | None = None):
        self.batches: list[tuple[str, list[int]]] = []
        self.gate = threading.Event()
        self.is_running = threading.Event()
        self.wrong, self.fail = set(wrong), fail
        if is_open:
            self.gate.set()

    def run(self, signature, arrays):
        values = arrays["value"]
        self.batches.append((signature, values.tolist()))
        self.is_running.set()
        assert self.gate.wait(LONG_S)
        if self.fail:
            raise self.fail
        wrong = [value for value in values.tolist() if value in self.wrong]
        if wrong:
            raise InvalidRequest(f"value: {wrong[0]} is wrong")
        return {"double": 2 * values, "pair": np.stack([values, arrays["other"]], axis=1)}


def arrays_of(*values):
    return {"value": np.array(values), "other": -np.array(values)}


class Harness:
    """A batcher and the requests that were sent to it, inside one event loop."""

    def __init__(self, **options):
        self.ran: list[int] = []
        self.batcher = Batcher(
            **{"max_rows": 4, "max_waiting": 100, "observe": self.ran.append, **options}
        )

    def send(self, version, *values, signature="a", seconds=LONG_S):
        """A request that waits in the queue when this has returned and the loop has turned."""
        deadline = time.monotonic() + seconds
        return asyncio.create_task(
            self.batcher.run(version, signature, arrays_of(*values), deadline)
        )

    async def hold(self, version):
        """A request that the model's thread is busy with until the version's gate opens."""
        held = self.send(version, 0)
        await asyncio.to_thread(version.is_running.wait, LONG_S)
        return held


def scenario(test):
    """Runs an async test; the queue's task may not be left behind."""

    def run(*args, **kwargs):
        async def limited():
            await asyncio.wait_for(test(*args, **kwargs), LONG_S)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not [task for task in left if "_work" in repr(task)]

        asyncio.run(limited())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def doubles(task):
    return task.result()["double"].tolist()


@scenario
async def test_what_waits_runs_together_in_order_up_to_the_limit():
    version = FakeVersion(is_open=False)
    harness = Harness(max_rows=4)
    held = await harness.hold(version)
    tasks = [harness.send(version, *values) for values in [(1,), (2, 3), (4, 5), (6,), (7,), (8,)]]
    await asyncio.sleep(0)
    assert harness.batcher.waiting_rows == 8
    version.gate.set()
    await asyncio.gather(held, *tasks)
    assert [values for _, values in version.batches] == [[0], [1, 2, 3], [4, 5, 6, 7], [8]]
    assert [doubles(task) for task in tasks] == [[2], [4, 6], [8, 10], [12], [14], [16]]
    assert tasks[1].result()["pair"].tolist() == [[2, -2], [3, -3]]
    assert harness.ran == [1, 3, 4, 1] and harness.batcher.waiting_rows == 0
    await harness.batcher.close()


@scenario
async def test_a_request_alone_is_run_at_once():
    version = FakeVersion()
    harness = Harness()
    for value in range(5):
        task = harness.send(version, value)
        await task
        assert doubles(task) == [2 * value]
    assert [len(values) for _, values in version.batches] == [1] * 5
    await harness.batcher.close()


@scenario
async def test_versions_and_signatures_are_never_mixed():
    one, two = FakeVersion(is_open=False), FakeVersion()
    harness = Harness(max_rows=8)
    held = await harness.hold(one)
    tasks = [
        harness.send(version, value, signature=signature)
        for value, (version, signature) in enumerate(
            [(one, "a"), (two, "a"), (one, "b"), (one, "a"), (two, "a"), (one, "b"), (two, "b")], 1
        )
    ]
    await asyncio.sleep(0)
    one.gate.set()
    await asyncio.gather(held, *tasks)
    assert one.batches == [("a", [0]), ("a", [1, 4]), ("b", [3, 6])]
    assert two.batches == [("a", [2, 5]), ("b", [7])]
    assert [doubles(task) for task in tasks] == [[2 * value] for value in range(1, 8)]
    await harness.batcher.close()


@scenario
async def test_a_request_does_not_overtake_one_of_its_kind():
    """A small one behind one that did not fit waits for it."""
    version = FakeVersion(is_open=False)
    harness = Harness(max_rows=4)
    held = await harness.hold(version)
    tasks = [harness.send(version, *values) for values in [(1, 2, 3), (4, 5), (6,)]]
    await asyncio.sleep(0)
    version.gate.set()
    await asyncio.gather(held, *tasks)
    assert [values for _, values in version.batches] == [[0], [1, 2, 3], [4, 5, 6]]
    await harness.batcher.close()


@scenario
async def test_a_wrong_request_fails_alone():
    version = FakeVersion(is_open=False, wrong=[3])
    harness = Harness(max_rows=8)
    held = await harness.hold(version)
    tasks = [harness.send(version, *values) for values in [(1,), (2, 3), (4,)]]
    await asyncio.sleep(0)
    version.gate.set()
    results = await asyncio.gather(held, *tasks, return_exceptions=True)
    assert isinstance(results[2], InvalidRequest) and str(results[2]) == "value: 3 is wrong"
    assert doubles(tasks[0]) == [2] and doubles(tasks[2]) == [8]
    # All together, then each alone.
    assert [values for _, values in version.batches[1:]] == [[1, 2, 3, 4], [1], [2, 3], [4]]
    await harness.batcher.close()


@scenario
async def test_a_wrong_request_that_was_alone_is_not_run_twice():
    version = FakeVersion(wrong=[3])
    harness = Harness()
    with pytest.raises(InvalidRequest):
        await harness.send(version, 3)
    assert len(version.batches) == 1
    await harness.batcher.close()


@scenario
async def test_who_has_left_a_refused_batch_is_not_run_again():
    before, version = FakeVersion(is_open=False), FakeVersion(is_open=False, wrong=[3])
    harness = Harness(max_rows=8)
    held = await harness.hold(before)
    tasks = [harness.send(version, value) for value in (1, 2, 3, 4)]
    hasty = harness.send(version, 5, seconds=2.0)  # it runs before, even on a busy machine
    await asyncio.sleep(0)
    before.gate.set()
    await held
    await asyncio.to_thread(version.is_running.wait, LONG_S)
    tasks[1].cancel()
    with pytest.raises(DeadlineExceeded):
        await hasty
    version.gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [values for _, values in version.batches] == [[1, 2, 3, 4, 5], [1], [3], [4]]
    await harness.batcher.close()


@pytest.mark.parametrize(
    "fail, said",
    [
        (ServiceError("the model failed"), "the model failed"),
        (ValueError("x" * 1000), "ValueError"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_failure_is_that_of_all_and_the_queue_lives_on(fail, said):
    @scenario
    async def run():
        version, after = FakeVersion(is_open=False, fail=fail), FakeVersion()
        harness = Harness()
        held = await harness.hold(version)
        tasks = [harness.send(version, value) for value in (1, 2)]
        await asyncio.sleep(0)
        version.gate.set()
        results = await asyncio.gather(held, *tasks, return_exceptions=True)
        for result in results:
            assert type(result) is ServiceError
            assert said in str(result) and len(str(result)) <= 200
        assert len(version.batches) == 2  # not run again one by one
        task = harness.send(after, 5)
        await task
        assert doubles(task) == [10]
        await harness.batcher.close()

    run()


@scenario
async def test_a_reply_with_too_little_in_it_fails_and_the_queue_lives_on():
    class Scalar(FakeVersion):
        def run(self, signature, arrays):
            return {"double": np.float32(1.0)}

    harness = Harness()
    with pytest.raises(ServiceError):
        await harness.send(Scalar(), 1)
    await harness.send(FakeVersion(), 1)
    await harness.batcher.close()


@scenario
async def test_a_counter_that_fails_does_not_stop_the_queue():
    def broken(rows):
        raise RuntimeError("no counter")

    harness = Harness(observe=broken)
    with pytest.raises(ServiceError, match="no counter"):
        await harness.send(FakeVersion(), 1)
    with pytest.raises(ServiceError, match="no counter"):
        await harness.send(FakeVersion(), 1)
    await harness.batcher.close()


@scenario
async def test_a_full_queue_refuses_at_once():
    version = FakeVersion(is_open=False)
    harness = Harness(max_waiting=3)
    held = await harness.hold(version)
    waiting = [harness.send(version, 1, 2)]
    await asyncio.sleep(0)
    harness.batcher.check_room()
    with pytest.raises(Overloaded, match="2 rows wait already"):
        await harness.send(version, 3, 4)
    waiting.append(harness.send(version, 3))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        harness.batcher.check_room()
    with pytest.raises(Overloaded):
        await harness.send(version, 5)
    assert harness.batcher.waiting_rows == 3
    version.gate.set()
    await asyncio.gather(held, *waiting)
    harness.batcher.check_room()
    assert [value for _, values in version.batches for value in values] == [0, 1, 2, 3]
    await harness.batcher.close()


@scenario
async def test_what_is_larger_than_the_queue_is_let_in_when_nothing_waits():
    version = FakeVersion(is_open=False)
    harness = Harness(max_waiting=2, max_rows=8)
    held = await harness.hold(version)
    large = harness.send(version, 1, 2, 3, 4, 5)
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await harness.send(version, 6)
    version.gate.set()
    await asyncio.gather(held, large)
    assert doubles(large) == [2, 4, 6, 8, 10]
    await harness.batcher.close()


@scenario
async def test_a_deadline_that_is_over_is_refused_unrun():
    version = FakeVersion()
    harness = Harness()
    for seconds in (0.0, -1.0, float("-inf")):
        with pytest.raises(DeadlineExceeded):
            await harness.send(version, 1, seconds=seconds)
    assert not version.batches
    await harness.batcher.close()


@scenario
async def test_whose_time_is_over_while_waiting_is_not_run():
    version = FakeVersion(is_open=False)
    harness = Harness()
    held = await harness.hold(version)
    before, hasty, after = (
        harness.send(version, value, seconds=seconds)
        for value, seconds in [(1, LONG_S), (2, 0.05), (3, LONG_S)]
    )
    with pytest.raises(DeadlineExceeded):
        await hasty
    assert harness.batcher.waiting_rows == 2  # its place is free
    version.gate.set()
    await asyncio.gather(held, before, after)
    assert [values for _, values in version.batches] == [[0], [1, 3]]
    await harness.batcher.close()


@scenario
async def test_whose_time_is_over_when_the_loop_was_blocked_is_not_run():
    """Its own timer has not run yet when the next batch is put together."""
    version = FakeVersion(is_open=False)
    harness = Harness()
    held = await harness.hold(version)
    before, hasty, after = (
        harness.send(version, value, seconds=seconds)
        for value, seconds in [(1, LONG_S), (2, 0.1), (3, LONG_S)]
    )
    await asyncio.sleep(0)
    version.gate.set()
    time.sleep(0.3)  # blocks the loop on purpose
    with pytest.raises(DeadlineExceeded):
        await hasty
    await asyncio.gather(held, before, after)
    assert [values for _, values in version.batches] == [[0], [1, 3]]
    await harness.batcher.close()


@scenario
async def test_whose_time_is_over_while_it_runs_gets_no_answer_and_others_do():
    version = FakeVersion(is_open=False)
    harness = Harness()
    hasty = harness.send(version, 1, seconds=1.0)  # it runs before, even on a busy machine
    await asyncio.to_thread(version.is_running.wait, LONG_S)
    other = harness.send(version, 2)
    with pytest.raises(DeadlineExceeded):
        await hasty
    version.gate.set()
    await other
    assert doubles(other) == [4]
    await harness.batcher.close()


@scenario
async def test_who_leaves_takes_its_rows_along():
    version = FakeVersion(is_open=False)
    harness = Harness(max_waiting=2)
    held = await harness.hold(version)
    leaver = harness.send(version, 1, 2)
    await asyncio.sleep(0)
    assert harness.batcher.waiting_rows == 2
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    assert leaver.cancelled() and harness.batcher.waiting_rows == 0
    other = harness.send(version, 3, 4)
    await asyncio.sleep(0)
    version.gate.set()
    await asyncio.gather(held, other)
    assert [values for _, values in version.batches] == [[0], [3, 4]]
    await harness.batcher.close()


@scenario
async def test_closing_answers_what_waits_and_lets_nothing_more_in():
    before = set(threading.enumerate())
    version = FakeVersion(is_open=False)
    harness = Harness()
    held = await harness.hold(version)
    waiting = [harness.send(version, value) for value in range(1, 7)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(harness.batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="stopping"):
        await harness.send(version, 9)
    assert not closing.done()
    version.gate.set()
    await closing
    await asyncio.gather(held, *waiting)
    assert [doubles(task) for task in waiting] == [[2 * value] for value in range(1, 7)]
    with pytest.raises(Overloaded, match="stopping"):
        await harness.send(version, 9)
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name.startswith("model")]


@scenario
async def test_closing_what_was_never_used_ends_at_once():
    await Harness().batcher.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("send"),
            st.integers(0, 1),  # version
            st.sampled_from("ab"),  # signature
            st.integers(1, 4),  # rows
            st.booleans(),  # whether its first row is wrong
        ),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("turn"), st.integers(0, 5)),
        st.tuples(st.just("gate"), st.booleans()),
    ),
    max_size=40,
)


@given(steps=STEPS, max_rows=st.integers(1, 8), max_waiting=st.integers(1, 12))
def test_whatever_happens_each_request_gets_its_own_rows(steps, max_rows, max_waiting):
    @scenario
    async def run():
        versions = [FakeVersion(wrong=range(0, 10_000, 10)) for _ in range(2)]
        harness = Harness(max_rows=max_rows, max_waiting=max_waiting)
        sent = []  # task, values, whether it is wrong
        number = 0
        for kind, *details in steps:
            if kind == "send":
                version, signature, rows, is_wrong = details
                values = []
                for row in range(min(rows, max_rows)):
                    number += 1
                    values.append(10 * number + (0 if is_wrong and row == 0 else 1))
                task = harness.send(versions[version], *values, signature=signature)
                sent.append((task, values, is_wrong))
            elif kind == "cancel" and sent:
                sent[details[0] % len(sent)][0].cancel()
            elif kind == "turn":
                for _ in range(details[0]):
                    await asyncio.sleep(0)
            elif kind == "gate":
                for version in versions:
                    version.gate.set() if details[0] else version.gate.clear()
        for version in versions:
            version.gate.set()
        results = await asyncio.gather(*(task for task, *_ in sent), return_exceptions=True)
        for result, (_, values, is_wrong) in zip(results, sent, strict=True):
            if isinstance(result, (Overloaded, asyncio.CancelledError)):
                continue
            if is_wrong:
                assert isinstance(result, InvalidRequest) and str(values[0]) in str(result)
            else:
                assert result["double"].tolist() == [2 * value for value in values]
                assert result["pair"].tolist() == [[value, -value] for value in values]
        for version in versions:
            for _, values in version.batches:
                assert len(values) <= max_rows
        assert harness.batcher.waiting_rows == 0
        await harness.batcher.close()

    run()
