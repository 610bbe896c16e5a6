"""Answers that a scripted server gives."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

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


@contextlib.contextmanager
def rest_server(answer: Callable) -> Iterator[str]:
    """A server over REST, at the address that it gives; `answer` gets the handler and the body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            answer(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # It looks so often whether it shall end: each test waits for that, half a second by default.
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def grpc_server(answer: Callable) -> Iterator[str]:
    """As `rest_server`, over gRPC; `answer` gets the request and the context."""

    class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            return answer(request, context)

    server = grpc.server(ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None)
