"""Servers and networks that misbehave, and arguments that no socket takes."""

from __future__ import annotations

import shutil
import socket
import threading
import time

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2

from export.client import connect
from export.client.replies import check_values
from export.client.rest_transport import RestTransport
from export.service_errors import BadReply, DeadlineExceeded, Overloaded, Unreachable
from export.signatures import OUTPUTS, RETRIEVE_ONLY, Sizes
from rgan_tf.errors import BadInput
from tests.export.client.scripted import good, grpc_good, grpc_refuse, reply_arrays

_DRIPS = {
    "headers": b"HTTP/1.1 200 OK\r\nX-Slow: ",
    "size of a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;",
}


@pytest.mark.parametrize("part", _DRIPS)
def test_no_part_of_an_answer_may_drip_past_the_deadline(rest, arrays, part):
    let_go = threading.Event()

    def drip(handler):
        handler.wfile.write(_DRIPS[part])
        for _ in range(60):  # 6 s, where the whole call has half of one
            try:
                handler.wfile.write(b"y")
            except OSError:
                break
            if let_go.wait(0.1):
                break
        handler.close_connection = True

    rest.script.append(drip)
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        rest.connect(timeout_s=0.5).predict(RETRIEVE_ONLY, arrays)
    took = time.monotonic() - start
    let_go.set()
    assert took < 3.0


def test_a_server_that_does_not_read_does_not_outlast_the_deadline(contract):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        transport = RestTransport("127.0.0.1", port, "m", None, contract)
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            transport._post(b"x" * 2**26, start + 0.3)  # more than a socket takes in
        assert time.monotonic() - start < 2.0
        transport.close()


def test_threads_that_come_and_go_share_a_connection(rest, contract, arrays):
    ports = []

    def noting(handler):
        ports.append(handler.client_address[1])
        good(contract)(handler)

    rest.script += [noting] * 5
    client = rest.connect(is_retrying=False)
    for _ in range(5):
        thread = threading.Thread(target=client.predict, args=(RETRIEVE_ONLY, arrays))
        thread.start()
        thread.join()
    assert len(ports) == 5 and len(set(ports)) == 1


def test_what_the_server_got_is_not_sent_twice(rest, contract, arrays):
    """It may have worked on it: only the client's own repeating may decide that."""

    def die(handler):
        handler.close_connection = True

    rest.script += [good(contract), die, good(contract)]
    client = rest.connect(is_retrying=False)
    client.predict(RETRIEVE_ONLY, arrays)
    with pytest.raises(Unreachable):
        client.predict(RETRIEVE_ONLY, arrays)
    assert len(rest.seen) == 2
    rest.script[:] = [good(contract), die, good(contract)]
    repeating = rest.connect()
    repeating.predict(RETRIEVE_ONLY, arrays)
    assert repeating.predict(RETRIEVE_ONLY, arrays)
    assert len(rest.seen) == 5


@pytest.mark.parametrize("timeout_s", [float("nan"), float("inf"), 1e10])
def test_times_that_no_socket_takes_are_refused(rest, rpc, contract, arrays, timeout_s):
    for server in (rest, rpc):
        with pytest.raises(BadInput, match="timeout"):
            server.connect(timeout_s=timeout_s)
        with pytest.raises(BadInput, match="timeout"):
            server.connect().predict(RETRIEVE_ONLY, arrays, timeout_s=timeout_s)
    with pytest.raises(DeadlineExceeded):
        rest.connect().predict(RETRIEVE_ONLY, arrays, timeout_s=0.0)
    assert not rest.seen and not rpc.seen


