"""The REST paths: what they answer, and with which status they refuse."""

from __future__ import annotations

import collections
import gzip
import json
import re
import socket
import struct
import time
import zlib

import numpy as np
import pytest
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from export.signatures import ENCODE, GENERATE, INPUTS, OUTPUTS, RETRIEVE_ONLY

PREDICT = "/v1/models/retrievegan:predict"
METRICS = "/monitoring/prometheus/metrics"
LIMIT = 16 * 2**20


@pytest.fixture(scope="module")
def good(tools):
    """A request of two rows as JSON, by column."""
    return {"signature_name": GENERATE, "inputs": tools.columns(tools.example(GENERATE, 2))}


@pytest.mark.parametrize("endpoint", INPUTS)
def test_by_column_and_by_row_are_the_same_values(server, tools, endpoint):
    fields = tools.example(endpoint, 3)
    by_column = server.post({"signature_name": endpoint, "inputs": tools.columns(fields)})
    by_row = server.post({"signature_name": endpoint, "instances": tools.rows(fields)})
    assert by_column.status == by_row.status == 200
    assert by_column.headers["Content-Type"].startswith("application/json")
    outputs, predictions = by_column.json["outputs"], by_row.json["predictions"]
    assert len(predictions) == 3
    if len(OUTPUTS[endpoint]) == 1:  # an only output comes without its name
        assert predictions == outputs and isinstance(outputs, list)
        return
    assert set(outputs) == {field.name for field in OUTPUTS[endpoint]}
    for number, row in enumerate(predictions):
        assert row == {name: values[number] for name, values in outputs.items()}


@pytest.mark.parametrize("named", [{}, {"signature_name": ""}])
def test_the_default_signature_makes_an_image(server, good, named):
    reply = server.post({"inputs": good["inputs"], **named})
    assert reply.status == 200
    assert reply.json["outputs"] == server.post(good).json["outputs"]
    assert "image_bytes" in reply.json["outputs"]


def test_the_version_in_the_path_is_the_one_that_answers(server, good):
    pinned = server.post(good, "/v1/models/retrievegan/versions/1:predict")
    assert pinned.status == 200 and pinned.body == server.post(good).body


@pytest.mark.parametrize(
    "path, said",
    [
        ("/v1/models/other:predict", "'other'"),
        ("/v1/models/retrievegan/versions/2:predict", "version 2"),
        ("/v1/models/retrievegan/versions/999999999999999999:predict", "version 9999"),
        (f"/v1/models/retrievegan/versions/{2**63 - 1}:predict", "version 9223"),
        ("/v1/models/retrievegan/versions/-1:predict", "no such path"),
        ("/v1/models/retrievegan/versions/%D9%A1:predict", "no such path"),  # another script's 1
        ("/v1/models/retrievegan/versions/1/2:predict", "no such path"),
        ("/v1/models/retrievegan/labels/stable:predict", "'stable'"),
        ("/v1/models/:predict", "no such path"),
        ("/v1/models/retrievegan/:predict", "no such path"),
        ("/v1/models/retrievegan/labels/:predict", "no such path"),
        ("/v1/models/retrievegan/versions/1/labels/a:predict", "no such path"),
        ("/v1/models/a%2Fretrievegan:predict", "'a/retrievegan' is not served"),
        ("/v1/models", "no such path"),
        ("/v2/health", "Not Found"),
        ("/", "Not Found"),
        ("/v1/models/" + "x" * 2000 + ":predict", "xxx"),
        ("/v1/models/%00:predict", "is not served"),
    ],
)
def test_what_is_not_there_is_404(server, good, path, said):
    reply = server.post(good, path)
    assert reply.status == 404
    assert said in reply.error and len(reply.error) < 300


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/retrievegan/versions/00000001:predict",
        "/v1/models/retrievegan/versions/" + "0" * 100 + "1:predict",
        "/V1/Models/retrievegan/VERSIONS/1:predict",
        "/v1/models/retrieve%67an:predict",
        "/v1/models/retrievegan:predict?key=1&other",
    ],
)
def test_other_ways_to_write_a_path(server, good, path):
    assert server.post(good, path).body == server.post(good).body


