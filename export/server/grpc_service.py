"""PredictionService and ModelService of TensorFlow Serving, and gRPC's own health service.

Requests are parsed here and not by gRPC, which reports malformed requests as an internal error of
the server.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

from export.server.health import Health
from export.server.loaded_version import LoadedVersion
from export.server.service import DEFAULT_TIMEOUT_S, MAX_REQUEST_BYTES, Service
from export.server.tensors import read_protos
from export.service_errors import InvalidRequest, NotFound, ServiceError
from export.signatures import GENERATE
from export.wire import TensorSpec

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
_OPTIONS = (
    ("grpc.so_reuseport", 0),  # otherwise a second server would silently take half of the requests
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
)
_GRPC_LOGGER = "grpc._cython.cygrpc"
_METADATA_FIELD = "signature_def"
_CODES = {code.name: code for code in grpc.StatusCode}
_LABEL_CHARACTERS = 80

Answer = Callable[[Any, grpc.aio.ServicerContext], Awaitable[Message]]


def build_grpc(service: Service, max_rows: int) -> tuple[grpc.aio.Server, Health]:
    """The server without a port, and its health service, which reports NOT_SERVING at first.

    Args:
      service: answers the requests.
      max_rows: of a request.
    """
    logging.getLogger(_GRPC_LOGGER).addFilter(_is_not_about_a_client_that_left)
    handlers = _Handlers(service, max_rows)
    server = grpc.aio.server(options=_OPTIONS)
    prediction = {
        "Predict": _handler(predict_pb2.PredictRequest, handlers.predict),
        "GetModelMetadata": _handler(
            get_model_metadata_pb2.GetModelMetadataRequest, handlers.metadata
        ),
        # The contract has no such endpoints; TensorFlow Serving would answer the same.
        **{
            name: _handler(None, _refuse(name))
            for name in ("Classify", "Regress", "MultiInference")
        },
    }
    models = {
        "GetModelStatus": _handler(get_model_status_pb2.GetModelStatusRequest, handlers.status)
    }
    health = Health([PREDICTION_SERVICE, MODEL_SERVICE])
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(PREDICTION_SERVICE, prediction),
            grpc.method_handlers_generic_handler(MODEL_SERVICE, models),
        )
    )
    return server, health


class _Handlers:
    """Answers to parsed requests."""

    def __init__(self, service: Service, max_rows: int):
        self._service = service
        self._max_rows = max_rows

    async def predict(
        self, request: predict_pb2.PredictRequest, context: grpc.aio.ServicerContext
    ) -> predict_pb2.PredictResponse:
        with self._service.counted("grpc") as signature:
            signature.append(request.model_spec.signature_name or GENERATE)
            left = context.time_remaining()
            deadline = time.monotonic() + (DEFAULT_TIMEOUT_S if left is None else left)
            version = self._find(request.model_spec)

            async def read(specs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
                return read_protos(request.inputs, specs, max_rows=self._max_rows)

            name = request.model_spec.signature_name
            reply = await self._service.predict(version, name, read, deadline)
            wanted = set(request.output_filter) or set(reply)
            if len(wanted) < len(request.output_filter):
                raise InvalidRequest("output_filter: names an output twice")
            unknown = sorted(wanted - set(reply))
            if unknown:
                raise InvalidRequest(
                    f"output_filter: {unknown[0][:80]!r} is not one of {', '.join(reply)}"
                )
            response = predict_pb2.PredictResponse()
            self._describe(response.model_spec, version)
            response.model_spec.signature_name = signature[0]
            for name in sorted(wanted):
                response.outputs[name].CopyFrom(tf.make_tensor_proto(reply[name]))
            return response

    async def metadata(
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.aio.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        if set(request.metadata_field) != {_METADATA_FIELD}:
            raise InvalidRequest(f'metadata_field: must be "{_METADATA_FIELD}", and nothing else')
        version = self._find(request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        self._describe(response.model_spec, version)
        response.metadata[_METADATA_FIELD].Pack(
            get_model_metadata_pb2.SignatureDefMap(signature_def=version.signature_defs)
        )
        return response

    async def status(
        self,
        request: get_model_status_pb2.GetModelStatusRequest,
        context: grpc.aio.ServicerContext,
    ) -> get_model_status_pb2.GetModelStatusResponse:
        if not request.HasField("model_spec"):
            raise InvalidRequest("model_spec: is missing")
        self._service.check_name(request.model_spec.name)
        wanted = _version_of(request.model_spec)
        states = self._service.versions.states
        if wanted is not None and wanted not in states:
            raise NotFound(f"version {wanted} of {self._service.name!r} is not known")
        response = get_model_status_pb2.GetModelStatusResponse()
        for number, state in sorted(states.items(), reverse=True):
            if wanted in (None, number):
                status = response.model_version_status.add(version=number)
                status.state = get_model_status_pb2.ModelVersionStatus.State.Value(state.state)
                if state.error:
                    status.status.error_code = grpc.StatusCode.UNKNOWN.value[0]
                    status.status.error_message = state.error
        return response

    def _find(self, spec: model_pb2.ModelSpec) -> LoadedVersion:
        return self._service.find(spec.name, _version_of(spec))

    def _describe(self, spec: model_pb2.ModelSpec, version: LoadedVersion) -> None:
        spec.name = self._service.name
        spec.version.value = version.number


def _version_of(spec: model_pb2.ModelSpec) -> int | None:
    if spec.WhichOneof("version_choice") == "version_label":
        label = spec.version_label[:_LABEL_CHARACTERS]
        raise NotFound(f"version_label: {label!r}: versions have no labels here")
    return spec.version.value if spec.HasField("version") else None


def _refuse(name: str) -> Answer:
    async def answer(request: bytes, context: grpc.aio.ServicerContext) -> Message:
        raise InvalidRequest(f"{name}: this model has Predict")

    return answer


def _is_not_about_a_client_that_left(record: logging.LogRecord) -> bool:
    """False for what gRPC logs when an answer finds its call ended.

    gRPC keeps silent itself if it has seen the end of the call by then; between the end and its
    seeing lies, on a busy machine, a whole answer.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, grpc.aio.InternalError)


def _handler(kind: type[Message] | None, answer: Answer) -> grpc.RpcMethodHandler:
    """Parses, answers, turns errors into codes; `kind` None passes the bytes on."""

    async def handle(data: bytes, context: grpc.aio.ServicerContext) -> bytes:
        try:
            try:
                request = data if kind is None else kind.FromString(data)
            except DecodeError as error:
                raise InvalidRequest(f"not a {kind.__name__}") from error
            return (await answer(request, context)).SerializeToString()
        except ServiceError as error:
            await context.abort(_CODES[error.grpc_name], " ".join(str(error).split()))
        except Exception as error:
            if isinstance(error, grpc.aio.AbortError):
                raise
            logging.getLogger(__name__).exception("a request failed")
            await context.abort(grpc.StatusCode.INTERNAL, repr(error)[:200])
        raise AssertionError("abort raises")

    return grpc.unary_unary_rpc_method_handler(handle)
