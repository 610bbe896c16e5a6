"""Processes of `rgan serve`, and what speaks to them without any code of the project's client."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2_grpc
from PIL import Image
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from export.signatures import OUTPUTS, example_request

NAME = "retrievegan"
_COMMAND = "import sys; from rgan_tf.cli import console; sys.argv[0] = 'rgan'; console()"
_HELD = """
import os, sys, time
from export.server.loaded_version import LoadedVersion

gate, warm_up = sys.argv.pop(1), LoadedVersion.warm_up

def wait_and_warm_up(self):
    while not os.path.exists(gate):
        time.sleep(0.02)
    warm_up(self)

LoadedVersion.warm_up = wait_and_warm_up
"""
_READY = re.compile(
    r"rgan serve: version (\d+) of (\S+) at http://(\S+):(\d+) and grpc://\S+:(\d+)"
)
_START_S = 240.0  # a loaded machine is slow, not wrong
_ANSWER_S = 60.0


@dataclasses.dataclass(frozen=True)
class Reply:
    """An answer over REST."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of an error, of which this checks the form."""
        value = self.json
        assert list(value) == ["error"], value
        message = value["error"]
        assert isinstance(message, str) and message and "\n" not in message, message
        assert "Traceback" not in message and "{{node" not in message, message
        return message