@pytest.mark.parametrize("digits", ["9223372036854775808", "9" * 400])
def test_a_version_that_no_protocol_can_name_is_400(server, good, digits):
    reply = server.post(good, f"/v1/models/retrievegan/versions/{digits}:predict")
    assert reply.status == 400 and "must fit 64 bits" in reply.error


@pytest.mark.parametrize("verb", ["classify", "regress", "other", "Predict"])
def test_another_verb_is_400(server, good, verb):
    reply = server.post(good, f"/v1/models/retrievegan:{verb}")
    assert reply.status == 400 and verb in reply.error and ":predict" in reply.error


def test_another_signature_is_400_and_the_names_are_told(server, good):
    reply = server.post({**good, "signature_name": "other"})
    assert reply.status == 400
    assert "'other'" in reply.error and all(name in reply.error for name in INPUTS)


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("GET", PREDICT, {"POST"}),
        ("PUT", PREDICT, {"POST"}),
        ("OPTIONS", PREDICT, {"POST"}),
        ("POST", "/v1/models/retrievegan", {"GET"}),
        ("DELETE", "/v1/models/retrievegan/versions/1", {"GET"}),
        ("POST", "/v1/models/retrievegan/metadata", {"GET"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("POST", "/readyz", {"GET", "HEAD"}),
        ("POST", "/monitoring/prometheus/metrics", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_405_and_the_right_one_is_told(server, method, path, allowed):
    reply = server.rest(method, path, b"{}")
    assert reply.status == 405 and reply.error
    assert set(reply.headers["Allow"].split(",")) == allowed


@pytest.mark.parametrize("path", ["", "/versions/1"])
def test_the_state_is_what_the_proto_of_tensorflow_serving_says(server, path):
    reply = server.get(f"/v1/models/retrievegan{path}")
    assert reply.status == 200
    # Read as JSON of the proto: unknown names or values would be refused.
    parsed = json_format.Parse(reply.body, get_model_status_pb2.GetModelStatusResponse())
    (status,) = parsed.model_version_status
    states = get_model_status_pb2.ModelVersionStatus
    assert (status.version, status.state) == (1, states.AVAILABLE)
    assert reply.json == {
        "model_version_status": [
            {
                "version": "1",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }


@pytest.mark.parametrize("path", ["other", "retrievegan/versions/2", "other/metadata"])
def test_the_state_of_what_is_not_there_is_404(server, path):
    reply = server.get(f"/v1/models/{path}")
    assert reply.status == 404 and reply.error


@pytest.mark.parametrize("path", ["", "/versions/1"])
def test_the_metadata_are_the_signatures_of_the_saved_model(server, exported, path):
    reply = server.get(f"/v1/models/retrievegan{path}/metadata")
    assert reply.status == 200
    value = reply.json
    assert value["model_spec"] == {"name": "retrievegan", "signature_name": "", "version": "1"}
    told = get_model_metadata_pb2.SignatureDefMap()
    json_format.ParseDict(value["metadata"]["signature_def"], told)
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((exported.version / "saved_model.pb").read_bytes())
    definitions = saved.meta_graphs[0].signature_def
    assert set(told.signature_def) == set(INPUTS)
    for name in INPUTS:
        assert told.signature_def[name] == definitions[name]
    # As TensorFlow Serving prints protos: what is 0, false or empty is there too.
    shape = value["metadata"]["signature_def"]["signature_def"][ENCODE]["inputs"]["objects"][
        "tensor_shape"
    ]
    objects = str(exported.model.sizes.objects)
    assert shape == {
        "dim": [{"size": "-1", "name": ""}, {"size": objects, "name": ""}],
        "unknown_rank": False,
    }


def test_health_and_readiness(server):
    assert server.get("/healthz").json == {"status": "alive"}
    ready = server.get("/readyz")
    assert (ready.status, ready.json) == (200, {"status": "ready", "version": 1})
    assert server.rest("HEAD", "/readyz").status == 200


@pytest.mark.parametrize("text", ["", "0", "-5", "nan", "inf", "-inf", "soon", "1e999", "5 ms"])
def test_a_time_limit_that_is_not_a_positive_number_is_400(server, good, text):
    reply = server.post(good, headers={"X-Request-Timeout-Ms": text})
    assert reply.status == 400 and "X-Request-Timeout-Ms" in reply.error


@pytest.mark.parametrize("text", ["0.001", "0.5"])
def test_a_tiny_time_limit_is_504(server, good, text):
    for _ in range(5):
        reply = server.post(good, headers={"X-Request-Timeout-Ms": text})
        assert reply.status == 504 and reply.error
    assert server.post(good, headers={"X-Request-Timeout-Ms": "30000"}).status == 200
    assert server.post(good, headers={"X-Request-Timeout-Ms": "1e300"}).status == 200


def test_a_time_limit_that_ends_while_the_request_arrives_is_504(server, good):
    """Its client may send it again, which the 400 of a wrong request would tell it not to do."""
    body = json.dumps(good).encode()
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=30) as connection:
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nX-Request-Timeout-Ms: 100\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:20])
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b'{"error": "no whole request within 0.1 s"}' in answer


@pytest.mark.parametrize("extra, status", [(0, 400), (1, 413)])
def test_more_than_16_mib_is_413(server, extra, status):
    body = b"[" + b" " * (LIMIT - 2 + extra) + b"]"  # JSON, and no request
    reply = server.post(body)
    assert reply.status == status and reply.error
    assert (str(LIMIT) in reply.error) == (status == 413)


def test_what_is_too_large_is_not_kept(server):
    """Neither what says so in its header nor what turns out to be when it has been read."""
    body = b"x" * (LIMIT + 1)
    before = server.rss_mb
    for _ in range(40):
        assert server.post(body).status == 413
        connection = server.connect()
        connection.request("POST", PREDICT, iter([body]), encode_chunked=True)
        assert connection.getresponse().status == 413
        connection.close()
    assert server.rss_mb < before + 100


def test_gzip_is_read(server, good):
    body = json.dumps(good).encode()
    packed = server.post(gzip.compress(body), headers={"Content-Encoding": "gzip"})
    assert packed.status == 200 and packed.body == server.post(body).body


@pytest.mark.parametrize("size, status", [(LIMIT, 400), (LIMIT + 1, 413), (400 * 2**20, 413)])
def test_what_unfolds_beyond_16_mib_is_413(server, size, status):
    before = server.rss_mb
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * 2**20
    packed = [packer.compress(block) for _ in range(size // 2**20)]
    packed += [packer.compress(b" " * (size % 2**20)), packer.flush()]
    bomb = b"".join(packed)
    assert len(bomb) < 2**20
    reply = server.post(bomb, headers={"Content-Encoding": "gzip"})
    assert reply.status == status and reply.error
    assert server.rss_mb < before + 200


@pytest.mark.parametrize(
    "spoil",
    [
        lambda packed: b"no gzip at all",
        lambda packed: b"",
        lambda packed: packed[:-20],
        lambda packed: packed[:-8],  # the whole content, without its checksum
        lambda packed: packed[:-8] + b"\0\0\0\0" + packed[-4:],
        lambda packed: packed[:40] + bytes([packed[40] ^ 255]) + packed[41:],
        lambda packed: packed + b"more",
    ],
)
def test_broken_gzip_is_400(server, good, spoil, new_log):
    packed = gzip.compress(json.dumps(good).encode())
    reply = server.post(spoil(packed), headers={"Content-Encoding": "gzip"})
    assert reply.status == 400 and "gzip" in reply.error
    assert "Traceback" not in new_log()


@pytest.mark.parametrize("encoding", ["utf-8", "identity", "deflate", "other"])
def test_an_encoding_that_it_has_not_does_no_harm(server, good, encoding):
    """TensorFlow Serving looks for gzip in it and for nothing else."""
    assert server.post(good, headers={"Content-Encoding": encoding}).status == 200


@pytest.mark.parametrize("encoding", ["deflate", "br"])
def test_what_is_packed_otherwise_is_400(server, good, encoding):
    packed = zlib.compress(json.dumps(good).encode())
    reply = server.post(packed, headers={"Content-Encoding": encoding})
    assert reply.status == 400 and encoding in reply.error and "gzip" in reply.error


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "identity, gzip"])
def test_gzip_by_any_of_its_names_is_read(server, good, encoding):
    packed = gzip.compress(json.dumps(good).encode())
    assert server.post(packed, headers={"Content-Encoding": encoding}).status == 200
    reply = server.post(good, headers={"Content-Encoding": encoding})
    assert reply.status == 400 and "not gzip" in reply.error


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Accept": "text/html", "Accept-Encoding": "gzip, br"},
        {"Origin": "https://pages.example"},
    ],
)
def test_headers_that_change_nothing(server, good, headers):
    reply = server.post(good, headers=headers)
    assert reply.status == 200 and reply.body == server.post(good).body
    assert "Content-Encoding" not in reply.headers
    assert not [name for name in reply.headers if name.startswith("Access-Control")]


