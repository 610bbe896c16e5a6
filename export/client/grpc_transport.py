"""Sends requests over gRPC."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from export.client.foreign import hint_of_grpc
from export.client.replies import (
    MAX_REPLY_BYTES,
    check_kind,
    check_names,
    check_values,
    checked_reply,
)
from export.model_folder import ModelFolder
from export.service_errors import BadReply, TooLarge, Unreachable, error_of_grpc
from export.wire import specs_of
from rgan_tf.errors import one_line

_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
    ("grpc.max_send_message_length", MAX_REPLY_BYTES),
    ("grpc.enable_retries", 0),  # the client retries itself, within its own deadline
    ("grpc.enable_http_proxy", 0),
    # Otherwise a server that was down is not retried for up to two minutes.
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.initial_reconnect_backoff_ms", 100),
)
_SHOWN = 200
_SIZE_WORDS = "larger than max"  # in gRPC's message about a message that is too large
# In its messages about failed or broken connections, which have the code of a busy server.
_BROKEN = re.compile(
    r"failed to connect|errors resolving|Socket closed|Connection reset|Broken pipe|"
    r"Connection refused|No route to host|Network is unreachable|GOAWAY"
)


class GrpcTransport:
    """One channel for all threads.

    Args:
      host, port: of the server.
      name: of the model.
      version: number; None for the newest.
      contract: the model, as known on this machine.
    """

    def __init__(self, host: str, port: int, name: str, version: int | None, contract: ModelFolder):
        self._place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._name = name
        self._version = version
        self._contract = contract
        self._channel = grpc.insecure_channel(self._place, _OPTIONS)
        self._predict = self._channel.unary_unary(
            _PREDICT,
            request_serializer=predict_pb2.PredictRequest.SerializeToString,
            response_deserializer=predict_pb2.PredictResponse.FromString,
        )

    def call(
        self, signature: str, arrays: Mapping[str, np.ndarray], timeout_s: float
    ) -> dict[str, np.ndarray]:
        """One attempt; see `export.client.Transport`."""
        deadline = time.monotonic() + timeout_s
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._name
        request.model_spec.signature_name = signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        for name, array in arrays.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        try:
            response = self._predict(request, timeout=max(0.001, deadline - time.monotonic()))
        except grpc.RpcError as error:
            raise self._error(error.code(), error.details() or "") from error
        specs = specs_of(self._contract.outputs_of(signature), self._contract.sizes)
        rows = len(next(iter(arrays.values())))
        check_names(response.outputs, specs)
        try:
            reply = {}
            for name, spec in specs.items():
                proto = response.outputs[name]
                shape = tuple(dim.size for dim in proto.tensor_shape.dim)
                # One value can stand for a whole tensor: a few bytes may expand to any size.
                dtype = np.dtype(tf.as_dtype(proto.dtype).as_numpy_dtype)
                check_kind(name, dtype, shape, spec, rows)
                reply[name] = tf.make_ndarray(proto)
        except (TypeError, ValueError) as error:
            raise BadReply(f"reply: {name}: {one_line(str(error), _SHOWN)}") from error
        reply = checked_reply(reply, specs, rows)
        check_values(reply, self._contract.sizes)
        return reply

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _error(self, code: grpc.StatusCode, details: str) -> Exception:
        message = one_line(details, 1000) or code.name
        hint = hint_of_grpc(details)
        if hint is not None:
            return BadReply(
                f"{self._place} did not answer in gRPC ({one_line(details, _SHOWN)}); {hint}"
            )
        if code == grpc.StatusCode.RESOURCE_EXHAUSTED and _SIZE_WORDS in details:
            return TooLarge(message)
        if code == grpc.StatusCode.UNAVAILABLE and _BROKEN.search(details):
            return Unreachable(f"{self._place}: {message}")
        return error_of_grpc(code.name, message)
