"""Requests that are wrong in every way we could think of, and who says whether one is not."""

from __future__ import annotations

import copy
import gzip
import json
import math
import random
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import predict_pb2

from export.signatures import (
    CANDIDATES,
    ENCODE,
    GENERATE,
    GENERATE_WITH_PATCHES,
    INPUTS,
    NEIGHBOURS,
    OUTPUTS,
    PATCHES,
)

PREDICT = "/v1/models/retrievegan:predict"
LIMIT = 16 * 2**20


class Case(NamedTuple):
    """A request with something wrong; `is_valid` None leaves it to the judge."""

    kind: str
    protocol: str
    content: bytes
    path: str = PREDICT
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    method: str = "POST"
    is_valid: bool | None = None


class Judge:
    """Says of a request whether it is valid, by the contract and the model in this process."""

    def __init__(self, exported):
        self._signatures = exported.signatures
        self._sizes = exported.model.sizes

    def of_json(self, body: bytes) -> bool:
        try:
            value = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_once)
        except (ValueError, RecursionError):
            return False
        if not isinstance(value, dict) or "instances" in value:
            return False
        endpoint, inputs = value.get("signature_name", GENERATE), value.get("inputs")
        endpoint = GENERATE if endpoint == "" else endpoint
        if not isinstance(endpoint, str) or endpoint not in INPUTS or not isinstance(inputs, dict):
            return False
        fields = {field.name: field for field in INPUTS[endpoint]}
        first = next(iter(fields))
        if not set(inputs) >= set(fields) or not isinstance(inputs[first], list):
            return False
        rows = len(inputs[first])
        for name, field in fields.items():
            shape = (rows, *self._sizes.shape_of(field))
            if not 1 <= rows <= 8 or not _is_array(inputs[name], shape, field.dtype):
                return False
        with np.errstate(over="ignore"):
            arrays = {
                name: np.array(
                    inputs[name], np.float64 if field.dtype == "float32" else None
                ).astype(field.dtype)
                for name, field in fields.items()
            }
        return self._runs(endpoint, arrays)

    def of_proto(self, data: bytes) -> bool:
        try:
            request = predict_pb2.PredictRequest.FromString(data)
        except DecodeError:
            return False
        spec = request.model_spec
        endpoint = spec.signature_name or GENERATE
        has_label = spec.WhichOneof("version_choice") == "version_label"
        if spec.name != "retrievegan" or has_label or endpoint not in INPUTS:
            return False
        if spec.HasField("version") and spec.version.value != 1:
            return False
        fields = {field.name: field for field in INPUTS[endpoint]}
        outputs = {field.name for field in OUTPUTS[endpoint]}
        wanted = set(request.output_filter)
        if set(request.inputs) != set(fields) or not wanted <= outputs:
            return False
        if len(wanted) < len(request.output_filter):
            return False
        arrays = {}
        for name, field in fields.items():
            proto = request.inputs[name]
            shape = tuple(dimension.size for dimension in proto.tensor_shape.dim)
            if proto.dtype != tf.as_dtype(field.dtype).as_datatype_enum:
                return False
            if proto.tensor_shape.unknown_rank or not shape or not 1 <= shape[0] <= 8:
                return False
            if shape[1:] != self._sizes.shape_of(field):
                return False
            try:
                array = tf.make_ndarray(proto)
            except ValueError:
                return False
            arrays[name] = array.view(np.uint8) != 0 if array.dtype == bool else array
        if len({len(array) for array in arrays.values()}) != 1:
            return False
        return self._runs(endpoint, arrays)

    def _runs(self, endpoint: str, arrays: dict[str, np.ndarray]) -> bool:
        try:
            self._signatures[endpoint](
                **{name: tf.constant(value) for name, value in arrays.items()}
            )
        except tf.errors.InvalidArgumentError:
            return False
        return True


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def _is_array(value: Any, shape: tuple[int, ...], dtype: str) -> bool:
    if shape:
        is_list = isinstance(value, list) and len(value) == shape[0]
        return is_list and all(_is_array(item, shape[1:], dtype) for item in value)
    if dtype == "bool":
        return type(value) is bool
    if dtype == "float32":
        return type(value) is float or (type(value) is int and abs(value) < 2**1023)
    limits = np.iinfo(dtype)
    return type(value) is int and limits.min <= value <= limits.max