def test_a_body_may_wait_until_it_is_asked_for(server, good):
    body = json.dumps(good).encode()

    def ask(expect: str, size: int, version: str = "1.1") -> tuple[socket.socket, bytes]:
        connection = socket.create_connection(("127.0.0.1", server.rest_port), timeout=30)
        head = f"POST {PREDICT} HTTP/{version}\r\nHost: x\r\nExpect: {expect}\r\n"
        connection.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
        return connection, connection.recv(65536) if version == "1.1" else b""

    connection, first = ask("100-Continue", len(body))
    with connection:
        assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    connection, first = ask("100-continue", LIMIT + 1)  # what would be refused is not asked for
    connection.close()
    assert first.startswith(b"HTTP/1.1 413 ")
    connection, first = ask("other", len(body))
    connection.close()
    assert first.startswith(b"HTTP/1.1 417 ") and b'{"error": "Expect: ' in first
    connection, _ = ask("other", len(body), version="1.0")  # which has no such header
    with connection:
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.0 200 ")


def test_clients_that_leave_in_the_middle_are_not_the_servers_fault(server, tools, good, new_log):
    """Before their body, within it, while the model runs and before they have read the answer."""
    body = json.dumps(good).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    heads = head.encode() + b"\r\n", head.encode() + b"Expect: 100-continue\r\n\r\n"
    sent = (heads[0], heads[0] + body[:99], heads[0] + body, 2 * (heads[0] + body), heads[1])
    counter = re.compile(r'^rgan_requests_total\{protocol="rest".*status="(\w+)"\} (\S+)$', re.M)

    def counts() -> collections.Counter:
        found: collections.Counter = collections.Counter()
        for status, count in counter.findall(server.get(METRICS).body.decode()):
            found[status] += int(float(count))
        return found

    before = counts()
    for content in sent:
        for is_reset in (False, True):
            for pause_s in (0.0, 0.0, 0.005, 0.02):
                connection = socket.create_connection(("127.0.0.1", server.rest_port), timeout=30)
                if is_reset:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.sendall(content)
                time.sleep(pause_s)
                connection.close()
    assert tools.patiently(lambda: server.post(good))[0].status == 200
    told = counts() - before
    assert told["CANCELLED"] > 0 and set(told) <= {"CANCELLED", "OK", "UNAVAILABLE"}, told
    assert "Traceback" not in new_log() and "Error handling" not in new_log()