@pytest.mark.parametrize("host", ["a..b", "a" * 70, "bad host"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_hosts_that_cannot_be_looked_up_are_refused(exported, protocol, host):
    with pytest.raises(BadInput, match="must be http://HOST:PORT"):
        connect(f"{protocol}://{host}:80", exported.folder)


@pytest.mark.parametrize("name", ["", "a\udcff"])
def test_names_that_no_model_has_are_refused(exported, name):
    with pytest.raises(BadInput, match="^name "):
        connect("http://127.0.0.1:80", exported.folder, name=name)


def test_a_version_is_never_made_up(exported, tmp_path, monkeypatch, rest, contract, arrays):
    for name in ("copy", "3"):
        shutil.copytree(exported.version / "assets.extra", tmp_path / name / "assets.extra")
    (tmp_path / "current").symlink_to("3")
    with pytest.raises(BadInput, match="named by the number"):
        connect(rest.url, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "3")
    rest.script += [good(contract)] * 3
    for place, options in (
        (".", {}),
        (tmp_path / "current", {}),
        (tmp_path / "copy", {"is_pinned": False}),
    ):
        with connect(rest.url, place, **options) as client:
            client.predict(RETRIEVE_ONLY, arrays)
    pinned = "/v1/models/retrievegan/versions/3:predict"
    assert [request.path for request in rest.seen] == [
        pinned,
        pinned,
        "/v1/models/retrievegan:predict",
    ]


def test_lists_do_as_well_as_arrays(rest, rpc, contract, arrays):
    rest.script.append(good(contract))
    rpc.script.append(grpc_good(contract))
    lists = {name: value.tolist() for name, value in arrays.items()}
    for server in (rest, rpc):
        assert server.connect(is_retrying=False).predict(RETRIEVE_ONLY, lists)


@pytest.mark.parametrize(
    "field, value",
    [("patch_ids", "patches"), ("patch_ids", -3), ("order", "objects"), ("order", -2)],
)
def test_references_to_what_is_not_there_name_the_field(rest, rpc, contract, arrays, field, value):
    bad = getattr(contract.sizes, value) if isinstance(value, str) else value
    array = reply_arrays(RETRIEVE_ONLY, contract.sizes, 2)[field]
    array[1, 0] = bad
    _check_refused(rest, rpc, contract, arrays, field, array)
    array[1, 0] = bad - 1 if bad > 0 else bad + 1  # the last that is there
    rest.script.append(good(contract, **{field: array}))
    assert rest.connect().predict(RETRIEVE_ONLY, arrays)[field][1, 0] == array[1, 0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_boxes_that_are_not_numbers_name_the_field(rest, rpc, contract, arrays, value):
    boxes = reply_arrays(RETRIEVE_ONLY, contract.sizes, 2)["boxes"]
    boxes[1, 0, 0] = value
    _check_refused(rest, rpc, contract, arrays, "boxes", boxes)


def _check_refused(rest, rpc, contract, arrays, field, array):
    rest.script.append(good(contract, **{field: array}))
    rpc.script.append(grpc_good(contract, **{field: array}))
    for server in (rest, rpc):
        with pytest.raises(BadReply, match=field):
            server.connect().predict(RETRIEVE_ONLY, arrays)


def test_a_small_answer_that_stands_for_a_huge_one_is_not_unpacked(rpc, arrays):
    def huge(context):
        response = predict_pb2.PredictResponse()
        for field in OUTPUTS[RETRIEVE_ONLY]:
            proto = response.outputs[field.name]
            proto.dtype = 1
            proto.float_val.append(1.0)
            proto.tensor_shape.dim.add(size=10**13)
        return response

    rpc.script.append(huge)
    with pytest.raises(BadReply, match=r"\[10000000000000\]"):
        rpc.connect().predict(RETRIEVE_ONLY, arrays)


def test_a_connection_that_breaks_over_grpc_does_not_count_as_a_busy_server(exported, arrays):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up():
            connection, _ = listening.accept()
            # The preface and settings of HTTP/2, so that the call goes out; then the end.
            connection.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            while RETRIEVE_ONLY.encode() not in connection.recv(2**16):
                pass
            connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        url = f"grpc://127.0.0.1:{listening.getsockname()[1]}"
        with connect(url, exported.folder, is_retrying=False, timeout_s=5.0) as client:
            with pytest.raises(Unreachable, match="127.0.0.1"):
                client.predict(RETRIEVE_ONLY, arrays)


def test_a_busy_server_that_speaks_of_connections_is_busy(rpc, arrays):
    rpc.script.append(grpc_refuse(grpc.StatusCode.UNAVAILABLE, "too many clients connect"))
    with pytest.raises(Overloaded):
        rpc.connect(is_retrying=False).predict(RETRIEVE_ONLY, arrays)


def test_rows_of_an_answer_are_the_callers(rest, rpc, contract, arrays):
    """Both protocols give the same arrays, with a value of its own in each place."""
    reply = reply_arrays(RETRIEVE_ONLY, contract.sizes, 2)
    reply["boxes"] = np.linspace(0, 1, reply["boxes"].size, dtype=np.float32).reshape(
        reply["boxes"].shape
    )
    reply["patch_crops_bytes"][1, 0] = b"\x00\xff"
    rest.script.append(good(contract, **reply))
    rpc.script.append(grpc_good(contract, **reply))
    replies = [server.connect().predict(RETRIEVE_ONLY, arrays) for server in (rest, rpc)]
    for found in replies:
        for name, value in reply.items():
            assert found[name].dtype == value.dtype
            np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("name", ["candidate_ids", "neighbour_ids"])
def test_patches_that_the_model_does_not_have_are_not_believed(name):
    sizes = Sizes(3, 2, 8, 16, 16, 4, 5, 6, 3, 2, candidates=2)
    check_values({name: np.array([[4, -1]], np.int32)}, sizes)
    for wrong in (5, -2):
        with pytest.raises(BadReply, match=rf"{name} has values outside \[-1, 5\)"):
            check_values({name: np.array([[0, wrong]], np.int32)}, sizes)
