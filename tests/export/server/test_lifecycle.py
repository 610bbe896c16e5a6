"""Start, stop, crash and new versions of a server, while it is asked."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
import signal
import socket
import threading
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from tensorflow_serving.apis import get_model_status_pb2

from export.signatures import GENERATE, GENERATE_WITH_PATCHES, RETRIEVE_ONLY
from rgan_tf import cli
from rgan_tf.storage.image import decode_image, encode_png

PREDICT = "/v1/models/retrievegan:predict"
MANIFEST = "assets.extra/manifest.json"
VARIABLES = "variables/variables.data-00000-of-00001"


def wait_until(holds, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def agree(reply, expected) -> bool:
    """Whether two replies in JSON say the same.

    The server runs requests of several clients as one batch, whose size decides on some processors
    how the network's sums are rounded: numbers may differ by that, pixels by one.
    """
    if isinstance(expected, bytes):
        return agree(json.loads(reply), json.loads(expected))
    if isinstance(expected, dict) and "b64" in expected and expected != reply:
        if not (reply["b64"] and expected["b64"]):
            return False  # one of them is not an image
        pair = [decode_image(base64.b64decode(each["b64"]), "reply") for each in (reply, expected)]
        one, other = (image.astype(int) for image in pair)
        return one.shape == other.shape and np.abs(one - other).max() <= 1
    if isinstance(expected, dict):
        same_keys = reply.keys() == expected.keys()
        return same_keys and all(agree(reply[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(reply) == len(expected) and all(map(agree, reply, expected))
    if isinstance(expected, float):
        return reply == pytest.approx(expected, rel=1e-5, abs=1e-6)
    return reply == expected


def test_agreement_is_not_given_to_other_replies():
    def reply(box=0.5, patch=3, grey=7):
        image = encode_png(np.full([16, 16, 3], grey, np.uint8))
        pixels = [{"b64": base64.b64encode(image).decode()}]
        return json.dumps({"boxes": [[box, 1.0]], "ids": [patch], "images": pixels}).encode()

    assert agree(reply(), reply()) and agree(reply(box=0.5 + 2e-7, grey=8), reply())
    for other in (reply(box=0.5001), reply(patch=4), reply(grey=9)):
        assert not agree(other, reply())
    assert not agree(b'{"boxes": [[0.5, 1.0]], "ids": [3]}', reply())
    none, image = [{"b64": text} for text in ("", json.loads(reply())["images"][0]["b64"])]
    assert agree(none, none) and not agree(none, image) and not agree(image, none)


# How it does not start


@pytest.fixture
def refused(exported, capfd):
    """Runs `rgan serve` in this process, where it must not get so far that it serves."""

    def run(*options: str, model=exported.folder) -> tuple[int, str]:
        argv = ["serve", "--model", str(model), "--rest-port", "0", "--grpc-port", "0", *options]
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        try:
            code = cli.main(argv)
        finally:
            signal.signal(signal.SIGTERM, before[0])
            signal.signal(signal.SIGINT, before[1])
        out, err = capfd.readouterr()
        assert out == "" and "Traceback" not in err, err
        lines = [line for line in err.splitlines() if line.startswith("rgan serve: ")]
        assert len(lines) == 1, err
        return code, lines[0]

    return run


@pytest.mark.parametrize("option", ["--rest-port", "--grpc-port"])
def test_a_port_in_use_is_one_clear_line(refused, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = refused(option, str(port))
    assert code == 2
    assert f"{option} {port}: Address already in use on 127.0.0.1; name another" in line


def test_two_servers_never_share_a_port(refused, server):
    """gRPC would let them, and each would get half of the requests."""
    assert refused("--grpc-port", str(server.grpc_port))[0] == 2
    assert refused("--rest-port", str(server.rest_port))[0] == 2


@pytest.mark.parametrize(
    "options, said",
    [
        (["--rest-port", "65536"], "--rest-port 65536: must be in [0, 65535]"),
        (["--grpc-port", "-1"], "--grpc-port -1: must be in [0, 65535]"),
        (["--rest-port", "4321", "--grpc-port", "4321"], "--grpc-port 4321: is that of"),
        (["--rest-port", "x"], "--rest-port"),
        (["--queue-rows", "0"], "--queue-rows 0: must be at least 1"),
        (["--keep-versions", "0"], "--keep-versions 0: must be at least 1"),
        (["--poll-s", "nan"], "--poll-s nan: must be in [0.05, 3600]"),
        (["--poll-s", "0"], "--poll-s 0: must be in [0.05, 3600]"),
        (["--grace-s", "-1"], "--grace-s -1: must be in [0, 3600]"),
        (["--grace-s", "inf"], "--grace-s inf: must be in [0, 3600]"),
        (["--name", "a/b"], "a/b"),
        (["--name", ""], "name"),
        (["--host", "203.0.113.7"], "203.0.113.7"),
        (["--host", "no.such.host.invalid"], "no.such.host.invalid"),
        (["--host", "x" * 300], "--host xxx"),
    ],
)
def test_a_wrong_option_is_one_clear_line(exported, capfd, options, said, monkeypatch):
    look_up = socket.getaddrinfo

    def unknown(host, *others, **options):
        """As where nobody knows the name; a name too long is refused before anybody is asked."""
        if host == "no.such.host.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return getattr(look_up, "__wrapped__", look_up)(host, *others, **options)

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    code = cli.main(["serve", "--model", str(exported.folder), *options])
    _, err = capfd.readouterr()
    (line,) = err.splitlines()
    assert code == 2 and said in line


def _damaged(folder, how: str) -> None:
    if how == "empty":
        shutil.rmtree(folder / "1")
    elif how == "missing":
        shutil.rmtree(folder)
    elif how == "a file":
        shutil.rmtree(folder)
        folder.write_text("no folder")
    elif how == "not exported":
        shutil.rmtree(folder / "1" / "assets.extra")
    elif how == "no graph":
        (folder / "1" / "saved_model.pb").unlink()
    elif how == "other graph":
        (folder / "1" / "saved_model.pb").write_bytes(b"\xff" * 100)
    elif how == "no manifest":
        (folder / "1" / MANIFEST).unlink()
    elif how == "broken manifest":
        (folder / "1" / MANIFEST).write_text('{"kind": "rgan_model", "version": 2, "files": [5]}')
    elif how == "short variables":
        content = (folder / "1" / VARIABLES).read_bytes()
        (folder / "1" / VARIABLES).write_bytes(content[: len(content) // 2])
    elif how == "spoilt variables":
        content = bytearray((folder / "1" / VARIABLES).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / "1" / VARIABLES).write_bytes(content)
    else:
        path = folder / "1" / "assets.extra" / "vocabulary.json"
        path.write_text(path.read_text().replace("sky", "sea"))


@pytest.mark.parametrize(
    "how, said",
    [
        ("empty", "no exported model; make one with rgan export"),
        ("missing", "no exported model; make one with rgan export"),
        ("a file", "no exported model; make one with rgan export"),
        ("not exported", "name a model written by rgan export"),
        ("no graph", "no version can be served"),
        ("other graph", "saved_model.pb"),
        ("no manifest", "name a model written by rgan export"),
        ("broken manifest", "manifest.json"),
        ("short variables", "variables.data-00000-of-00001"),
        pytest.param("spoilt variables", "damaged", marks=pytest.mark.thorough),
        ("other words", "vocabulary.json: damaged"),
    ],
)
def test_without_a_whole_model_it_says_why_and_ends(refused, exported, tmp_path, how, said):
    model = tmp_path / "model"
    shutil.copytree(exported.folder, model)
    _damaged(model, how)
    code, line = refused(model=model)
    assert code in (2, 4) and said in line, line


# How it stops


@pytest.fixture
def loading(start_server, exported, tmp_path):
    """A server that answers and has no version as long as its gate is not there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    gate = tmp_path / "gate"
    server = start_server(exported.folder, wait=False, rest_port=port, gate=gate)

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    wait_until(listens)
    return server, gate


