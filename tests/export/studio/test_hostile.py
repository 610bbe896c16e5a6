"""A thousand requests of those who mean harm: one clear line, nothing written, the studio alive."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import select
import socket
import sys
import threading

import pytest

from tests.export.studio.hostile import ANSWERED, GRAPH, REFUSED, Case, Hostile

REQUESTS = 1000
SEED = 20
_PATIENCE_S = 0.1


class Watch:
    """Which files the process opens while it is on, but for what the test's own thread does.

    An audit hook stays for ever, so there is one.
    """

    def __init__(self) -> None:
        self.opened: list[tuple] = []
        self._thread: int | None = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple) -> None:
        if self._thread not in (None, threading.get_ident()) and event in (
            *("open", "os.mkdir", "os.rename", "os.remove", "os.listdir", "os.scandir"),
            *("subprocess.Popen", "os.system", "exec", "socket.connect"),
        ):
            self.opened.append((event, *map(repr, args)))

    @contextlib.contextmanager
    def on(self):
        self.opened, self._thread = [], threading.get_ident()
        try:
            yield
        finally:
            self._thread = None


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


def send(port: int, case: Case) -> tuple[int, dict[str, str], bytes]:
    """Sends a case as it is and reads one answer; status 0 if there is none."""
    content = case.body
    if case.head is not None:
        method, path, headers = case.head
        length = {} if method == "GET" else {"Content-Length": str(len(case.body))}
        headers = {"Host": f"127.0.0.1:{port}", "Connection": "close", **length, **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items()), "", ""]
        content = "\r\n".join(lines).encode("latin-1") + case.body
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        if case.head is None:
            connection.settimeout(_PATIENCE_S)  # the studio may wait for more
        with contextlib.suppress(OSError):  # closed by a refusal before all was read
            connection.sendall(content)
        with contextlib.suppress(ConnectionError, TimeoutError):
            while not _is_whole(answer) and (part := connection.recv(2**16)):
                answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        return 0, {}, b""
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(end and length) and len(body) >= int(length[1])


def check(case: Case, status: int, headers: dict[str, str], body: bytes) -> str:
    """What became of it; fails if that is not what it should be."""
    shown = (case.kind, case.head, case.body[:200], status, body[:300])
    if case.head is None and status == 0:
        return "dropped"  # bytes that are not HTTP need no answer
    if status == 200:
        assert case.expected != REFUSED, shown
        if headers["Content-Type"].startswith("application/json"):
            json.loads(body)
        return "answered"
    assert case.expected != ANSWERED and status in case.statuses, shown
    if case.head is None and "Content-Security-Policy" not in headers:
        assert b"Traceback" not in body and len(body) < 50_000, shown  # of aiohttp
        return "refused as no HTTP"
    assert headers["X-Content-Type-Options"] == "nosniff", shown
    if case.head is not None and case.head[0] == "HEAD":
        return "refused"
    assert headers["Content-Type"].startswith("application/json"), shown
    value = json.loads(body)
    assert isinstance(value["error"], str) and value["error"].isprintable(), shown
    assert 0 < len(value["error"]) < 600 and "Traceback" not in value["error"], shown
    return "refused"


def test_a_thousand_hostile_requests(stub, client, tmp_path, monkeypatch, picture, watch, graph):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.png").write_bytes(picture(64, 64))
    before = client.post("/api/compose", {"graph": graph, "draws": [{}]}).body
    client.post("/api/own", picture(40, 40), Content_Type="image/png")
    client.post("/api/own", picture(40, 40, kind="JPEG"), Content_Type="image/jpeg")
    client.post("/api/export", {"graph": graph})
    hostile = Hostile(SEED, stub.port)
    counts: collections.Counter = collections.Counter()
    with watch.on():
        for number in range(REQUESTS):
            case = hostile.draw(Hostile.KINDS[number % len(Hostile.KINDS)])
            counts[case.kind, check(case, *send(stub.port, case))] += 1
            if number % 100 == 0:
                assert client.get("/api/model").status == 200
    assert watch.opened == []
    assert sorted(os.listdir(tmp_path)) == ["secret.png"]
    assert client.post("/api/compose", {"graph": graph, "draws": [{}]}).body == before
    assert sum(counts.values()) == REQUESTS
    answered = {kind for kind, outcome in counts if outcome == "answered"}
    assert answered <= {"wrong_value", "mutated_json", "script_in_document"}, counts
    # These are more than forms of nonsense.
    assert {"wrong_value", "script_in_document"} <= answered, counts


def test_the_watch_sees_what_it_watches_for(watch, tmp_path):
    with watch.on():
        thread = threading.Thread(target=lambda: (tmp_path / "x").write_text("y"))
        thread.start()
        thread.join()
    assert [event for event, *_ in watch.opened] == ["open"]


def test_the_generator_starts_from_what_is_right(client):
    """Otherwise everything would be refused for the same reason."""
    assert client.post("/api/compose", {"graph": GRAPH, "draws": [{"seed": 1}]}).status == 200
    assert client.post("/api/layout", {"graph": GRAPH}).status == 200
    assert client.post("/api/candidates", {"graph": GRAPH, "position": 1}).status == 200
    assert client.post("/api/export", {"graph": GRAPH}).status == 200
    assert client.post("/api/open", {"document": GRAPH}).status == 200


def test_slow_bodies_are_given_up_and_stop_nobody(serving, connect, graph):
    serve, *_ = serving
    with serve(body_timeout_s=3.0) as stub, contextlib.ExitStack() as stack:
        head = (
            f"POST /api/layout HTTP/1.1\r\nHost: 127.0.0.1:{stub.port}\r\n"
            "Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        )
        slow = []
        for _ in range(20):
            connection = socket.create_connection(("127.0.0.1", stub.port), timeout=30)
            slow.append(stack.enter_context(connection))
            connection.sendall(head.encode())
        client = connect(stub.port)
        assert client.post("/api/layout", {"graph": graph}).status == 200
        # None of them was given up before, and so made room.
        assert not select.select(slow, [], [], 0.0)[0]
        for connection in slow:
            answer = connection.recv(2**16)
            assert answer.startswith(b"HTTP/1.1 504 ") and b"no whole request" in answer


def test_uploads_are_decoded_one_at_a_time(client, stub, picture, graph, monkeypatch):
    """Pictures are decoded by one thread; a layout waits for none, however long it takes."""
    large = picture(4000, 4000)
    running, most, lock = 0, 0, threading.Lock()
    is_decoding, may_end = threading.Event(), threading.Event()
    from export.studio import app

    own_png = app.own_png

    def watched(*args):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        is_decoding.set()
        try:
            assert may_end.wait(60.0)
            return own_png(*args)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(app, "own_png", watched)
    replies = []
    threads = [
        threading.Thread(
            target=lambda: replies.append(
                client.post("/api/own", large, Content_Type="image/png").status
            )
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    try:
        assert is_decoding.wait(60.0)
        assert client.post("/api/layout", {"graph": graph}).status == 200
        assert not replies and running == 1
    finally:
        may_end.set()
        for thread in threads:
            thread.join()
    assert replies == [200] * 3 and most == 1
