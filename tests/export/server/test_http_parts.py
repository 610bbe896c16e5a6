"""What every HTTP server does alike, with handlers of the test's own and no model."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

from aiohttp import web

from export.server.http_parts import build_runner, continues, json_errors, read_body

LIMIT = 2**20
WAITS = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
LARGE = 64 * 2**20  # bytes, more than the sockets of both ends take in


@contextlib.asynccontextmanager
async def running(grace_s: float = 1.0) -> AsyncIterator[tuple[web.AppRunner, int]]:
    """A server that answers a POST with the length of its body, a GET with much; and its port."""

    async def post(request: web.Request) -> web.Response:
        return web.json_response(len(await read_body(request, LIMIT, 30.0)))

    async def get(request: web.Request) -> web.Response:
        return web.Response(body=bytes(LARGE))

    app = web.Application(middlewares=[json_errors()])
    app.router.add_post("/", post, expect_handler=continues(LIMIT))
    app.router.add_get("/", get)
    runner = build_runner(app, grace_s)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    try:
        yield runner, listener.getsockname()[1]
    finally:
        await runner.cleanup()


def test_clients_that_leave_before_they_may_send_their_body_leave_no_line_in_the_log(caplog):
    def leave(port: int) -> None:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(WAITS)

    async def run() -> bytes:
        async with running() as (_, port):
            await asyncio.to_thread(leave, port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(WAITS)
            assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
            writer.write(b"x" * 9)
            await writer.drain()
            await reader.readline()
            answer = await reader.readuntil(b"\r\n\r\n9")
            writer.close()
            return answer

    assert asyncio.run(run()).startswith(b"HTTP/1.1 200 ")
    assert not caplog.records


def test_a_client_that_does_not_read_its_answer_holds_up_the_end_for_no_more_than_the_grace():
    grace_s = 2.0

    async def run() -> float:
        async with running(grace_s) as (runner, port):
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", port))
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                first = await asyncio.to_thread(connection.recv, 12)
                assert first == b"HTTP/1.1 200"
                started = time.monotonic()
                await runner.cleanup()
                return time.monotonic() - started

    # It waits, because that client may read on; twice as long is what the library does by itself.
    assert 0.9 * grace_s < asyncio.run(run()) < 1.8 * grace_s


def test_a_request_may_take_almost_all_of_the_grace():
    """Of which the library knows two parts: only the end of the second ends a request."""
    grace_s = 2.0

    async def run() -> bytes:
        begun = asyncio.Event()

        async def slow(request: web.Request) -> web.Response:
            begun.set()
            await asyncio.sleep(0.75 * grace_s)
            return web.Response(text="answered")

        app = web.Application(middlewares=[json_errors()])
        app.router.add_get("/", slow)
        runner = build_runner(app, grace_s)
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, listener).start()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await begun.wait()
        await runner.cleanup()
        answer = await reader.read()
        writer.close()
        return answer

    assert asyncio.run(run()).endswith(b"answered")
