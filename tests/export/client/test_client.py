"""What the client does with every kind of answer, over REST and gRPC."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf

from export.client import Client, connect
from export.service_errors import (
    BadReply,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Overloaded,
    ServiceError,
    TooLarge,
    Unreachable,
)
from export.signatures import RETRIEVE_ONLY
from rgan_tf.errors import BadInput, CorruptData
from tests.export.client.scripted import (
    good,
    grpc_good,
    grpc_refuse,
    grpc_sleep,
    refuse,
    reply_arrays,
    send,
)


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Scripted:
    """A transport that raises or returns what it is told."""

    def __init__(self, *answers, clock: Clock | None = None, takes_s: float = 0.0):
        self._answers = list(answers)
        self._clock, self._takes_s = clock, takes_s
        self.timeouts: list[float] = []

    def call(self, signature, arrays, timeout_s):
        self.timeouts.append(timeout_s)
        if self._clock is not None:
            self._clock.now += self._takes_s
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self._answers.clear()


def scripted(contract, *answers, takes_s: float = 0.0, **options):
    """Client, transport and clock."""
    clock = Clock()
    transport = Scripted(*answers, clock=clock, takes_s=takes_s)
    client = Client(transport, contract, clock=clock, sleep=clock.sleep, seed=0, **options)
    return client, transport, clock


def test_what_a_busy_server_refuses_is_repeated_after_waits_that_double(contract, arrays):
    answers = [Overloaded("full")] * 7 + [{"x": 1}]
    client, transport, clock = scripted(contract, *answers)
    assert client.predict(RETRIEVE_ONLY, arrays) == {"x": 1}
    bases = [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert len(clock.slept) == 7
    for slept, base in zip(clock.slept, bases, strict=True):
        assert base <= slept <= 1.5 * base
    assert len({slept / base for slept, base in zip(clock.slept, bases, strict=True)}) == 7
    assert transport.timeouts[0] == 30.0
    assert transport.timeouts[-1] == pytest.approx(30.0 - sum(clock.slept))


def test_no_sooner_than_the_server_says(contract, arrays):
    busy = Overloaded("full")
    busy.retry_after_s = 3.0
    client, _, clock = scripted(contract, busy, {})
    client.predict(RETRIEVE_ONLY, arrays)
    assert 3.0 <= clock.slept[0] <= 4.5


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("a"),
        NotFound("a"),
        TooLarge("a"),
        DeadlineExceeded("a"),
        BadReply("a"),
        ServiceError("a"),
    ],
)
def test_what_would_fail_again_is_not_repeated(contract, arrays, error):
    client, transport, clock = scripted(contract, error, {})
    with pytest.raises(type(error)) as raised:
        client.predict(RETRIEVE_ONLY, arrays)
    assert raised.value is error and not clock.slept and len(transport.timeouts) == 1


def test_one_deadline_holds_for_all_attempts(contract, arrays):
    client, transport, clock = scripted(
        contract, *[Unreachable("gone")] * 50, takes_s=0.5, timeout_s=4.0
    )
    with pytest.raises(Unreachable):  # the last reason, not a wait that cannot help
        client.predict(RETRIEVE_ONLY, arrays)
    assert 1 < len(transport.timeouts) <= 8
    assert clock.now <= 4.5
    assert transport.timeouts == sorted(transport.timeouts, reverse=True)
    client, transport, clock = scripted(contract, {}, timeout_s=4.0)
    client.predict(RETRIEVE_ONLY, arrays, timeout_s=0.25)
    assert transport.timeouts == [0.25]


def test_repeating_can_be_turned_off(contract, arrays):
    client, transport, clock = scripted(contract, Overloaded("full"), {}, is_retrying=False)
    with pytest.raises(Overloaded):
        client.predict(RETRIEVE_ONLY, arrays)
    assert not clock.slept


def test_what_does_not_fit_the_contract_is_not_sent(contract, arrays):
    client, transport, _ = scripted(contract)
    with pytest.raises(BadInput, match="endpoint 'nope'"):
        client.predict("nope", arrays)
    for change, message in (
        ({"seed": None}, "seed: is missing"),
        ({"other": arrays["seed"]}, "'other': no such field"),
        ({"seed": arrays["seed"].astype(np.int64)}, "seed: is int64, needs int32"),
        ({"seed": arrays["seed"][:1]}, "seed: has 1 rows"),
        ({"objects": arrays["objects"][:, :2]}, "objects: has shape"),
    ):
        wrong = {k: v for k, v in {**arrays, **change}.items() if v is not None}
        with pytest.raises(BadInput, match=message):
            client.predict(RETRIEVE_ONLY, wrong)
    many = {name: np.repeat(value, 5, axis=0) for name, value in arrays.items()}
    with pytest.raises(BadInput, match="10 rows"):
        client.predict(RETRIEVE_ONLY, many)
    assert not transport.timeouts


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "127.0.0.1:80",
        "https://127.0.0.1:80",
        "http://127.0.0.1:80/v1",
        "http://me@127.0.0.1:80",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://[::1:80",
        "",
    ],
)
def test_an_address_that_is_not_one_is_refused(exported, url):
    with pytest.raises(BadInput, match="must be http://HOST:PORT or grpc://HOST:PORT"):
        connect(url, exported.folder)
    with pytest.raises(BadInput, match="above 0"):
        connect("http://127.0.0.1:80", exported.folder, timeout_s=float("nan"))


def test_the_contract_alone_is_enough(exported, tmp_path):
    extra = tmp_path / "3" / "assets.extra"
    shutil.copytree(exported.version / "assets.extra", extra)
    for place in (tmp_path, tmp_path / "3"):
        with connect("http://127.0.0.1:80", place) as client:
            assert client.contract.number == 3
            assert client.contract.vocabulary.categories == exported.model.vocabulary.categories
    (extra / "vocabulary.json").write_text("{}")
    with pytest.raises(CorruptData, match="vocabulary.json"):
        connect("http://127.0.0.1:80", tmp_path)


def test_a_request_over_rest_is_that_of_tensorflow_serving(rest, contract, arrays):
    rest.script += [good(contract)] * 2
    reply = rest.connect(timeout_s=5.0).predict(RETRIEVE_ONLY, arrays)
    expected = reply_arrays(RETRIEVE_ONLY, contract.sizes, 2)
    assert reply.keys() == expected.keys()
    for name, value in expected.items():
        assert reply[name].dtype == value.dtype
        np.testing.assert_array_equal(reply[name], value)
    (request,) = rest.seen
    assert request.path == "/v1/models/retrievegan/versions/1:predict"
    assert request.body["signature_name"] == RETRIEVE_ONLY
    assert request.body["inputs"]["objects"] == arrays["objects"].tolist()
    assert 0 < int(request.headers["X-Request-Timeout-Ms"]) <= 5000
    rest.connect(is_pinned=False, name="a b").predict(RETRIEVE_ONLY, arrays)
    assert rest.seen[-1].path == "/v1/models/a%20b:predict"


@pytest.mark.parametrize(
    "status, error",
    [
        (400, InvalidRequest),
        (404, NotFound),
        (413, TooLarge),
        (418, InvalidRequest),
        (504, DeadlineExceeded),
        (500, ServiceError),
    ],
)
def test_errors_over_rest_have_types_and_the_servers_words(rest, arrays, status, error):
    rest.script.append(refuse(status, "objects: wrong\nin row 1"))
    with pytest.raises(ServiceError) as raised:
        rest.connect().predict(RETRIEVE_ONLY, arrays)
    assert type(raised.value) is error
    assert str(raised.value) == "objects: wrong in row 1"
    assert len(rest.seen) == 1


def test_errors_that_are_not_json_become_one_line(rest, arrays):
    for body, words in ((b"<h1>Bad\nGateway</h1>", "<h1>Bad Gateway</h1>"), (b"", "502")):
        rest.script.append(send(502, body))
        with pytest.raises(ServiceError, match=words):
            rest.connect().predict(RETRIEVE_ONLY, arrays)


def test_a_busy_server_over_rest_is_asked_again(rest, contract, arrays):
    rest.script += [refuse(503, Retry_After="0"), refuse(429), good(contract)]
    rest.connect().predict(RETRIEVE_ONLY, arrays)
    assert len(rest.seen) == 3
    rest.script += [refuse(503, Retry_After="9"), good(contract)]
    with pytest.raises(Overloaded) as raised:  # more than is left of the time
        rest.connect(timeout_s=2.0).predict(RETRIEVE_ONLY, arrays)
    assert raised.value.retry_after_s == 9.0


def test_one_connection_serves_many_requests_and_a_stale_one_is_replaced(rest, contract, arrays):
    ports, sockets = [], []

    def noting(answer, closes=False):
        def noted(handler):
            ports.append(handler.client_address[1])
            sockets.append(handler.connection)
            answer(handler)
            if closes:  # without having said so
                handler.close_connection = True

        return noted

    rest.script += [noting(good(contract)), noting(good(contract), True), noting(good(contract))]
    client = rest.connect(is_retrying=False)
    for _ in range(3):
        client.predict(RETRIEVE_ONLY, arrays)
        limit = time.monotonic() + 30.0
        while len(ports) == 2 and sockets[1].fileno() >= 0:  # the server's end is still open
            assert time.monotonic() < limit
            time.sleep(0.005)
    assert ports[0] == ports[1] != ports[2]


def test_threads_have_connections_of_their_own(rest, contract, arrays):
    barrier = threading.Barrier(3)

    def together(handler):
        barrier.wait(10)  # all three are there at once
        good(contract)(handler)

    rest.script += [together] * 3
    client = rest.connect(is_retrying=False)
    replies = []
    threads = [
        threading.Thread(target=lambda: replies.append(client.predict(RETRIEVE_ONLY, arrays)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 3


def test_an_answer_that_breaks_off_is_asked_for_again(rest, contract, arrays):
    def half(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"outputs"')
        handler.close_connection = True

    rest.script += [half, good(contract)]
    assert rest.connect().predict(RETRIEVE_ONLY, arrays)
    rest.script += [half]
    with pytest.raises(Unreachable):
        rest.connect(is_retrying=False).predict(RETRIEVE_ONLY, arrays)


def test_an_answer_that_drips_does_not_outlast_the_deadline(rest, arrays):
    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(100):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return
            time.sleep(0.1)

    rest.script.append(drip)
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        rest.connect(timeout_s=0.5).predict(RETRIEVE_ONLY, arrays)
    assert time.monotonic() - start < 5.0


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_nobody_there(exported, arrays, protocol):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"{protocol}://127.0.0.1:{taken.getsockname()[1]}"
        with connect(url, exported.folder, is_retrying=False, timeout_s=5.0) as client:
            with pytest.raises(Unreachable, match="127.0.0.1"):
                client.predict(RETRIEVE_ONLY, arrays)


WRONG_REPLIES = {
    "missing": lambda shape: None,
    "rows": lambda shape: np.zeros((1, *shape[1:]), np.int32),
    "shape": lambda shape: np.zeros((2, 1), np.int32),
    "type": lambda shape: np.full(shape, 0.5, np.float32),
}


@pytest.mark.parametrize("kind", WRONG_REPLIES)
def test_an_answer_of_another_kind_names_the_field(rest, rpc, contract, arrays, kind):
    shape = reply_arrays(RETRIEVE_ONLY, contract.sizes, 2)["patch_ids"].shape
    change = {"patch_ids": WRONG_REPLIES[kind](shape)}
    rest.script.append(good(contract, **change))
    rpc.script.append(grpc_good(contract, **change))
    for server in (rest, rpc):
        with pytest.raises(BadReply, match="patch_ids"):
            server.connect().predict(RETRIEVE_ONLY, arrays)


def test_an_answer_that_is_none(rest, arrays):
    for body in (b"[]", b"{", b'{"predictions": []}', b"[" * 100_000, b'{"outputs": 3}'):
        rest.script.append(send(200, body))
        with pytest.raises(BadReply):
            rest.connect().predict(RETRIEVE_ONLY, arrays)


def test_a_request_over_grpc(rpc, contract, arrays):
    rpc.script += [grpc_good(contract)] * 2
    reply = rpc.connect().predict(RETRIEVE_ONLY, arrays)
    for name, value in reply_arrays(RETRIEVE_ONLY, contract.sizes, 2).items():
        assert reply[name].dtype == value.dtype
        np.testing.assert_array_equal(reply[name], value)
    spec = rpc.seen[0].model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (
        "retrievegan",
        1,
        RETRIEVE_ONLY,
    )
    np.testing.assert_array_equal(tf.make_ndarray(rpc.seen[0].inputs["triples"]), arrays["triples"])
    rpc.connect(is_pinned=False).predict(RETRIEVE_ONLY, arrays)
    assert not rpc.seen[-1].model_spec.HasField("version")


@pytest.mark.parametrize(
    "code, error",
    [
        ("INVALID_ARGUMENT", InvalidRequest),
        ("NOT_FOUND", NotFound),
        ("DEADLINE_EXCEEDED", DeadlineExceeded),
        ("INTERNAL", ServiceError),
        ("DATA_LOSS", ServiceError),
    ],
)
def test_errors_over_grpc_have_types_and_the_servers_words(rpc, arrays, code, error):
    rpc.script.append(grpc_refuse(grpc.StatusCode[code], "seed: wrong"))
    with pytest.raises(ServiceError, match="seed: wrong") as raised:
        rpc.connect().predict(RETRIEVE_ONLY, arrays)
    assert type(raised.value) is error and len(rpc.seen) == 1


def test_a_busy_server_over_grpc_is_asked_again_and_a_slow_one_is_not(rpc, contract, arrays):
    codes = grpc.StatusCode
    rpc.script += [
        grpc_refuse(codes.UNAVAILABLE),
        grpc_refuse(codes.RESOURCE_EXHAUSTED),
        grpc_refuse(codes.CANCELLED),  # what a server that stops does to what it has not read
        grpc_good(contract),
    ]
    rpc.connect().predict(RETRIEVE_ONLY, arrays)
    assert len(rpc.seen) == 4
    rpc.script.append(grpc_refuse(codes.RESOURCE_EXHAUSTED, "Received message larger than max"))
    with pytest.raises(TooLarge):
        rpc.connect().predict(RETRIEVE_ONLY, arrays)
    rpc.script.append(grpc_sleep(3.0))
    with pytest.raises(DeadlineExceeded):
        rpc.connect(timeout_s=0.3).predict(RETRIEVE_ONLY, arrays)


def test_rest_needs_no_tensorflow(rest, contract, exported):
    rest.script.append(good(contract, rows=1))
    code = (
        "import sys\n"
        "from export.client import connect\n"
        "from export.signatures import RETRIEVE_ONLY, example_request\n"
        f"with connect({rest.url!r}, {str(exported.folder)!r}) as client:\n"
        "    request = example_request(RETRIEVE_ONLY, client.contract.sizes, 1)\n"
        "    assert client.predict(RETRIEVE_ONLY, request)['patch_ids'].shape[0] == 1\n"
        "print([name for name in ('tensorflow', 'grpc', 'keras') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "[]\n"