@pytest.mark.thorough
def test_while_it_loads_it_says_so(loading):
    server, gate = loading
    for path, status in (("/healthz", 200), ("/readyz", 503)):
        assert server.get(path).status == status
    early = server.post(b"{}")
    assert early.status == 503 and int(early.headers["Retry-After"]) >= 1
    (state,) = server.get("/v1/models/retrievegan").json["model_version_status"]
    assert (state["version"], state["state"]) == ("1", "LOADING")
    gate.touch()
    server.wait_ready()
    assert server.get("/readyz").status == 200


@pytest.mark.thorough
def test_a_signal_while_it_loads_ends_it_when_it_has_loaded(loading):
    """A thread that loads cannot be interrupted: the model is waited for, and not served."""
    server, gate = loading
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert server.process.poll() is None and server.get("/readyz").status == 503
    gate.touch()
    assert server.ended() == (75, None)
    assert "Traceback" not in server.log and not server.is_ready


@pytest.mark.thorough
def test_a_second_signal_while_it_loads_ends_it_at_once(loading):
    server, _ = loading
    server.process.send_signal(signal.SIGTERM)

    def ended() -> bool:
        server.process.send_signal(signal.SIGINT)
        return server.process.poll() is not None

    wait_until(ended)
    assert server.ended() == (-signal.SIGINT, None)
    assert "Traceback" not in server.log and not server.is_ready