class Server:
    """A process that serves a model; `is_ready` says whether it got so far.

    With a `gate` it is loading until a file of that name exists.
    """

    def __init__(
        self,
        model: Path,
        *args: str,
        rest_port: int = 0,
        grpc_port: int = 0,
        gate: Path | None = None,
    ):
        command = [sys.executable, "-c"]
        command += [_HELD + _COMMAND, str(gate)] if gate else [_COMMAND]
        command += ["serve", "--model", str(model)]
        command += ["--rest-port", str(rest_port), "--grpc-port", str(grpc_port), *args]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        self.pid = self.process.pid
        self.model = model
        self.rest_port, self.grpc_port = rest_port, grpc_port
        self.is_ready = False
        self._lines: list[str] = []
        self._out: list[str] = []
        self._said_something = threading.Event()
        self._readers = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=lambda: self._out.extend(self.process.stdout), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_log(self) -> None:
        for line in self.process.stderr:
            self._lines.append(line)
            if match := _READY.match(line):
                self.rest_port, self.grpc_port = int(match[4]), int(match[5])
                self.is_ready = True
                self._said_something.set()
        self._said_something.set()

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return "".join(self._lines)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}"

    @property
    def rss_mb(self) -> float:
        """Memory of the process that is in RAM."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024

    def wait_ready(self) -> Server:
        """Returns when it answers; fails with its log when it ends before."""
        self._said_something.wait(_START_S)
        if not self.is_ready:
            self.kill()
            pytest.fail(f"rgan serve did not start:\n{self.log}")
        return self

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, dict[str, Any] | None]:
        """Sends a signal and waits for the end: exit code, result."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, dict[str, Any] | None]:
        """Waits for the end of the process: exit code, result."""
        code = self.process.wait(_START_S)
        for reader in self._readers:
            reader.join(_ANSWER_S)
        out = "".join(self._out)
        return code, json.loads(out) if out else None

    def kill(self) -> None:
        """Ends it as a crash would; nothing if it has ended."""
        self.process.kill()
        self.process.wait(_ANSWER_S)

    # REST

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=_ANSWER_S)

    def rest(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> Reply:
        """One request, on a connection of its own if none is given."""
        used = connection or self.connect()
        with contextlib.ExitStack() as stack:
            if connection is None:
                stack.callback(used.close)
            used.request(method, path, body, headers or {})
            response = used.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())

    def get(self, path: str, **kwargs: Any) -> Reply:
        return self.rest("GET", path, **kwargs)

    def post(self, body: Any, path: str = f"/v1/models/{NAME}:predict", **kwargs: Any) -> Reply:
        """Asks for a prediction; what is not bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.rest("POST", path, content, **kwargs)

    def predict_rest(self, endpoint: str, fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of the answer, which must be a success."""
        body = {"signature_name": endpoint, "inputs": columns(fields)}
        reply = self.post(body)
        assert reply.status == 200, reply.body[:300]
        return arrays_of(endpoint, reply.json["outputs"])

    # gRPC

    @functools.cached_property
    def channel(self) -> grpc.Channel:
        """With the limits of the client's side out of the way, and a connection of its own."""
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        return grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}", options=options)

    @functools.cached_property
    def prediction(self) -> prediction_service_pb2_grpc.PredictionServiceStub:
        return prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    @functools.cached_property
    def models(self) -> model_service_pb2_grpc.ModelServiceStub:
        return model_service_pb2_grpc.ModelServiceStub(self.channel)

    @functools.cached_property
    def health(self) -> health_pb2_grpc.HealthStub:
        return health_pb2_grpc.HealthStub(self.channel)

    def raw(self, data: bytes, method: str = "Predict", timeout: float = _ANSWER_S) -> bytes:
        """Sends bytes as the request of a method of PredictionService."""
        call = self.channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
        return call(data, timeout=timeout)

    def predict_grpc(self, endpoint: str, fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of the answer, which must be a success."""
        reply = self.prediction.Predict(proto_of(endpoint, fields), timeout=_ANSWER_S)
        return {name: tf.make_ndarray(value) for name, value in reply.outputs.items()}


def proto_of(endpoint: str, fields: dict[str, np.ndarray]) -> predict_pb2.PredictRequest:
    """A request as any client of TensorFlow Serving would make it."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = NAME
    request.model_spec.signature_name = endpoint
    for name, value in fields.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def columns(fields: dict[str, np.ndarray]) -> dict[str, list]:
    """Numbers as JSON has them."""
    return {name: value.tolist() for name, value in fields.items()}


def rows(fields: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The same, by row."""
    lists = columns(fields)
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def named(endpoint: str, outputs: dict[str, list] | list) -> dict[str, list]:
    """The columns of a reply by name; an only one comes without its name."""
    if len(OUTPUTS[endpoint]) == 1:
        outputs = {OUTPUTS[endpoint][0].name: outputs}
    assert set(outputs) == {field.name for field in OUTPUTS[endpoint]}
    return outputs


def arrays_of(endpoint: str, outputs: dict[str, list] | list) -> dict[str, np.ndarray]:
    """Arrays of the types of the contract from the columns of a reply."""
    outputs = named(endpoint, outputs)

    def unpacked(value: Any) -> Any:
        if isinstance(value, list):
            return [unpacked(item) for item in value]
        assert list(value) == ["b64"]
        return base64.b64decode(value["b64"], validate=True)

    return {
        field.name: np.array(unpacked(outputs[field.name]), object)
        if field.dtype == "bytes"
        else np.array(outputs[field.name], field.dtype)
        for field in OUTPUTS[endpoint]
    }


def assert_same(expected: dict[str, np.ndarray], got: dict[str, np.ndarray]) -> None:
    """Ids equal, floats equal to 1e-5, pixels within 1."""
    assert set(got) == set(expected)
    for name, value in expected.items():
        other = got[name]
        assert other.shape == value.shape, name
        if value.dtype == object:
            for ours, theirs in zip(value.ravel(), other.ravel(), strict=True):
                assert bool(ours) == bool(theirs), f"{name}: a picture where there must be none"
                if ours != theirs:
                    difference = np.abs(_pixels(ours) - _pixels(theirs))
                    assert difference.max() <= 1, f"{name}: pixels differ by {difference.max()}"
        elif value.dtype.kind == "f":
            np.testing.assert_allclose(other, value, rtol=1e-5, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(other, value, err_msg=name)


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.int32)


def patiently(call: Callable[[], Any], seconds: float = _ANSWER_S) -> tuple[Any, int]:
    """The result of a call that may be refused for a moment, and how often it was; as clients do.

    Args:
      call: raises `grpc.RpcError`, or returns a `Reply`.
      seconds: after which it is given up.
    """
    refusals = 0
    end = time.monotonic() + seconds
    while True:
        try:
            result = call()
            if not (isinstance(result, Reply) and result.status == 503):
                return result, refusals
            assert int(result.headers["Retry-After"]) >= 1
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
        refusals += 1
        assert time.monotonic() < end, "refused all the time"
        time.sleep(min(0.01 * 2**refusals, 0.2) * (0.5 + np.random.default_rng().random()))


@dataclasses.dataclass(frozen=True)
class Tools:
    """What tests of this folder share; modules of tests cannot import one another."""

    name: str
    sizes: Any
    proto_of: Callable = proto_of
    columns: Callable = columns
    rows: Callable = rows
    arrays_of: Callable = arrays_of
    named: Callable = named
    assert_same: Callable = assert_same
    patiently: Callable = patiently

    def example(self, endpoint: str, rows: int = 1, **changes: Any) -> dict[str, np.ndarray]:
        """A small valid request; `changes` replace whole fields by values that are broadcast."""
        fields = example_request(endpoint, self.sizes, rows)
        for name, value in changes.items():
            fields[name][:] = value
        return fields


@pytest.fixture(scope="session")
def tools(exported) -> Tools:
    return Tools(name=NAME, sizes=exported.model.sizes)


@contextlib.contextmanager
def _servers() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(model: Path, *args: str, wait: bool = True, **others: Any) -> Server:
        server = Server(model, *args, **others)
        started.append(server)
        return server.wait_ready() if wait else server

    try:
        yield start
    finally:
        for server in started:
            if "channel" in server.__dict__:
                server.channel.close()
            server.kill()


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """Starts a server that is ended with the test: (model, *options) -> Server."""
    with _servers() as start:
        yield start


@pytest.fixture(scope="module")
def start_for_module() -> Iterator[Callable[..., Server]]:
    """As `start_server`, for servers that several tests of a module use."""
    with _servers() as start:
        yield start


@pytest.fixture(scope="session")
def server(exported, tmp_path_factory) -> Iterator[Server]:
    """A server of a copy of the tiny model, which it looks at five times a second.

    One for all tests: those of `test_lifecycle.py`, which change and end it, are the last.
    """
    model = tmp_path_factory.mktemp("served") / "model"
    shutil.copytree(exported.folder, model)
    with _servers() as start:
        yield start(model, "--queue-rows", "16", "--poll-s", "0.2")


@pytest.fixture
def new_log(server) -> Callable[[], str]:
    """What the server of all tests has logged since this test began: the rest is not its doing."""
    before = len(server.log)
    return lambda: server.log[before:]


@pytest.fixture(autouse=True)
def no_fault_of_the_server(request) -> Iterator[None]:
    """No test gets a traceback into the log of the server of all tests, whatever its clients do.

    Each test answers for its own lines, so that one cause does not fail all tests after it.
    """
    if "server" not in request.fixturenames:
        yield
        return
    new_log = request.getfixturevalue("new_log")
    yield
    assert "Traceback" not in new_log() and "Error handling" not in new_log()
