"""Requests with something wrong in them: each is the client's fault, none the server's.

What is valid is judged here, apart from the server's own code: a request that a mutation left valid
must be answered, and any other refused.
"""

from __future__ import annotations

import collections
import contextlib
import json
import socket

import grpc
import pytest

from export.signatures import GENERATE
from tests.export.server.malformed import Case, Generator, Judge

CODES = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
}
WARM_UP = 500  # requests until a server's memory is as large as it gets


class Sender:
    """Sends cases and checks the answers."""

    def __init__(self, server, judge: Judge):
        self._server, self._judge = server, judge
        self.counts: collections.Counter = collections.Counter()

    def send(self, case: Case) -> None:
        answered = {"rest": self._rest, "grpc": self._grpc, "raw": self._raw}[case.protocol](case)
        self.counts[case.kind, answered] += 1

    def _rest(self, case: Case) -> bool:
        is_valid = self._judge.of_json(case.content) if case.is_valid is None else case.is_valid
        reply = self._server.rest(case.method, case.path, case.content, case.headers)
        if reply.status == 200:
            assert is_valid, (case, reply.body[:200])
            return True
        assert 400 <= reply.status < 500 and not is_valid, (case, reply.status, reply.body[:200])
        assert len(reply.error) < 1500, case
        return False

    def _grpc(self, case: Case) -> bool:
        is_valid = self._judge.of_proto(case.content) if case.is_valid is None else case.is_valid
        try:
            self._server.raw(case.content)
        except grpc.RpcError as error:
            assert error.code() in CODES and not is_valid, (case, error.code(), error.details())
            assert "\n" not in error.details() and len(error.details()) < 1500, case
            return False
        assert is_valid, case
        return True

    def _raw(self, case: Case) -> bool:
        """A 4xx, or no answer: the client says by half-closing that nothing more will come."""
        address = ("127.0.0.1", self._server.rest_port)
        answer = b""
        with socket.create_connection(address, timeout=30) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(case.content)
                connection.shutdown(socket.SHUT_WR)
                while block := connection.recv(65536):
                    answer += block
        for part in answer.split(b"HTTP/1.")[1:]:
            assert part[2:3] == b"4", (case, answer[:300])
        assert not answer or answer.startswith(b"HTTP/1."), (case, answer[:300])
        return False


def _run(
    server, new_log, tools, exported, count: int, warm_up: int = WARM_UP
) -> collections.Counter:
    """Sends requests and checks the answers; after a whole warm-up also that no memory is lost."""
    judge = Judge(exported)
    good_json = json.dumps(
        {"signature_name": GENERATE, "inputs": tools.columns(tools.example(GENERATE, 2))}
    ).encode()
    good_proto = tools.proto_of(GENERATE, tools.example(GENERATE, 2))
    assert judge.of_json(good_json) and judge.of_proto(good_proto.SerializeToString())
    expected = server.post(good_json).body, server.prediction.Predict(good_proto)

    sender = Sender(server, judge)
    generator = Generator(tools, seed=1)
    for _ in range(warm_up):
        sender.send(generator.next())
    before = server.rss_mb
    sender.counts.clear()
    generator = Generator(tools, seed=2)
    for number in range(count):
        sender.send(generator.next())
        if number % 50 == 0:
            assert server.post(good_json).body == expected[0]
    assert server.post(good_json).body == expected[0]
    assert server.prediction.Predict(good_proto).outputs == expected[1].outputs
    assert warm_up < WARM_UP or server.rss_mb - before < 50
    assert "Traceback" not in new_log() and "Error handling" not in new_log()
    return sender.counts


@pytest.mark.parametrize(
    ("count", "warm_up"), [(150, 50), pytest.param(400, WARM_UP, marks=pytest.mark.thorough)]
)
def test_nothing_that_is_wrong_is_the_servers_fault(
    server, new_log, tools, exported, count, warm_up
):
    counts = _run(server, new_log, tools, exported, count, warm_up)
    kinds = {kind for kind, _ in counts}
    assert len(kinds) >= 16
    refused = sum(number for (_, answered), number in counts.items() if not answered)
    assert 0.8 * count < refused < count, "most are wrong, and some mutations leave a request valid"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_of_very_much_that_is_wrong_is_the_servers_fault(server, new_log, tools, exported):
    _run(server, new_log, tools, exported, 10_000)
