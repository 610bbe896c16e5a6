"""Answers of something that is not a model server: one safe line says so, and what it may be."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from export.client import connect
from export.client.foreign import describe_answer
from export.service_errors import BadReply, InvalidRequest, NotFound, ServiceError, Unreachable
from export.signatures import RETRIEVE_ONLY
from rgan_tf.errors import BadInput
from tests.export.client.scripted import refuse, send

HTML = b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title>" + b"x" * 5000


def said_by(client, arrays, kind) -> str:
    """What the client says; it gives up at once, and does nothing to a terminal."""
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        client.predict(RETRIEVE_ONLY, arrays)
    assert time.monotonic() - started < 5.0
    message = str(caught.value)
    assert message.isprintable() and len(message) < 1100 and caught.value.exit_code == 2
    return message


@contextlib.contextmanager
def raw_server(answer: bytes) -> Iterator[int]:
    """Gives the same bytes to everybody and ends the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection = listener.accept()[0]
                    with connection:
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            pass

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    "answer, told, hint",
    [
        (b"\x00\x00\x18\x04\x00\x00\x00", "\\x00\\x00\\x18\\x04", "It goes with grpc://"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "\\x15\\x03\\x01", "speaks TLS"),
        (b"SSH-2.0-OpenSSH_9\r\n", "SSH-2.0", "REST port of a model server"),
        (b"\x1b[2J\x1b]0;owned\x07\r\n", "\\x1b[2J\\x1b]0;owned\\x07", "REST port"),
        (b"\xff" * 70_000, "did not answer in HTTP", "REST port"),
    ],
)
def test_an_answer_that_is_not_http_is_told(exported, arrays, answer, told, hint):
    with raw_server(answer) as port:
        with connect(f"http://127.0.0.1:{port}", exported.folder, timeout_s=30.0) as client:
            message = said_by(client, arrays, BadReply)
    assert told in message and hint in message


def test_rest_at_a_port_of_grpc(exported, arrays):
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with connect(f"http://127.0.0.1:{port}", exported.folder, timeout_s=30.0) as client:
            message = said_by(client, arrays, BadReply)
    finally:
        server.stop(None)
    assert "is that the gRPC port? It goes with grpc://" in message


def test_grpc_at_a_port_of_rest(exported, arrays, rest):
    with connect(rest.url.replace("http", "grpc"), exported.folder, timeout_s=30.0) as client:
        message = said_by(client, arrays, BadReply)
    assert "is that the REST port? It goes with http://" in message


@pytest.mark.parametrize(
    "answer, kind, told",
    [
        (send(200, HTML), BadReply, "<!DOCTYPE html> <html>"),
        (send(200, b""), BadReply, "an empty answer"),
        (send(200, b"\x1b[31mred"), BadReply, "\\x1b[31mred"),
        (send(502, HTML), ServiceError, "the server answered 502 with an answer that begins with"),
        (send(404, HTML), NotFound, "port of a proxy"),
        (send(302, b"", Location="/login"), ServiceError, "the server answered 302"),
        (send(400, b"The plain HTTP request was sent to HTTPS port"), InvalidRequest, "speaks TLS"),
        (send(400, b"Client sent an HTTP request to an HTTPS server."), InvalidRequest, "TLS"),
        (send(500, b"\xff\xfe\x00" * 1000), ServiceError, "\\xff\\xfe\\x00"),
        (send(400, b'{"detail": "other"}'), InvalidRequest, "other"),
        (send(400, b'{"error": {"code": 3}}'), InvalidRequest, "code"),
        (refuse(400, "a\x1b[2J\nb" + "x" * 5000), InvalidRequest, "a\\x1b[2J b"),
    ],
)
def test_http_of_others_is_told(rest, arrays, answer, kind, told):
    rest.script.append(answer)
    assert told in said_by(rest.connect(), arrays, kind)
    assert len(rest.seen) == 1


def test_a_connection_that_ends_without_a_word_is_tried_again(exported, arrays):
    with raw_server(b"") as port:
        url = f"http://127.0.0.1:{port}"
        with connect(url, exported.folder, timeout_s=0.3) as client:
            message = said_by(client, arrays, Unreachable)
    assert "speaks TLS" in message


def test_tls_is_refused_before_anything_is_sent(exported):
    for url in ("https://127.0.0.1:8501", "grpcs://127.0.0.1:8500"):
        with pytest.raises(BadInput, match="does not speak TLS"):
            connect(url, exported.folder)


def test_long_answers_are_cut():
    assert len(describe_answer(b"\x00" * 10**7)) < 1100
    assert len(describe_answer(b"a " * 10**6)) < 400