@pytest.fixture(scope="module")
def pages(exported, start_for_module):
    """A server whose answers pages may read."""
    return start_for_module(exported.folder, "--rest-cors-origin", "*")


def cors_of(reply) -> dict[str, str]:
    return {key: value for key, value in reply.headers.items() if key.startswith("Access-Control")}


@pytest.mark.thorough
def test_pages_may_read_answers_where_that_is_asked_for(pages, good):
    """The headers of TensorFlow Serving's `AddCORSHeaders`, and those that only we have."""
    expected = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "POST, GET",
        "Access-Control-Allow-Headers": "Content-Type, X-Request-Timeout-Ms",
        "Access-Control-Expose-Headers": "Retry-After",
    }
    origin = {"Origin": "https://pages.example"}
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    preflight = pages.rest("OPTIONS", PREDICT, headers=asked)
    assert (preflight.status, preflight.body, cors_of(preflight)) == (200, b"", expected)
    for reply, status in (
        (pages.post(good, headers=origin), 200),
        (pages.post(b"{", headers=origin), 400),
        (pages.get("/v1/models/retrievegan"), 200),
        (pages.get("/v1/nowhere"), 404),
        (pages.rest("PUT", PREDICT, b"{}"), 405),
    ):
        assert reply.status == status and cors_of(reply) == expected
    for wrong in ({}, {"Origin": "null"}):
        reply = pages.rest("OPTIONS", PREDICT, headers=wrong)
        assert reply.status == 400 and "Origin" in reply.error and cors_of(reply) == expected
    assert cors_of(pages.get("/healthz")) == {}


