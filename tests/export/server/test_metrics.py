"""What the server counts, as Prometheus reads it."""

from __future__ import annotations

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from export.signatures import ENCODE, GENERATE, INPUTS

PATH = "/monitoring/prometheus/metrics"


@pytest.fixture
def scrape(server):
    """The samples of the server: value by name and labels."""

    def read() -> dict[tuple, float]:
        reply = server.get(PATH)
        assert reply.status == 200 and reply.headers["Content-Type"].startswith("text/plain")
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(reply.body.decode())
            for sample in family.samples
        }

    return read


@pytest.fixture
def changes(scrape):
    """What has changed since the test began, of the counters of this name."""
    before = scrape()

    def read(name: str) -> dict[tuple, float]:
        return {
            labels: value - before.get((kind, *labels), 0.0)
            for (kind, *labels), value in ((key, value) for key, value in scrape().items())
            if kind == name and value != before.get((kind, *labels), 0.0)
            for labels in [tuple(labels)]
        }

    return read


def _request(protocol: str, signature: str, status: str) -> tuple:
    labels = {"protocol": protocol, "signature": signature, "status": status}
    return tuple(sorted(labels.items()))


def test_every_request_is_counted_once_by_what_became_of_it(server, tools, changes):
    body = {"signature_name": ENCODE, "inputs": tools.columns(tools.example(ENCODE, 2))}
    for _ in range(3):
        assert server.post(body).status == 200
    image = {"inputs": tools.columns(tools.example(GENERATE, 1))}
    assert server.post(image).status == 200
    assert server.post({**image, "signature_name": ""}).status == 200
    assert server.post({**body, "inputs": {}}).status == 400
    assert server.post({**body, "signature_name": "other"}).status == 400
    assert server.post(b"{").status == 400
    assert server.post(body, "/v1/models/other:predict").status == 404
    assert server.post(body, headers={"X-Request-Timeout-Ms": "0.001"}).status == 504
    assert server.post(b" " * (16 * 2**20 + 1)).status == 413
    assert server.get("/v1/models/retrievegan").status == 200  # no prediction

    for _ in range(2):
        server.predict_grpc(GENERATE, tools.example(GENERATE, 1))
    for change, value in (("mode", 7), ("seed", -1)):
        with pytest.raises(grpc.RpcError):
            server.predict_grpc(GENERATE, tools.example(GENERATE, 1, **{change: value}))
    request = tools.proto_of(ENCODE, tools.example(ENCODE, 1))
    request.model_spec.version.value = 7
    with pytest.raises(grpc.RpcError):
        server.prediction.Predict(request)

    counted = changes("rgan_requests_total")
    # Its time may be over before its signature was read.
    late = [
        counted.pop(_request("rest", name, "DEADLINE_EXCEEDED"), 0) for name in (ENCODE, "unknown")
    ]
    assert sum(late) == 1
    assert counted == {
        _request("rest", ENCODE, "OK"): 3,
        _request("rest", GENERATE, "OK"): 2,
        _request("rest", ENCODE, "INVALID_ARGUMENT"): 1,
        _request("rest", "unknown", "INVALID_ARGUMENT"): 2,
        _request("rest", "unknown", "NOT_FOUND"): 1,
        _request("rest", "unknown", "RESOURCE_EXHAUSTED"): 1,
        _request("grpc", GENERATE, "OK"): 2,
        _request("grpc", GENERATE, "INVALID_ARGUMENT"): 2,
        _request("grpc", ENCODE, "NOT_FOUND"): 1,
    }
    # The time of what succeeded, and of nothing else.
    assert changes("rgan_request_seconds_count") == {
        (("protocol", "rest"), ("signature", ENCODE)): 3,
        (("protocol", "rest"), ("signature", GENERATE)): 2,
        (("protocol", "grpc"), ("signature", GENERATE)): 2,
    }
    seconds = changes("rgan_request_seconds_sum")
    assert all(0 < value < 60 for value in seconds.values())


def test_the_rows_of_batches_are_counted(server, tools, changes):
    for rows in (1, 3, 8, 8):
        server.predict_rest(ENCODE, tools.example(ENCODE, rows))
    with pytest.raises(grpc.RpcError):
        server.predict_grpc(GENERATE, tools.example(GENERATE, 5, mode=9))  # refused, not run
    assert changes("rgan_batch_rows_count") == {(): 4}
    assert changes("rgan_batch_rows_sum") == {(): 20}
    up_to = {
        dict(labels)["le"]: value for labels, value in changes("rgan_batch_rows_bucket").items()
    }
    assert up_to == {
        "1.0": 1, "2.0": 1, "3.0": 2, "4.0": 2, "5.0": 2, "6.0": 2, "7.0": 2, "8.0": 4, "+Inf": 4,
    }  # fmt: skip


def test_what_waits_and_which_version_answers(scrape):
    samples = scrape()
    assert samples["rgan_waiting_rows",] == 0
    assert samples["rgan_model_version",] == 1


def test_names_that_clients_make_up_make_no_labels(server, tools, scrape):
    """Else anybody could fill the server's memory, and that of everybody who reads its counters."""
    body = {"inputs": tools.columns(tools.example(ENCODE, 1))}
    request = tools.proto_of(ENCODE, tools.example(ENCODE, 1))
    for number in range(30):
        name = f"made_up_{number}"
        assert server.post({**body, "signature_name": name}).status == 400
        assert server.post(body, f"/v1/models/{name}:predict").status == 404
        request.model_spec.signature_name = name
        with pytest.raises(grpc.RpcError):
            server.prediction.Predict(request)
    names = {dict(labels).get("signature") for _, *labels in scrape()} - {None}
    assert names <= {*INPUTS, "unknown"} and "unknown" in names
    assert "made_up" not in server.get(PATH).body.decode()
    assert len(scrape()) < 500
