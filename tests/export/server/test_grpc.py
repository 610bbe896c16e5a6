"""The gRPC services, spoken to by the stubs that TensorFlow Serving's own package has."""

from __future__ import annotations

import struct
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from grpc_health.v1 import health_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from export.server.tensors import read_protos
from export.signatures import ENCODE, GENERATE, GENERATE_WITH_PATCHES, INPUTS, OUTPUTS
from export.wire import TensorSpec

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


@pytest.fixture
def refusal(server):
    """Sends a request (proto or bytes) and returns the code and the message of its refusal."""

    def send(request, method: str = "Predict", timeout: float = 60.0):
        data = request if isinstance(request, bytes) else request.SerializeToString()
        with pytest.raises(grpc.RpcError) as caught:
            server.raw(data, method, timeout)
        message = caught.value.details()
        assert message and "\n" not in message and "{{node" not in message, message
        return caught.value.code(), message

    return send


@pytest.fixture
def request_of(tools):
    """A valid request of two rows."""

    def make(endpoint: str = GENERATE, rows: int = 2):
        return tools.proto_of(endpoint, tools.example(endpoint, rows))

    return make


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("endpoint", INPUTS)
def test_every_endpoint_answers_with_the_fields_of_the_contract(server, tools, endpoint, rows):
    reply = server.prediction.Predict(tools.proto_of(endpoint, tools.example(endpoint, rows)))
    assert reply.model_spec.name == tools.name
    assert reply.model_spec.version.value == 1
    assert reply.model_spec.signature_name == endpoint
    assert set(reply.outputs) == {field.name for field in OUTPUTS[endpoint]}
    for field in OUTPUTS[endpoint]:
        proto = reply.outputs[field.name]
        wanted = tf.string if field.dtype == "bytes" else tf.as_dtype(field.dtype)
        assert proto.dtype == wanted.as_datatype_enum, field.name
        shape = tuple(dimension.size for dimension in proto.tensor_shape.dim)
        assert shape == (rows, *tools.sizes.shape_of(field)), field.name


def test_without_a_signature_the_default_one_answers(server, request_of):
    request = request_of()
    request.model_spec.signature_name = ""
    reply = server.prediction.Predict(request)
    assert reply.model_spec.signature_name == GENERATE
    assert reply.outputs == server.prediction.Predict(request_of()).outputs


def test_the_output_filter_leaves_what_it_names(server, request_of):
    request = request_of()
    whole = server.prediction.Predict(request)
    request.output_filter.extend(["patch_ids", "order"])
    reply = server.prediction.Predict(request)
    assert set(reply.outputs) == {"patch_ids", "order"}
    assert all(reply.outputs[name] == whole.outputs[name] for name in reply.outputs)


def test_an_unknown_output_is_refused(refusal, request_of):
    request = request_of()
    request.output_filter.extend(["order", "other"])
    code, message = refusal(request)
    assert code is INVALID and "output_filter: 'other'" in message and "patch_ids" in message
    del request.output_filter[:]
    request.output_filter.extend(["order", "patch_ids", "order"])
    code, message = refusal(request)
    assert code is INVALID and "output_filter: names an output twice" in message


def test_the_version_that_is_named_answers_or_is_not_found(server, refusal, request_of):
    request = request_of()
    request.model_spec.version.value = 1
    assert server.prediction.Predict(request).model_spec.version.value == 1
    for number in (0, 2, -1, 2**63 - 1, -(2**63)):
        request.model_spec.version.value = number
        code, message = refusal(request)
        assert code is NOT_FOUND and str(number) in message


@pytest.mark.parametrize("label", ["", "stable", "a\nb", "x" * 5000, "\N{SNOWMAN}"])
def test_versions_have_no_labels(refusal, request_of, label):
    request = request_of()
    request.model_spec.version_label = label
    code, message = refusal(request)
    assert code is NOT_FOUND and "label" in message and len(message) < 300


def test_no_model_is_invalid(server, refusal, request_of):
    request = request_of()
    request.model_spec.name = ""
    code, message = refusal(request)
    assert code is INVALID and "model_spec" in message
    with pytest.raises(grpc.RpcError) as caught:
        server.models.GetModelStatus(get_model_status_pb2.GetModelStatusRequest())
    assert caught.value.code() is INVALID and "model_spec" in caught.value.details()


@pytest.mark.parametrize("name", ["other", "x" * 5000])
def test_another_model_is_not_found(refusal, request_of, name):
    request = request_of()
    request.model_spec.name = name
    code, message = refusal(request)
    assert code is NOT_FOUND and "retrievegan" in message and len(message) < 300