def test_a_refused_request_does_not_break_the_connection(server, good):
    connection = server.connect()
    try:
        connection.connect()
        number = connection.sock.fileno()
        wrong = {**good, "inputs": {**good["inputs"], "mode": [7, 0]}}
        for body, status in [(good, 200), (wrong, 400), (b"{", 400), (b"\xff", 400), (good, 200)]:
            assert server.post(body, connection=connection).status == status
        assert server.get("/nowhere", connection=connection).status == 404
        assert server.get("/healthz", connection=connection).status == 200
        assert connection.sock is not None and connection.sock.fileno() == number
    finally:
        connection.close()


def test_a_chunked_request_is_read(server, good):
    body = json.dumps(good).encode()
    connection = server.connect()
    parts = iter([body[:10], body[10:500], body[500:]])
    connection.request("POST", PREDICT, parts, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 200 and response.read() == server.post(body).body
    connection.close()


@pytest.mark.parametrize(
    "change, said",
    [
        ({"objects": None}, "objects: is missing"),
        ({"mode": [0]}, "mode: has 1 rows and objects 2"),
        ({"mode": 0}, "mode: must be a list"),
        ({"mode": []}, "mode: has 0 rows"),
        ({"mode": [0.5, 0]}, "mode: must be int32"),
        ({"mode": [True, 0]}, "mode: must be int32"),
        ({"mode": ["0", "0"]}, "mode: must be int32"),
        ({"mode": [None, 0]}, "mode: must be int32"),
        (
            {"mode": [0, 6]},
            "5 (nearest_with_repeats); wrong in row 1",
        ),
        ({"seed": [2**31, 0]}, "seed: a number does not fit int32"),
        ({"seed": [0, -1]}, "seed: must not be negative; wrong in row 1"),
        ({"seed": [10**400, 0]}, "seed: must be int32"),
        ({"temperature": [1, 100.5]}, "temperature: must be in (0, 100]; wrong in row 1"),
        ({"temperature": [float("nan"), 1]}, "temperature: must be in (0, 100]; wrong in row 0"),
        ({"temperature": [float("inf"), 1]}, "temperature: must be in (0, 100]; wrong in row 0"),
        ({"objects": [[2] * 5] * 2}, "objects: has shape [2, 5], needs [batch, 6]"),
        ({"objects": [[2] * 6, [2] * 5]}, "objects: must be numbers in equal lists"),
        ({"objects": [[0] * 6] * 2}, "objects: at least one object is needed; wrong in row 0"),
        ({"objects": [[2] * 6, [99] * 6]}, "objects: every id must be 0 or in [2, "),
        ({"objects": [[2] * 6] * 9}, "objects: has 9 rows; a request has 1 to 8"),
        ({"boxes_given": [[0] * 6] * 2}, "boxes_given: must be bool"),
    ],
)
def test_the_message_names_the_field_and_what_it_needs(server, good, change, said):
    inputs = {**good["inputs"], **change}
    body = {**good, "inputs": {name: value for name, value in inputs.items() if value is not None}}
    reply = server.post(body)
    assert reply.status == 400 and said in reply.error, reply.error


def test_columns_that_the_model_has_not_are_not_looked_at(server, tools, good):
    more = {**good, "inputs": {**good["inputs"], "other": [1, 1, 1]}, "id": "x"}
    assert server.post(more).body == server.post(good).body
    row = tools.rows(tools.example(GENERATE, 1))[0]
    reply = server.post({"instances": [{**row, "other": 1}]})
    assert reply.status == 400 and "'other': no such field" in reply.error


@pytest.mark.parametrize(
    "body, said",
    [
        (b"", "JSON"),
        (b"[]", "must be an object"),
        (b"{}", 'either "inputs"'),
        (b'{"inputs": {}, "instances": []}', 'either "inputs"'),
        (b'{"inputs": []}', "inputs: must be an object"),
        (b'{"instances": []}', "at least one row"),
        (b'{"instances": [1]}', "instances[0]"),
        (b'{"instances": [{"mode": 0}, {"seed": 0}]}', "instances[1]"),
        (b'{"signature_name": 5, "inputs": {}}', "signature_name"),
        (b'{"inputs": {}, "other": 1, "other": 2}', "'other' is given twice"),
        (b'{"signature_name": null, "inputs": {}}', "signature_name"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"inputs": {"mode": [' + b"9" * 10_000 + b"]}}", "JSON"),
    ],
)
def test_a_body_that_is_not_a_request_is_400(server, body, said):
    reply = server.post(body)
    assert reply.status == 400 and said in reply.error


def test_strings_in_the_place_of_numbers_take_no_memory(server, good):
    """NumPy makes of them an array with the length of the longest for each: here 8 GB."""
    before = server.rss_mb
    text = "x" * 1_000_000
    for objects in ([text] + [""] * 2000, [[text] + [""] * 300] * 7, [[text] * 6] * 2):
        reply = server.post({**good, "inputs": {**good["inputs"], "objects": objects}})
        assert reply.status == 400 and reply.error.startswith("objects: ")
    assert server.rss_mb < before + 300


def test_a_large_request_does_not_hold_up_others(server, tools):
    """Its lists are read beside the event loop, which goes on."""
    fields = tools.example("generate_with_patches", 8)
    body = json.dumps(
        {"signature_name": "generate_with_patches", "inputs": tools.columns(fields)}
    ).encode()
    assert len(body) > 10**6 and server.post(body).status == 200
    longest = 0.0
    connections = [server.connect() for _ in range(4)]
    for connection in connections:
        connection.request("POST", PREDICT, body)
    watcher = server.connect()
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        started = time.monotonic()
        assert server.get("/healthz", connection=watcher).status == 200
        longest = max(longest, time.monotonic() - started)
    statuses = {connection.getresponse().status for connection in connections}
    assert 200 in statuses <= {200, 503}
    assert longest < 5.0
    for connection in (watcher, *connections):
        connection.close()


def test_a_full_queue_is_503_with_when_to_come_again(server, tools, good):
    """What was refused succeeds when it is sent again."""
    expected = server.post(good).body
    body = json.dumps({"inputs": tools.columns(tools.example(GENERATE, 8))}).encode()
    statuses = []
    for _ in range(20):
        connections = [server.connect() for _ in range(12)]  # 96 rows, where 16 may wait
        for connection in connections:
            connection.request("POST", PREDICT, body)
        for connection in connections:
            response = connection.getresponse()
            content = response.read()
            statuses.append(response.status)
            if response.status == 503:
                assert int(response.getheader("Retry-After")) >= 1
                assert list(json.loads(content)) == ["error"]
            connection.close()
        if 503 in statuses:
            break
    assert set(statuses) == {200, 503}
    assert tools.patiently(lambda: server.post(good))[0].body == expected


def test_retrieving_twice_gives_the_same_bytes(server, tools):
    body = {
        "signature_name": RETRIEVE_ONLY,
        "inputs": tools.columns(tools.example(RETRIEVE_ONLY, 4, seed=np.arange(4))),
    }
    assert server.post(body).body == server.post(body).body
