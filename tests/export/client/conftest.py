"""A scripted server over REST and one over gRPC, which say what a test tells them to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from export.client import Client, connect
from export.model_folder import open_contract
from export.signatures import RETRIEVE_ONLY, example_request
from tests.export.client.scripted import grpc_server, rest_server


@pytest.fixture(scope="session")
def contract(exported):
    """What a client knows of the model."""
    return open_contract(exported.folder)


@pytest.fixture
def arrays(contract) -> dict[str, np.ndarray]:
    """A request of two rows to `retrieve`."""
    return example_request(RETRIEVE_ONLY, contract.sizes, 2)


@contextlib.contextmanager
def _scripted(url: str, folder, script: list, seen: list) -> Iterator[SimpleNamespace]:
    clients: list[Client] = []

    def client(**options) -> Client:
        clients.append(connect(url, folder, **options))
        return clients[-1]

    yield SimpleNamespace(script=script, seen=seen, url=url, connect=client)
    for opened in clients:
        opened.close()


@pytest.fixture
def rest(contract, exported) -> Iterator[SimpleNamespace]:
    """`script`: what is answered, in order; `seen`: requests; `connect`: a client of it."""
    script: list[Callable] = []
    seen: list = []

    def answer(handler, body):
        seen.append(SimpleNamespace(path=handler.path, headers=dict(handler.headers), body=body))
        script.pop(0)(handler)

    with rest_server(answer) as url, _scripted(url, exported.folder, script, seen) as scripted:
        yield scripted


@pytest.fixture
def rpc(contract, exported) -> Iterator[SimpleNamespace]:
    """As `rest`, over gRPC."""
    script: list[Callable] = []
    seen: list = []

    def answer(request, context):
        seen.append(request)
        return script.pop(0)(context)

    with grpc_server(answer) as url, _scripted(url, exported.folder, script, seen) as scripted:
        yield scripted