# New versions


class Load:
    """Threads that ask all the time, over both protocols, and note what did not succeed.

    Attributes:
      problems: what went wrong.
      answers: time of the answer and version of each request over gRPC, 0 for those over REST.
    """

    def __init__(self, server, tools, threads: int = 3, pause_s: float = 0.05):
        self.problems: list[str] = []
        self.answers: list[tuple[float, int]] = []
        self._server, self._tools, self._pause_s = server, tools, pause_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=[i]) for i in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def versions_since(self, moment: float) -> set[int]:
        return {version for when, version in self.answers if when > moment and version}

    def _ask(self, number: int) -> None:
        fields = self._tools.example(RETRIEVE_ONLY, 1)
        body = {"signature_name": RETRIEVE_ONLY, "inputs": self._tools.columns(fields)}
        request = self._tools.proto_of(RETRIEVE_ONLY, fields)
        expected = self._server.post(body).body
        while not self._stop.wait(self._pause_s):
            try:
                if number % 2:
                    reply = self._server.post(body)
                    version = 0
                    if reply.status != 200 or not agree(reply.body, expected):
                        self.problems.append(f"{reply.status} {reply.body[:200]}")
                else:
                    answer = self._server.prediction.Predict(request, timeout=60)
                    version = answer.model_spec.version.value
                self.answers.append((time.monotonic(), version))
            except (OSError, grpc.RpcError) as error:
                self.problems.append(repr(error)[:300])


