"""A client of the studio without any code of the project, and the studio over a stub."""

from __future__ import annotations

import base64
import copy
import dataclasses
import http.client
import io
import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.export.studio.process import StudioProcess
from tests.export.studio.stub_engine import Serving, StubEngine, serving_stub, stub_version

JSON = "application/json"


@dataclasses.dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.status == 200, (self.status, self.body[:300])
        return json.loads(self.body)

    def refused(self, status: int, field: str | None = None) -> str:
        """The message of a refusal, of which this checks the form."""
        assert self.status == status, (self.status, self.body[:300])
        assert self.headers["Content-Type"].startswith(JSON)
        value = json.loads(self.body)
        assert set(value) == {"error", "field"}, value
        assert value["field"] == field, value
        message = value["error"]
        assert message.isprintable() and 0 < len(message) < 600, message
        assert "Traceback" not in message, message
        return message


class Client:
    """Sends requests to one port."""

    def __init__(self, port: int):
        self.port = port
        self.version = 1

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, headers=_named(headers))

    def post(self, path: str, value: Any, **headers: str) -> Reply:
        """Sends JSON, or bytes as they are."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.send("POST", path, body, {"Content-Type": JSON, **_named(headers)})


def _named(headers: dict[str, str]) -> dict[str, str]:
    """Header names as Python can write them."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


GRAPH = {
    "objects": ["sky", "tree", "house", "tree"],
    "relationships": [[0, "above", 2], [1, "left of", 2]],
    "boxes": [None, None, [0.3, 0.4, 0.7, 0.9], None],
    "patches": [None, None, None, None],
}


@pytest.fixture(scope="session")
def studio_process(exported, tmp_path_factory) -> Iterator[StudioProcess]:
    """`rgan studio` over the tiny model; `test_real_model.py` changes it in its last tests."""
    folder = tmp_path_factory.mktemp("studio")
    shutil.copytree(exported.version, folder / "model" / "1")
    (folder / "work").mkdir()
    process = StudioProcess(folder / "model", folder / "work")
    yield process
    process.process.kill()
    process.process.wait(30)


@pytest.fixture
def graph() -> dict[str, Any]:
    """A scene graph that the test may change."""
    return copy.deepcopy(GRAPH)


@pytest.fixture
def stub() -> Iterator[Serving]:
    with serving_stub() as serving:
        yield serving


@pytest.fixture
def client(stub) -> Client:
    return Client(stub.port)


@pytest.fixture
def connect():
    """Port -> a client."""
    return Client


@pytest.fixture
def serving():
    """The context manager `serving_stub`, and what it serves."""
    return serving_stub, StubEngine, stub_version


def png(width: int, height: int, colour: Any = (200, 30, 30), kind: str = "PNG", **more) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, kind, **more)
    return buffer.getvalue()


@pytest.fixture
def picture():
    """(width, height, ...) -> the bytes of a picture."""
    return png


@pytest.fixture
def b64():
    return lambda data: base64.b64encode(data).decode("ascii")
