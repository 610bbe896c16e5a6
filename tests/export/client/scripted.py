"""Answers that a scripted server gives."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from export.signatures import OUTPUTS, RETRIEVE_ONLY
from export.wire import dump_reply


def reply_arrays(signature: str, sizes, rows: int) -> dict[str, np.ndarray]:
    """A reply of the right kinds and shapes, with a value of its own in each field."""
    arrays = {}
    for place, field in enumerate(OUTPUTS[signature]):
        shape = (rows, *sizes.shape_of(field))
        if field.dtype == "bytes":
            arrays[field.name] = np.full(shape, b"png\x00", object)
        else:
            arrays[field.name] = np.full(shape, place, field.dtype)
    return arrays


def send(status: int, body: bytes, **headers: str) -> Callable:
    """An answer over REST."""

    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def refuse(status: int, message: str = "no", **headers: str) -> Callable:
    """An error as the servers write it."""
    return send(status, json.dumps({"error": message}).encode(), **headers)


def good(contract, rows: int = 2, **changes) -> Callable:
    """A good answer of `retrieve`, with other fields instead where they are given."""
    arrays = {**reply_arrays(RETRIEVE_ONLY, contract.sizes, rows), **changes}
    return send(200, dump_reply({k: v for k, v in arrays.items() if v is not None}, by_row=False))


def grpc_refuse(code: grpc.StatusCode, message: str = "no") -> Callable:
    """An error of the server."""
    return lambda context: context.abort(code, message)


def grpc_good(contract, rows: int = 2, **changes) -> Callable:
    """As `good`."""
    arrays = {**reply_arrays(RETRIEVE_ONLY, contract.sizes, rows), **changes}

    def answer(context):
        response = predict_pb2.PredictResponse()
        for name, value in arrays.items():
            if value is not None:
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    return answer


def grpc_sleep(seconds: float) -> Callable:
    """An answer that comes too late."""

    def answer(context):
        time.sleep(seconds)
        return predict_pb2.PredictResponse()

    return answer
