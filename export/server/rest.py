"""The REST paths of TensorFlow Serving, and paths for monitoring.

    POST /v1/models/NAME[/versions/N]:predict    see `export.wire`
    GET  /v1/models/NAME[/versions/N]            state of the versions
    GET  /v1/models/NAME[/versions/N]/metadata   fields of the endpoints
    GET  /healthz                                200 while the process lives
    GET  /readyz                                 200 while requests are answered
    GET  /monitoring/prometheus/metrics          counters

Every error is {"error": "one line"} with an HTTP status.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import unquote

from aiohttp import web
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from export.publishing.serving_files import METRICS_PATH
from export.server.cors import cors_headers, with_preflight
from export.server.http_parts import continues, json_errors, read_body
from export.server.service import DEFAULT_TIMEOUT_S, MAX_REQUEST_BYTES, Service
from export.service_errors import (
    InvalidRequest,
    NotFound,
    Overloaded,
    TooLarge,
)
from export.signatures import GENERATE
from export.wire import TIMEOUT_HEADER, dump_reply, parse_call, read_tensors
from rgan_tf.errors import BadInput
from rgan_tf.exported import version_number

_PREFIX = "/v1/models/"
# As in TensorFlow Serving's `http_rest_api_util.cc`: the words of a path ignore case, the name and
# the verb do not, and percent-encoded characters do not separate them.
_PATH = re.compile(
    r"(?i:/v1/models)/(?P<name>[^/:]+)"
    r"(?:(?i:/versions)/(?P<version>[0-9]+)|(?i:/labels)/(?P<label>[^/:]+))?"
    r"(?P<verb>:[A-Za-z]+|(?i:/metadata))?"
)
_PREDICT, _METADATA = ":predict", "/metadata"
_LARGE_BYTES = 64 * 2**10  # larger bodies are parsed outside the event loop
_GZIP = 31  # of zlib's `wbits`
_GZIP_NAME = "gzip"  # anywhere in the header, e.g. x-gzip
_PLAIN = ("", "identity")
_TOO_LARGE = f"the request is larger than {MAX_REQUEST_BYTES} bytes"


class _Target(NamedTuple):
    name: str
    version: int | None
    verb: str


def build_rest(service: Service, max_rows: int, cors_origin: str | None = None) -> web.Application:
    """The application, to be served by a runner.

    Args:
      service: answers the requests.
      max_rows: of a request.
      cors_origin: origin whose pages may read the answers, "*" for all, None for none.
    """
    rest = _Rest(service, max_rows)
    app = web.Application(client_max_size=MAX_REQUEST_BYTES, middlewares=[json_errors()])
    app.on_cleanup.append(rest.close)
    handler = rest.model
    if cors_origin is not None:
        handler = with_preflight(handler)
        app.on_response_prepare.append(cors_headers(cors_origin))
    app.router.add_route(
        "*", "/{path:[vV]1/.*}", handler, expect_handler=continues(MAX_REQUEST_BYTES)
    )
    app.router.add_get("/healthz", rest.healthz)
    app.router.add_get("/readyz", rest.readyz)
    app.router.add_get(METRICS_PATH, rest.metrics)
    return app


class _Rest:
    """Handlers."""

    def __init__(self, service: Service, max_rows: int):
        self._service = service
        self._max_rows = max_rows
        # One thread: parsing large bodies takes much memory, and each thread keeps some.
        self._reading = ThreadPoolExecutor(1, "reading")

    async def close(self, app: web.Application) -> None:
        """Called at the end of the application."""
        self._reading.shutdown()

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Calls the function outside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, function, *args)

    async def _read(self, size: int, function: Callable[..., Any], *args: Any) -> Any:
        """Calls the function, outside the event loop if that many bytes take long."""
        if size < _LARGE_BYTES:
            return function(*args)
        return await self._in_thread(function, *args)

    async def model(self, request: web.Request) -> web.Response:
        target = _target_of(request.rel_url.raw_path)
        if target.verb not in ("", _PREDICT, _METADATA):
            raise InvalidRequest(f"{target.verb[:80]}: this model has :predict")
        method = "POST" if target.verb == _PREDICT else "GET"
        if request.method != method:
            raise web.HTTPMethodNotAllowed(request.method, [method])
        if target.verb == _PREDICT:
            return await self._predict(request, target)
        self._service.check_name(target.name)
        if target.verb == _METADATA:
            return web.json_response(self._metadata(target))
        return web.json_response(self._status(target))

    async def healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(self, request: web.Request) -> web.Response:
        if not self._service.is_ready:
            raise Overloaded("no version is served, or the server is stopping")
        return web.json_response({"status": "ready", "version": self._service.versions.newest})

    async def metrics(self, request: web.Request) -> web.Response:
        telemetry = self._service.telemetry
        return web.Response(body=telemetry.text(), headers={"Content-Type": telemetry.content_type})

    async def _predict(self, request: web.Request, target: _Target) -> web.Response:
        started = time.monotonic()
        with self._service.counted("rest") as signature:
            timeout_s = _timeout_of(request)
            version = self._service.find(target.name, target.version)
            self._service.check_room()  # before reading anything
            body = await self._read_body(request, timeout_s)
            try:
                call = await self._read(len(body), parse_call, body)
            except BadInput as error:
                encoding = _encoding_of(request)
                packed = f"; Content-Encoding {encoding[:40]!r} is not unpacked, gzip is"
                is_read = encoding in _PLAIN or _GZIP_NAME in encoding
                raise InvalidRequest(f"{error}{'' if is_read else packed}") from error
            signature.append(call.signature or GENERATE)
            reply = await self._service.predict(
                version,
                call.signature,
                lambda specs: self._read(
                    len(body),
                    partial(read_tensors, max_rows=self._max_rows, allow_more=not call.by_row),
                    call.fields,
                    specs,
                ),
                started + timeout_s,
            )
            content = dump_reply(reply, by_row=call.by_row)
        return web.Response(body=content, content_type="application/json")

    async def _read_body(self, request: web.Request, timeout_s: float) -> bytes:
        body = await read_body(request, MAX_REQUEST_BYTES, timeout_s)
        # Other types are accepted too, because many clients set wrong ones.
        if _GZIP_NAME not in _encoding_of(request):
            return body
        return await self._in_thread(_unpacked, body)

    def _status(self, target: _Target) -> dict[str, Any]:
        states = self._service.versions.states
        if target.version is not None:
            if target.version not in states:
                raise NotFound(f"version {target.version} of {target.name!r} is not known")
            states = {target.version: states[target.version]}
        return {
            "model_version_status": [
                {
                    "version": str(number),
                    "state": state.state,
                    "status": {
                        "error_code": "UNKNOWN" if state.error else "OK",
                        "error_message": state.error,
                    },
                }
                for number, state in sorted(states.items(), reverse=True)
            ]
        }

    def _metadata(self, target: _Target) -> dict[str, Any]:
        version = self._service.find(target.name, target.version)
        definitions = get_model_metadata_pb2.SignatureDefMap(signature_def=version.signature_defs)
        return {
            "model_spec": {
                "name": self._service.name,
                "signature_name": "",
                "version": str(version.number),
            },
            "metadata": {
                "signature_def": json_format.MessageToDict(
                    definitions,
                    preserving_proto_field_name=True,
                    including_default_value_fields=True,
                )
            },
        }


def _target_of(path: str) -> _Target:
    match = _PATH.fullmatch(path)
    if not match:
        raise NotFound(f"{path[:100]}: no such path; there is {_PREFIX}NAME[/versions/N][:predict]")
    if match["label"]:
        raise NotFound(f"label {unquote(match['label'])[:80]!r}: versions have no labels here")
    version = None
    if match["version"] is not None:
        version = version_number(match["version"])
        if version is None:
            raise InvalidRequest(f"version {match['version'][:40]}: must fit 64 bits")
    verb = match["verb"] or ""
    # TensorFlow Serving ignores the case of this word in a path, but not in the request.
    is_verb = verb.startswith(":") or verb == _METADATA
    return _Target(unquote(match["name"]), version, verb if is_verb else "")


def _encoding_of(request: web.Request) -> str:
    return request.headers.get("Content-Encoding", "").strip().lower()


def _timeout_of(request: web.Request) -> float:
    text = request.headers.get(TIMEOUT_HEADER)
    if text is None:
        return DEFAULT_TIMEOUT_S
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = math.nan
    if not 0.0 < milliseconds < math.inf:
        raise InvalidRequest(f"{TIMEOUT_HEADER}: must be a positive number, got {text[:40]!r}")
    return min(milliseconds / 1000.0, DEFAULT_TIMEOUT_S)


def _unpacked(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=_GZIP)
    try:
        content = unpacker.decompress(body, MAX_REQUEST_BYTES + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the request is not gzip: {str(error)[:80]}") from error
    if len(content) > MAX_REQUEST_BYTES:
        raise TooLarge(_TOO_LARGE)
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidRequest("the request is not gzip from its first to its last byte")
    return content
