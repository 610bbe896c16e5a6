"""A scripted server over REST and one over gRPC, which say what a test tells them to."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from export.client import Client, connect
from export.model_folder import open_contract
from export.signatures import RETRIEVE_ONLY, example_request


@pytest.fixture(scope="session")
def contract(exported):
    """What a client knows of the model."""
    return open_contract(exported.folder)


@pytest.fixture
def arrays(contract) -> dict[str, np.ndarray]:
    """A request of two rows to `retrieve`."""
    return example_request(RETRIEVE_ONLY, contract.sizes, 2)


@contextlib.contextmanager
def _rest(script: list[Callable], seen: list) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(
                SimpleNamespace(path=self.path, headers=dict(self.headers), body=json.loads(body))
            )
            script.pop(0)(self)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def rest(contract, exported) -> Iterator[SimpleNamespace]:
    """`script`: what is answered, in order; `seen`: requests; `connect`: a client of it."""
    script: list[Callable] = []
    seen: list = []
    with _rest(script, seen) as url:
        clients: list[Client] = []

        def client(**options) -> Client:
            clients.append(connect(url, exported.folder, **options))
            return clients[-1]

        yield SimpleNamespace(script=script, seen=seen, url=url, connect=client)
        for opened in clients:
            opened.close()


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, script: list, seen: list):
        self._script, self._seen = script, seen

    def Predict(self, request, context):
        self._seen.append(request)
        return self._script.pop(0)(context)


@pytest.fixture
def rpc(contract, exported) -> Iterator[SimpleNamespace]:
    """As `rest`, over gRPC."""
    script: list = []
    seen: list = []
    server = grpc.server(ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Predictions(script, seen), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    url = f"grpc://127.0.0.1:{port}"
    clients: list[Client] = []

    def client(**options) -> Client:
        clients.append(connect(url, exported.folder, **options))
        return clients[-1]

    yield SimpleNamespace(script=script, seen=seen, url=url, connect=client)
    for opened in clients:
        opened.close()
    server.stop(None)