class Generator:
    """Makes malformed requests, the same ones for the same seed."""

    def __init__(self, tools, seed: int):
        self.random = random.Random(seed)
        self._tools = tools
        self._json = {
            endpoint: {
                "signature_name": endpoint,
                "inputs": tools.columns(tools.example(endpoint, rows)),
            }
            for endpoint, rows in (
                (GENERATE, 2),
                (ENCODE, 1),
                (GENERATE_WITH_PATCHES, 1),
                (CANDIDATES, 1),
                (PATCHES, 2),
                (NEIGHBOURS, 2),
            )
        }
        self._protos = {
            endpoint: tools.proto_of(endpoint, tools.example(endpoint, rows))
            for endpoint, rows in ((GENERATE, 2), (ENCODE, 1), (PATCHES, 2), (NEIGHBOURS, 2))
        }
        self._makers = [
            *[self.wrong_value] * 6,
            *[self.wrong_list] * 4,
            *[self.wrong_name] * 3,
            *[self.mutated_json] * 6,
            *[self.truncated_json] * 2,
            self.deep_json,
            self.not_utf8,
            self.other_json,
            self.wrong_place,
            self.wrong_header,
            self.broken_gzip,
            *[self.wrong_length] * 2,
            *[self.raw_bytes] * 2,
            *[self.mutated_proto] * 8,
            *[self.wrong_tensor] * 5,
            *[self.wrong_spec] * 2,
            *[self.garbage_proto] * 2,
        ]

    def next(self) -> Case:
        if self.random.random() < 0.01:
            return self.oversize()
        return self.random.choice(self._makers)()

    # JSON

    def _value(self) -> Any:
        choose = self.random
        return choose.choice(
            [
                None,
                True,
                False,
                "",
                "1",
                "\ud800",
                {},
                [],
                [[]],
                {"b64": "@@@"},
                {"b64": 5},
                0,
                -1,
                1,
                2**31 - 1,
                2**31,
                -(2**31) - 1,
                10**30,
                10**400,
                0.5,
                1e39,
                1e308,
                math.nan,
                math.inf,
                -math.inf,
                choose.randint(-300, 300),
                "x" * choose.randint(1, 3000),
                [[[0] * 40] * 40] * 3,
            ]
        )

    def _changed(self, change) -> bytes:
        # Requests with pictures are large, and so are few here.
        shares = {GENERATE: 12, ENCODE: 6, PATCHES: 2, NEIGHBOURS: 2}
        shares |= {GENERATE_WITH_PATCHES: 1, CANDIDATES: 1}
        endpoint = self.random.choices(list(shares), list(shares.values()))[0]
        value = copy.deepcopy(self._json[endpoint])
        change(value["inputs"], self.random.choice(sorted(value["inputs"])))
        return json.dumps(value).encode()

    def _list_inside(self, value: Any) -> list:
        """Some list in the nested ones, the outermost too."""
        while self.random.random() < 0.7 and value and isinstance(value[0], list):
            value = self.random.choice(value)
        return value

    def wrong_value(self) -> Case:
        def change(inputs, name):
            inside = self._list_inside(inputs[name])
            inside[self.random.randrange(len(inside))] = self._value()

        return Case("wrong value", "rest", self._changed(change))

    def wrong_list(self) -> Case:
        def change(inputs, name):
            inside = self._list_inside(inputs[name])
            action = self.random.randrange(4)
            if action == 0:
                inside.pop()
            elif action == 1:
                inside.extend(copy.deepcopy(inside) * self.random.randint(1, 9))
            elif action == 2:
                inputs[name] = self._value()
            else:
                inputs[name] = [inputs[name]]

        return Case("wrong list", "rest", self._changed(change))

    def wrong_name(self) -> Case:
        def change(inputs, name):
            action = self.random.randrange(3)
            other = self.random.choice(["", "x", "objects ", "OBJECTS", "\ud800", "\0", "o" * 5000])
            if action == 0:
                del inputs[name]
            elif action == 1:
                inputs[other] = inputs[name]
            else:
                inputs[other] = inputs.pop(name)

        return Case("wrong name", "rest", self._changed(change))

    def _mutated(self, data: bytes) -> bytes:
        content = bytearray(data)
        for _ in range(self.random.choice([1, 1, 1, 2, 5, 20])):
            place = self.random.randrange(len(content))
            action = self.random.randrange(4)
            if action == 0:
                content[place] = self.random.randrange(256)
            elif action == 1:
                content[place] ^= 1 << self.random.randrange(8)
            elif action == 2:
                del content[place : place + self.random.randint(1, 8)]
            else:
                content[place:place] = self.random.randbytes(self.random.randint(1, 8))
        return bytes(content) or b"\0"

    def mutated_json(self) -> Case:
        endpoint = self.random.choice([GENERATE, ENCODE, PATCHES, NEIGHBOURS])
        body = json.dumps(self._json[endpoint]).encode()
        return Case("mutated json", "rest", self._mutated(body))

    def truncated_json(self) -> Case:
        body = json.dumps(self._json[GENERATE]).encode()
        return Case("truncated json", "rest", body[: self.random.randrange(len(body))])

    def deep_json(self) -> Case:
        depth = self.random.choice([9, 33, 64, 500, 990, 2000, 100_000, 1_000_000])
        opening, closing = self.random.choice([("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
        deep = opening * depth + "1" + closing * depth
        body = json.dumps(self._json[ENCODE]).replace("[[2, 3, 4, 0, 0, 0]]", deep)
        return Case("deep json", "rest", body.encode(), is_valid=False)

    def not_utf8(self) -> Case:
        body = json.dumps(self._json[GENERATE]).replace("objects", "objects\N{SNOWMAN}")
        encoding = self.random.choice(["latin-1", "utf-16", "utf-32", "utf-8-sig", "utf-7"])
        content = body.encode(encoding, "replace") + b'"\xed\xa0\x80'
        return Case("not utf-8", "rest", content, is_valid=False)

    def other_json(self) -> Case:
        value = copy.deepcopy(self._json[GENERATE])
        body = self.random.choice(
            [
                [],
                None,
                5,
                {"inputs": [value["inputs"]]},
                {"inputs": value["inputs"], "instances": []},
                {"instances": {}},
                {"instances": [[1, 2]]},
                {"instances": [{"objects": [2] * 6}, {}]},
                {"instances": [{}] * self.random.randint(1, 5000)},
                {**value, "signature_name": self._value()},
                {**value, "signature_name": "__saved_model_init_op"},
                {**value, "other": self._value()},
            ]
        )
        # An empty name is the default one's, and further keys are nobody's.
        is_valid = isinstance(body, dict) and (body.get("signature_name") == "" or "other" in body)
        return Case("other json", "rest", json.dumps(body).encode(), is_valid=is_valid)

    # HTTP

    def wrong_place(self) -> Case:
        method, path = self.random.choice(
            [
                ("POST", "/v1/models/other:predict"),
                ("POST", "/v1/models/retrievegan/versions/9:predict"),
                ("POST", "/v1/models/retrievegan/versions/" + "9" * 400 + ":predict"),
                ("POST", "/v1/models/retrievegan:" + "x" * self.random.randint(1, 2000)),
                ("POST", "/v1/models/retrievegan/labels/%ff%00:predict"),
                ("POST", "/v1/models/..%2f..%2fetc/passwd"),
                ("POST", "/%"),
                ("GET", PREDICT),
                ("PATCH", PREDICT),
                ("TRACE", "/healthz"),
                ("PUT", "/readyz"),
            ]
        )
        body = json.dumps(self._json[ENCODE]).encode()
        return Case("wrong place", "rest", body, path, {}, method, is_valid=False)

    def wrong_header(self) -> Case:
        text = self.random.choice(["-1", "0", "nan", "1e999", "x" * 3000, "0x10", "1,5", "\xff"])
        body = json.dumps(self._json[ENCODE]).encode()
        headers = {"X-Request-Timeout-Ms": text}
        return Case("wrong header", "rest", body, PREDICT, headers, is_valid=False)

    def broken_gzip(self) -> Case:
        packed = gzip.compress(json.dumps(self._json[ENCODE]).encode(), mtime=0)
        content = self.random.choice(
            [
                packed[: self.random.randrange(len(packed))],
                packed + b"\0",
                gzip.compress(b"\0" * (LIMIT + 1), mtime=0),
                gzip.compress(packed, mtime=0),
                b"",
            ]
        )
        headers = {"Content-Encoding": "gzip"}
        return Case("broken gzip", "rest", content, PREDICT, headers, is_valid=False)

    def oversize(self) -> Case:
        body = b'{"inputs": {"objects": "' + b"x" * LIMIT + b'"}}'
        if self.random.random() < 0.5:
            return Case("oversize", "rest", body, is_valid=False)
        return Case("oversize", "grpc", body, is_valid=False)

    def wrong_length(self) -> Case:
        body = json.dumps(self._json[ENCODE]).encode()
        length = self.random.choice(
            [0, 1, len(body) - 1, len(body) + 1, LIMIT, 2**40, 10**30, -1, "x", "+5", "5, 6", ""]
        )
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        return Case("wrong length", "raw", head.encode() + body, is_valid=False)

    def raw_bytes(self) -> Case:
        post = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\n".encode()
        content = self.random.choice(
            [
                self.random.randbytes(self.random.randint(1, 3000)),
                b"\x16\x03\x01\x02\x00" + self.random.randbytes(500),  # as TLS begins
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",  # as gRPC begins
                b"GET / HTTP/9.9\r\n\r\n",
                b"GET\r\n\r\n",
                b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
                post + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
                post + b"X: y\r\n" * 5000 + b"\r\n",
                post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
                post + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
                post + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
                post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
                post[:20],
                b"\r\n" * 1000,
                b"\0" * 1000,
            ]
        )
        return Case("raw bytes", "raw", content, is_valid=False)

    # gRPC

    def mutated_proto(self) -> Case:
        request = self._protos[self.random.choice(list(self._protos))]
        return Case("mutated proto", "grpc", self._mutated(request.SerializeToString()))

    def wrong_tensor(self) -> Case:
        request = predict_pb2.PredictRequest()
        request.CopyFrom(self._protos[self.random.choice(list(self._protos))])
        proto = request.inputs[self.random.choice(sorted(request.inputs))]
        size = self.random.choice([-(2**63), -1, 0, 1, 3, 8, 9, 2**31, 2**62, 2**63 - 1])
        action = self.random.randrange(6)
        if action == 0:
            self.random.choice(proto.tensor_shape.dim).size = size
        elif action == 1:
            proto.tensor_shape.dim.add(size=size)
        elif action == 2:
            proto.tensor_shape.unknown_rank = True
        elif action == 3:
            proto.dtype = self.random.choice([0, 1, 2, 3, 4, 7, 9, 10, 19, 21, 101, 9999])
        elif action == 4:
            proto.tensor_content = self.random.randbytes(self.random.randrange(100))
        else:
            proto.ClearField("tensor_content")
            proto.int_val.extend([self.random.randint(-5, 30)] * self.random.choice([1, 12, 2000]))
            proto.float_val.extend([math.nan] * self.random.choice([0, 1, 2000]))
        return Case("wrong tensor", "grpc", request.SerializeToString())

    def wrong_spec(self) -> Case:
        request = predict_pb2.PredictRequest()
        request.CopyFrom(self._protos[GENERATE])
        action = self.random.randrange(5)
        if action == 0:
            request.model_spec.name = self.random.choice(["", "other", "x" * 9000, "\0\n"])
        elif action == 1:
            request.model_spec.signature_name = self.random.choice(["other", ENCODE, "\n" * 9000])
        elif action == 2:
            request.model_spec.version.value = self.random.choice([0, -1, 2, 2**63 - 1])
        elif action == 3:
            request.model_spec.version_label = self.random.choice(["stable", "\0" * 9000])
        else:
            request.output_filter.append(self.random.choice(["", "other", "\N{SNOWMAN}" * 3000]))
        return Case("wrong spec", "grpc", request.SerializeToString(), is_valid=False)

    def garbage_proto(self) -> Case:
        content = self.random.randbytes(self.random.choice([1, 3, 20, 500, 50_000]))
        return Case("garbage proto", "grpc", content)