def test_another_signature_is_refused_and_the_names_are_told(refusal, request_of):
    request = request_of()
    request.model_spec.signature_name = "other"
    code, message = refusal(request)
    assert code is INVALID and "'other'" in message and all(name in message for name in INPUTS)


def _dim(size):
    return tf.TensorShape([2]).as_proto().Dim(size=size)


@pytest.mark.parametrize(
    "field, change, said",
    [
        ("objects", lambda p: setattr(p, "dtype", tf.int64.as_datatype_enum), "needs int32"),
        ("objects", lambda p: setattr(p, "dtype", 0), "needs int32"),
        ("objects", lambda p: setattr(p, "dtype", 9999), "type number 9999"),
        ("boxes", lambda p: setattr(p, "dtype", tf.float64.as_datatype_enum), "needs float32"),
        ("objects", lambda p: p.tensor_shape.dim.pop(), "needs [batch, 6]"),
        ("objects", lambda p: p.tensor_shape.dim.add(size=1), "needs [batch, 6]"),
        ("objects", lambda p: p.tensor_shape.Clear(), "needs [batch, 6]"),
        ("objects", lambda p: p.tensor_shape.dim.extend([_dim(1)] * 3000), "needs [batch, 6]"),
        ("objects", lambda p: setattr(p.tensor_shape, "unknown_rank", True), "needs [batch, 6]"),
        ("objects", lambda p: setattr(p.tensor_shape.dim[0], "size", 9), "has 9 rows"),
        ("objects", lambda p: setattr(p.tensor_shape.dim[0], "size", 0), "content does not fill"),
        ("objects", lambda p: setattr(p.tensor_shape.dim[0], "size", -1), "has -1 rows"),
        ("objects", lambda p: setattr(p.tensor_shape.dim[0], "size", 2**62), "a request has 1 to"),
        ("objects", lambda p: setattr(p.tensor_shape.dim[1], "size", -6), "needs [batch, 6]"),
        ("objects", lambda p: setattr(p.tensor_shape.dim[1], "size", 2**40), "needs [batch, 6]"),
        ("objects", lambda p: setattr(p, "tensor_content", p.tensor_content[:-1]), "content"),
        (
            "objects",
            lambda p: setattr(p, "tensor_content", b"\0" * 52),
            "content",
        ),
        ("objects", lambda p: setattr(p, "tensor_content", b"\1"), "content does not fill"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused_by_its_name(
    refusal, request_of, field, change, said
):
    request = request_of()
    change(request.inputs[field])
    code, message = refusal(request)
    assert code is INVALID and message.startswith(f"{field}: ") and said in message, message


def test_fields_have_the_same_rows(refusal, request_of, tools):
    request = request_of()
    request.inputs["mode"].CopyFrom(tf.make_tensor_proto(np.zeros(1, np.int32)))
    assert refusal(request) == (INVALID, "mode: has 1 rows and objects 2; they must be equal")
    nothing = {name: value[:0] for name, value in tools.example(GENERATE, 1).items()}
    assert refusal(tools.proto_of(GENERATE, nothing))[0] is INVALID


def test_values_in_their_own_list_are_as_good_as_raw_ones(server, tools):
    """What clients in other languages send; one value less means that the last is repeated."""
    fields = tools.example(GENERATE_WITH_PATCHES, 2)
    expected = server.prediction.Predict(tools.proto_of(GENERATE_WITH_PATCHES, fields))
    request = tools.proto_of(GENERATE_WITH_PATCHES, fields)
    lists = {"bool": "bool_val", "int32": "int_val", "uint8": "int_val", "float32": "float_val"}
    for name, value in fields.items():
        proto = request.inputs[name]
        proto.ClearField("tensor_content")
        values = getattr(proto, lists[value.dtype.name])
        del values[:]
        values.extend(value.ravel().tolist())
    assert server.prediction.Predict(request).outputs == expected.outputs
    boxes_given = request.inputs["boxes_given"].bool_val
    assert boxes_given[-1] == boxes_given[-2]
    del boxes_given[-1]
    assert server.prediction.Predict(request).outputs == expected.outputs


@pytest.mark.parametrize("number", [1, 4_000_000])
def test_more_values_than_the_shape_has_are_refused_at_once(refusal, request_of, number):
    request = request_of()
    proto = request.inputs["objects"]
    proto.ClearField("tensor_content")
    proto.int_val.extend([2] * (12 + number))
    code, message = refusal(request)
    assert code is INVALID and f"objects: has {12 + number} values" in message


@pytest.mark.parametrize("value", [256, -1, 2**31 - 1])
def test_a_value_that_does_not_fit_a_byte_is_not_cut_to_one(refusal, request_of, value):
    request = request_of(GENERATE_WITH_PATCHES)
    proto = request.inputs["own_patches"]
    proto.ClearField("tensor_content")
    proto.int_val.append(value)
    code, message = refusal(request)
    assert code is INVALID and message.startswith("own_patches: ")


def test_any_byte_but_0_is_true(server, tools):
    fields = tools.example(GENERATE, 2)
    request = tools.proto_of(GENERATE, fields)
    raw = fields["boxes_given"].tobytes()
    assert b"\1" in raw
    request.inputs["boxes_given"].tensor_content = raw.replace(b"\1", b"\xfe")
    expected = server.prediction.Predict(tools.proto_of(GENERATE, fields))
    assert server.prediction.Predict(request).outputs == expected.outputs
    # What other code makes of such a byte is not defined, so that the model must not see it.
    specs = {"boxes_given": TensorSpec("bool", fields["boxes_given"].shape[1:])}
    inputs = {"boxes_given": request.inputs["boxes_given"]}
    read = read_protos(inputs, specs, max_rows=8)["boxes_given"]
    assert read.dtype == bool and read.tobytes() == raw


def test_unknown_and_missing_fields_are_named(refusal, request_of):
    request = request_of()
    request.inputs["other"].CopyFrom(request.inputs["mode"])
    code, message = refusal(request)
    assert code is INVALID and message.startswith("'other': no such field")
    request = request_of()
    del request.inputs["temperature"]
    assert refusal(request) == (INVALID, "temperature: is missing")
    request = request_of(ENCODE)
    request.model_spec.signature_name = GENERATE
    assert refusal(request)[0] is INVALID


@pytest.mark.parametrize(
    "field, value, said",
    [
        ("mode", 6, "5 (nearest_with_repeats); wrong in row 0"),
        ("seed", -1, "seed: must not be negative; wrong in row 0"),
        ("temperature", float("nan"), "temperature: must be in (0, 100]; wrong in row 0"),
        ("temperature", float("inf"), "temperature: must be in (0, 100]; wrong in row 0"),
        ("patch_ids", 10**6, "patch_ids: must be -1 or in [0, 132); wrong in row 0"),
        ("objects", -(2**31), "objects: every id must be 0 or in [2, 22); wrong in row 0"),
        ("triples", 2**31 - 1, "triples: subject and object must be positions in [0, 6)"),
    ],
)
def test_what_the_model_refuses_is_said_without_its_insides(refusal, tools, field, value, said):
    fields = tools.example(GENERATE, 1, **{field: value})
    code, message = refusal(tools.proto_of(GENERATE, fields))
    assert code is INVALID and said in message, message


@pytest.mark.parametrize("method", ["Predict", "GetModelMetadata"])
@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"GET / HTTP/1.1\r\n\r\n"])
def test_bytes_that_are_not_a_request_are_invalid(refusal, method, data):
    code, message = refusal(data, method)
    assert (
        code is INVALID
        and message == f"not a {method.removeprefix('Get')}Request"
        or (message == f"not a {method}Request")
    )


def test_an_empty_request_names_no_model(refusal):
    assert refusal(b"")[0] is INVALID


def test_more_than_16_mib_is_resource_exhausted(refusal, server, request_of):
    assert refusal(b"\0" * (16 * 2**20 + 1))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    server.prediction.Predict(request_of())


def test_what_unfolds_beyond_16_mib_is_resource_exhausted(server, request_of):
    before = server.rss_mb
    call = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\0" * (100 * 2**20), compression=grpc.Compression.Gzip, timeout=60)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert server.rss_mb < before + 150
    call(request_of().SerializeToString(), compression=grpc.Compression.Gzip, timeout=60)


def test_a_deadline_that_is_over_is_deadline_exceeded(refusal, request_of):
    started = time.monotonic()
    assert refusal(request_of(), timeout=0.002)[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 10.0


def test_clients_that_leave_while_they_are_answered_are_not_the_servers_fault(
    server, tools, request_of, new_log
):
    """Deadlines and cancelled calls at the moment of the answer; the others keep it busy."""
    sent = [
        server.prediction.Predict.future(request_of(), timeout=0.001 * (1 + number % 60))
        for number in range(960)
    ]
    for call in sent[::3]:
        call.cancel()
    codes = {call.code() for call in sent}
    assert grpc.StatusCode.DEADLINE_EXCEEDED in codes
    assert codes <= {
        grpc.StatusCode.OK,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
    }
    # Their rows may wait still: the server hears of an end later than the client that ends.
    tools.patiently(lambda: server.prediction.Predict(request_of()))
    assert "Traceback" not in new_log()


def test_the_metadata_are_the_signatures_of_the_saved_model(server, exported):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "retrievegan"
    reply = server.prediction.GetModelMetadata(request)
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("retrievegan", 1)
    request.metadata_field.append("signature_def")
    assert server.prediction.GetModelMetadata(request) == reply
    told = get_model_metadata_pb2.SignatureDefMap()
    assert list(reply.metadata) == ["signature_def"]
    assert reply.metadata["signature_def"].Unpack(told)
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((exported.version / "saved_model.pb").read_bytes())
    definitions = saved.meta_graphs[0].signature_def
    assert set(told.signature_def) == set(INPUTS)
    for name in INPUTS:
        assert told.signature_def[name] == definitions[name]
    # The other protocol says the same.
    over_rest = get_model_metadata_pb2.SignatureDefMap()
    metadata = server.get("/v1/models/retrievegan/metadata").json["metadata"]
    assert json_format.ParseDict(metadata["signature_def"], over_rest) == told


@pytest.mark.parametrize("fields", [[], ["other"], ["signature_def", "other"]])
def test_other_metadata_are_refused(refusal, fields):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "retrievegan"
    code, message = refusal(request, "GetModelMetadata")
    assert code is INVALID and "metadata_field" in message and "signature_def" in message


def test_metadata_of_what_is_not_there_are_not_found(refusal):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "other"
    assert refusal(request, "GetModelMetadata")[0] is NOT_FOUND
    request.model_spec.name = "retrievegan"
    request.model_spec.version.value = 7
    assert refusal(request, "GetModelMetadata")[0] is NOT_FOUND


def test_the_state_of_the_versions(server):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "retrievegan"
    for pinned in (False, True):
        if pinned:
            request.model_spec.version.value = 1
        (status,) = server.models.GetModelStatus(request).model_version_status
        assert status.version == 1
        assert status.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
        assert status.status.error_code == 0 and not status.status.error_message
    for change in ({"value": 2}, {"value": 2**62}):
        request.model_spec.version.value = change["value"]
        with pytest.raises(grpc.RpcError) as caught:
            server.models.GetModelStatus(request)
        assert caught.value.code() is NOT_FOUND
    request.model_spec.name = "other"
    with pytest.raises(grpc.RpcError) as caught:
        server.models.GetModelStatus(request)
    assert caught.value.code() is NOT_FOUND


@pytest.mark.parametrize(
    "service",
    ["", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"],
)
def test_health(server, service):
    request = health_pb2.HealthCheckRequest(service=service)
    serving = health_pb2.HealthCheckResponse.SERVING
    assert server.health.Check(request).status == serving
    watch = server.health.Watch(request)
    assert next(watch).status == serving
    watch.cancel()


def test_health_of_another_service_is_not_found(server):
    request = health_pb2.HealthCheckRequest(service="other")
    with pytest.raises(grpc.RpcError) as caught:
        server.health.Check(request)
    assert caught.value.code() is NOT_FOUND
    watch = server.health.Watch(request)  # who watches may wait for it to come
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_what_the_model_has_no_signature_for_is_refused(server):
    stub = server.prediction
    for call, request in (
        (stub.Classify, classification_pb2.ClassificationRequest()),
        (stub.Regress, regression_pb2.RegressionRequest()),
        (stub.MultiInference, inference_pb2.MultiInferenceRequest()),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(request)
        assert caught.value.code() is INVALID and "Predict" in caught.value.details()


def test_what_is_not_there_is_unimplemented(server):
    with pytest.raises(grpc.RpcError) as caught:
        server.models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as caught:
        server.raw(b"", "Other")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_floats_come_bit_by_bit(server, tools):
    """Not through text: each is the number that the other protocol's text is read back as."""
    fields = tools.example(ENCODE, 1)
    reply = server.prediction.Predict(tools.proto_of(ENCODE, fields))
    raw = reply.outputs["graph_features"].tensor_content
    values = struct.unpack(f"<{len(raw) // 4}f", raw)
    over_rest = server.predict_rest(ENCODE, fields)["graph_features"].ravel()
    assert np.array_equal(np.array(values, np.float32), over_rest)
    assert isinstance(reply, predict_pb2.PredictResponse)