def _copy_slowly(source, target, pause_s: float) -> None:
    """Copies a version as a bad tool does: the manifest first, and large files in two halves."""
    files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    files.sort(key=lambda name: (name.as_posix() != MANIFEST, name.as_posix() == VARIABLES))
    for name in files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        content = (source / name).read_bytes()
        with open(target / name, "wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            time.sleep(pause_s)
            file.write(content[len(content) // 2 :])


def _state(server, number: int):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "retrievegan"
    statuses = server.models.GetModelStatus(request).model_version_status
    states = get_model_status_pb2.ModelVersionStatus.State
    for status in statuses:
        if status.version == number:
            return states.Name(status.state), status.status.error_message
    return None, ""


def test_a_new_version_takes_over_without_a_failure_and_not_before_it_is_whole(server, tools):
    model = server.model
    with Load(server, tools) as load:
        _copy_slowly(model / "1", model / "2", pause_s=0.1)
        whole = time.monotonic()
        state, error = _state(server, 2)
        assert state in ("END", "LOADING") and (state == "LOADING" or "/2/" in error), error
        wait_until(lambda: server.get("/readyz").json["version"] == 2)
        swapped = time.monotonic()
        wait_until(lambda: len(load.answers) >= 150 and load.versions_since(swapped + 0.1))
    assert not load.problems, load.problems[:5]
    assert {version for when, version in load.answers if when < whole} <= {0, 1}
    assert load.versions_since(swapped + 0.1) == {2}
    assert _state(server, 1)[0] == "END" and _state(server, 2) == ("AVAILABLE", "")
    assert "version 2 is not served: " in server.log, "it was looked at while half there"
    assert server.post(b"{}", "/v1/models/retrievegan/versions/1:predict").status == 404


@pytest.mark.thorough
def test_a_truncated_version_is_never_served_and_the_log_says_why(server, tools, new_log):
    model = server.model
    before = server.get("/readyz").json["version"]
    partial = model / ".3.partial"
    shutil.copytree(model / "1", partial)
    content = (partial / VARIABLES).read_bytes()
    (partial / VARIABLES).write_bytes(content[:-1])
    with Load(server, tools, threads=2) as load:
        partial.rename(model / "3")
        wait_until(lambda: _state(server, 3)[0] == "END")
        refused = time.monotonic()
        time.sleep(1.0)  # five more looks
    assert not load.problems and load.versions_since(refused) == {before}
    assert VARIABLES in _state(server, 3)[1]
    shown = server.get("/v1/models/retrievegan/versions/3").json["model_version_status"][0]
    assert shown["state"] == "END" and shown["status"]["error_code"] == "UNKNOWN"
    assert VARIABLES in shown["status"]["error_message"]
    said = [line for line in server.log.splitlines() if line.startswith("version 3 is not served")]
    assert len(said) == 1 and VARIABLES in said[0]
    # Repaired in its place, it is.
    (model / "3" / VARIABLES).write_bytes(content)
    wait_until(lambda: server.get("/readyz").json["version"] == 3)
    assert "Traceback" not in new_log()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_swaps_under_load_fail_nothing_and_keep_nothing(
    start_server, exported, tools, tmp_path
):
    model = tmp_path / "model"
    shutil.copytree(exported.folder, model)
    server = start_server(model, "--poll-s", "0.2")
    swaps = 10
    memory = []
    with Load(server, tools, threads=4, pause_s=0.0) as load:
        for number in range(2, swaps + 2):
            _copy_slowly(model / "1", model / str(number), pause_s=0.05)
            wait_until(lambda number=number: server.get("/readyz").json["version"] == number)
            asked = len(load.answers)
            wait_until(lambda asked=asked: len(load.answers) >= asked + 10_000 / swaps, 300)
            memory.append(server.rss_mb)
            if number > 2:
                shutil.rmtree(model / str(number - 1))
    assert not load.problems, load.problems[:5]
    assert len(load.answers) >= 10_000
    assert {version for _, version in load.answers} == {0, *range(1, swaps + 2)}
    growth = (memory[-1] - memory[1]) / (swaps - 2)
    assert growth < 60, memory


# The end of the server of all tests


@pytest.fixture(scope="module")
def restarted(start_for_module, server, tools):
    """A server that was killed while it answered, and started again at the same ports."""
    first = server
    body = {"signature_name": GENERATE, "inputs": tools.columns(tools.example(GENERATE, 2))}
    expected = first.post(body).body
    connections = [first.connect() for _ in range(8)]
    for connection in connections:
        connection.request("POST", PREDICT, json.dumps(body))
    first.kill()
    ports = {"rest_port": first.rest_port, "grpc_port": first.grpc_port}
    second = start_for_module(first.model, "--queue-rows", "64", "--grace-s", "60", **ports)
    assert (second.rest_port, second.grpc_port) == (first.rest_port, first.grpc_port)
    return second, body, expected


def test_after_a_kill_it_starts_at_the_same_ports_and_answers(restarted, tools):
    server, body, expected = restarted
    assert server.post(body).body == expected
    assert server.predict_grpc(GENERATE, tools.example(GENERATE, 2))["order"].shape == (2, 6)


def test_what_is_there_when_it_is_told_to_stop_is_answered(restarted, tools):
    server, body, expected = restarted
    answered = _answered(server)
    large = tools.proto_of(GENERATE_WITH_PATCHES, tools.example(GENERATE_WITH_PATCHES, 8))
    version = server.get("/readyz").json["version"]
    idle = server.connect()
    assert server.get("/healthz", connection=idle).status == 200
    watch = server.health.Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING

    connections = [server.connect() for _ in range(4)]
    data = json.dumps(body)
    for connection in connections:
        connection.connect()
    calls = [server.prediction.Predict.future(large) for _ in range(6)]
    for connection in connections:
        connection.request("POST", PREDICT, data)

    def is_busy() -> bool:
        if all(call.done() for call in calls):  # before this test could look
            calls.extend(server.prediction.Predict.future(large) for _ in range(6))
        return _waiting_rows(server) > 8

    wait_until(is_busy)  # two batches at least are still to be run
    started = time.monotonic()
    code, result = server.stop()
    seconds = time.monotonic() - started

    for connection in connections:
        response = connection.getresponse()
        assert response.status == 200 and agree(response.read(), expected)
        connection.close()
    assert all(call.result().model_spec.version.value == version for call in calls)
    assert code == 0
    assert result["answered"] == answered + len(connections) + len(calls)
    assert result["version"] == version
    assert (result["rest_port"], result["grpc_port"]) == (server.rest_port, server.grpc_port)
    # Who only watches does not make it wait for the end of its time.
    assert seconds < 30
    assert [reply.status for reply in watch][-1:] == [health_pb2.HealthCheckResponse.NOT_SERVING]
    idle.close()
    for port in (server.rest_port, server.grpc_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
    assert "Traceback" not in server.log


def _answered(server) -> int:
    text = server.get("/monitoring/prometheus/metrics").body.decode()
    counts = re.findall(r'^rgan_requests_total\{.*status="OK".*\} (\S+)$', text, re.MULTILINE)
    return sum(int(float(count)) for count in counts)


def _waiting_rows(server) -> float:
    text = server.get("/monitoring/prometheus/metrics").body.decode()
    return float(re.search(r"^rgan_waiting_rows (\S+)$", text, re.MULTILINE)[1])
