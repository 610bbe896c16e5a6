"""Requests of those who mean harm or know no better, drawn from a seed."""

from __future__ import annotations

import base64
import copy
import functools
import gzip
import io
import json
import random
import struct
import zlib
from typing import Any, NamedTuple

from PIL import Image

GRAPH = {
    "objects": ["sky", "tree", "house"],
    "relationships": [[0, "above", 2], [1, "left of", 2]],
    "boxes": [None, None, [0.3, 0.4, 0.7, 0.9]],
    "patches": [141, None, None],
}
SCRIPTS = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    '"><svg onload=alert(1)>',
    "${7*7}{{7*7}}",
    "'; DROP TABLE patches; --",
    "$(touch owned)",
    "a\r\nSet-Cookie: x=y\r\n\r\n<html>",
    "\u202egnp.exe\u0000\u0007",
    "\ud800",
)
PATHS = (
    "/etc/passwd",
    "../../../../etc/passwd",
    "file:///etc/passwd",
    "secret.png",
    "./secret.png",
    "\\\\host\\share\\x.png",
    "http://127.0.0.1:1/x.png",
    "/dev/zero",
    "/proc/self/mem",
    "con",
    "secret.png\0.png",
)
REFUSED, ANSWERED, EITHER = "refused", "answered", "either"


class Case(NamedTuple):
    """A request.

    Attributes:
      kind: of what is wrong.
      expected: whether it must be refused, answered, or may be either.
      head: method, path and headers; None if `body` is all that is sent.
      body: bytes.
      statuses: with which it may be refused.
    """

    kind: str
    expected: str
    head: tuple[str, str, dict[str, str]] | None
    body: bytes = b""
    statuses: tuple[int, ...] = (400,)


class Hostile:
    """Draws cases.

    Args:
      seed: equal seeds draw equal cases.
      port: of the studio.
    """

    KINDS = (
        "host",
        "origin",
        "site",
        "content_type",
        "packed",
        "traversal",
        "method",
        "path_as_patch",
        "script_in_graph",
        "script_in_licence",
        "script_in_document",
        "not_json",
        "mutated_json",
        "wrong_value",
        "deep",
        "huge_number",
        "too_large",
        "picture_bomb",
        "broken_picture",
        "own_bomb",
        "document_bomb",
        "huge_head",
        "raw",
        "smuggled",
        "strange_version",
    )

    def __init__(self, seed: int, port: int):
        self._random = random.Random(seed)
        self._port = port

    def draw(self, kind: str) -> Case:
        """A case of that kind."""
        return getattr(self, f"_{kind}")()

    # Who asks

    def _host(self) -> Case:
        host = (
            self._random.choice(
                [
                    "evil.example",
                    f"evil.example:{self._port}",
                    f"localhost:{self._port + 1}",
                    f"127.0.0.1.nip.io:{self._port}",
                    f"[::]:{self._port}",
                    "x" * 3000,
                    self._script(),
                ]
            )
            .encode("ascii", "ignore")
            .decode()
            .split("\r")[0]
        )
        return self._json("host", self._route(), self._body(), {"Host": host}, (403, 400))

    def _origin(self) -> Case:
        origin = self._random.choice(
            ["null", "http://evil.example", f"http://localhost:{self._port}", "file://", "x" * 4000]
        )
        return self._json("origin", self._route(), self._body(), {"Origin": origin}, (403,))

    def _site(self) -> Case:
        site = self._random.choice(["cross-site", "same-site", "x", "SAME-ORIGIN;", "none, none"])
        return self._json("site", self._route(), self._body(), {"Sec-Fetch-Site": site}, (403,))

    def _content_type(self) -> Case:
        kind = self._random.choice(
            ["text/plain", "application/x-www-form-urlencoded", "text/html", "application/xml", ""]
            + ["multipart/form-data; boundary=a", "application/json; x=y", "*/*", "image/png"]
        )
        return self._json(
            "content_type", self._route(), self._body(), {"Content-Type": kind}, (415,)
        )

    def _packed(self) -> Case:
        bomb = gzip.compress(b"\0" * self._random.choice([10**4, 10**6, 5 * 10**6]))
        encoding = self._random.choice(["gzip", "deflate", "br", "zstd", "gzip, gzip"])
        return self._json("packed", self._route(), bomb, {"Content-Encoding": encoding}, (415,))

    # What is asked for

    def _traversal(self) -> Case:
        path = self._random.choice(
            [
                "/../../../../etc/passwd",
                "/static/../app.py",
                "/static/%2e%2e/%2e%2e/app.py",
                "/static/..%2fapp.py",
                "/static/%252e%252e/app.py",
                "/static//etc/passwd",
                "/static/..\\app.py",
                "/static/main.js%00.txt",
                "/static/index.html/..",
                "//etc/passwd",
                "/api/versions/1/patches/..%2f..%2fetc%2fpasswd.png",
                "/api/versions/../patches/0.png",
                "/api/versions/1/patches/%00.png",
                "/.git/config",
                "/" + "a/" * 1000,
                "/" + "%F0%9F%98%80" * 100,
            ]
        )
        return Case("traversal", REFUSED, ("GET", path, {}), statuses=(404, 400))

    def _method(self) -> Case:
        method = self._random.choice(["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "GET", "HEAD"])
        path = self._random.choice([f"/api/{self._route()}", "/api/nothing"])
        return Case("method", REFUSED, (method, path, {}), statuses=(405, 404))

    def _strange_version(self) -> Case:
        number = self._random.choice(["0", "2", "-1", "1e0", "01", "9" * 40, "%201", "NaN", "1.0"])
        patch = self._random.choice(["0", "261", "-1", "9" * 40, "0x1", "%0a", "1;ls"])
        tail = self._random.choice([".png", "/neighbours", "/neighbours?licences=%00"])
        valid = number == "01"  # never
        path = f"/api/versions/{number}/patches/{patch}{tail}"
        return Case(
            "strange_version",
            REFUSED if not valid else EITHER,
            ("GET", path, {}),
            statuses=(404, 400),
        )

    # Bodies

    def _path_as_patch(self) -> Case:
        body = self._body()
        body["graph"]["patches"][1] = self._random.choice(PATHS)
        route = self._random.choice(["compose", "candidates", "export", "layout"])
        return self._json("path_as_patch", route, self._for(route, body))

    def _script_in_graph(self) -> Case:
        body = self._body()
        place = self._random.randrange(3)
        if place == 0:
            body["graph"]["objects"][1] = self._script()
        elif place == 1:
            body["graph"]["relationships"][0][1] = self._script()
        else:
            body["graph"]["boxes"][0] = [self._script()] * 4
        route = self._random.choice(["compose", "layout", "export"])
        return self._json("script_in_graph", route, self._for(route, body))

    def _script_in_licence(self) -> Case:
        body = self._body() | {"licences": [self._script()]}
        if self._random.random() < 0.3:
            body = self._body()
            body["draws"] = [{"mode": self._script()}]
        return self._json("script_in_licence", "compose", body)

    def _script_in_document(self) -> Case:
        """Foreign texts that are not used do not cause a refusal."""
        item = {
            "category": "tree",
            "box": [0, 0, 1, 1],
            "patch": {
                "id": 200,
                "category": "tree",
                "licence": self._script(),
                "url": self._script(),
                "path": None,
                "file": self._random.choice(PATHS),
            },
        }
        document = self._random.choice(
            [
                {"objects": [item], "mode": self._random.choice(["sample", self._script()])},
                {"objects": ["sky"], self._script(): self._script()},
                {"objects": ["sky"], "patches": [self._random.choice(PATHS)]},
                {
                    "kind": "rgan_studio",
                    "version": 1,
                    "graph": {"objects": ["sky"]},
                    "model": {"bank": self._script()},
                    "studio": {"licences": [self._script()]},
                },
                {"kind": "rgan_studio", "version": self._script()},
                {"__proto__": {"admin": True}, "objects": ["sky"], "constructor": {}},
            ]
        )
        return self._json("script_in_document", "open", {"document": document}, expected=EITHER)

    def _not_json(self) -> Case:
        text = json.dumps(self._for("compose", self._body())).encode()
        body = self._random.choice(
            [
                b"",
                b"\0",
                text[: self._random.randrange(1, len(text))],
                text + b"}",
                b"\xff\xfe" + text,
                text.decode().encode("utf-16"),
                b"[" + text + b"]",
                b"null",
                b'"' + text.hex().encode() + b'"',
                text.replace(b"null", b"NaN"),
                text.replace(b'"graph"', b'"graph":{},"graph"'),
                self._random.randbytes(self._random.randrange(1, 3000)),
            ]
        )
        return self._json("not_json", "compose", body)

    def _mutated_json(self) -> Case:
        data = bytearray(json.dumps(self._for("compose", self._body())).encode())
        for _ in range(self._random.randint(1, 2)):
            data[self._random.randrange(len(data))] = self._random.randrange(256)
        return self._json("mutated_json", "compose", bytes(data), expected=EITHER)

    def _wrong_value(self) -> Case:
        """Some value of a valid body becomes something else."""
        route = self._route()
        body = self._for(route, self._body())
        places = list(_places(body))
        holder, key = self._random.choice(places)
        holder[key] = self._random.choice(
            [None, True, -1, 0, 3, 10**18, 1e308, -0.0, "", "x", self._script(), [], {}, [[]]]
            + [{"0": "x"}, [None] * 300, "y" * 5000, self._random.choice(PATHS)]
        )
        return self._json("wrong_value", route, body, expected=EITHER)

    def _deep(self) -> Case:
        depth = self._random.choice([600, 5000, 30_000])
        opened, closed = self._random.choice([(b"[", b"]"), (b'{"a":', b"}")])
        inner = opened * depth + b"1" + closed * depth
        body = self._random.choice(
            [inner, b'{"graph":' + inner + b"}", b'{"document":' + inner + b"}"]
        )
        route = "open" if body.startswith(b'{"document"') else "layout"
        return self._json("deep", route, body, statuses=(400, 413))

    def _huge_number(self) -> Case:
        digits = "9" * self._random.choice([30, 400, 4200, 6000])
        body = json.dumps(self._for("compose", self._body()))
        place = self._random.choice(["141", '"seed": 1', "0.3"])
        new = digits if place != '"seed": 1' else f'"seed": {digits}'
        return self._json("huge_number", "compose", body.replace(place, new, 1).encode())

    def _too_large(self) -> Case:
        size = 2**21 + 1
        kind = self._random.randrange(3)
        if kind == 0:
            body = b'{"graph": "' + b"x" * size + b'"}'
            return self._json("too_large", self._route(), body, statuses=(413,))
        if kind == 1:  # said, not sent
            head = self._head("compose", {"Content-Length": str(10**12)})
            return Case("too_large", REFUSED, head, b"{}", (413,))
        body = json.dumps({"graph": {**GRAPH, "note": "x" * 66_000}, "draws": [{}]}).encode()
        return self._json("too_large", "compose", body)

    # Pictures

    def _picture_bomb(self) -> Case:
        side = self._random.choice([7000, 30_000, 2**31 - 1])
        body = self._random.choice(
            [
                _png(side, side, zlib.compress(b"\0" * 1000)),
                _png(side, 1, zlib.compress(b"\0" * 1000)),
                _png(64, 64, zlib.compress(b"\0" * 10**7)[:20]),
                _png(8, 8, zlib.compress(b"\0" * 200)),
            ]
        )
        return self._upload("picture_bomb", body)

    def _broken_picture(self) -> Case:
        whole = _picture(40, 30, self._random.choice(["PNG", "JPEG"]))
        body = self._random.choice(
            [
                b"",
                b"\x89PNG\r\n\x1a\n",
                whole[: self._random.randrange(1, 60)],
                b"GIF89a" + b"\0" * 100,
                b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
                b"<html><script>alert(1)</script>",
                b"%PDF-1.7",
                b"BM" + b"\0" * 100,
                b"\xff\xd8\xff" + self._random.randbytes(300),
                self._random.randbytes(300),
            ]
        )
        return self._upload("broken_picture", body)

    def _own_bomb(self) -> Case:
        picture = self._random.choice(
            [_picture(4000, 4000), _png(30_000, 30_000, b""), _picture(63, 64), b"x", b""]
        )
        body = self._body() | {"own": {"1": base64.b64encode(picture).decode()}}
        if self._random.random() < 0.3:
            body["own"] = {self._random.choice(["-1", "1.0", "__proto__", "\u0661", ""]): "AA=="}
        return self._json("own_bomb", "compose", body)

    def _document_bomb(self) -> Case:
        picture = self._random.choice([_picture(4000, 4000), _png(30_000, 30_000, b""), b"x"])
        own = {str(i): base64.b64encode(picture).decode() for i in range(3)}
        document = {"kind": "rgan_studio", "version": 1, "graph": GRAPH, "studio": {"own": own}}
        return self._json("document_bomb", "open", {"document": document})

    def _upload(self, kind: str, body: bytes) -> Case:
        content_type = self._random.choice(["image/png", "image/jpeg"])
        return Case(kind, REFUSED, ("POST", "/api/own", {"Content-Type": content_type}), body)

    # The protocol

    def _huge_head(self) -> Case:
        kind = self._random.randrange(3)
        if kind == 0:
            return self._raw_case("huge_head", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n")
        if kind == 1:
            return self._raw_case("huge_head", self._start() + b"X: " + b"a" * 20_000 + b"\r\n\r\n")
        return self._raw_case("huge_head", self._start() + b"X: y\r\n" * 20_000 + b"\r\n")

    def _raw(self) -> Case:
        return self._raw_case(
            "raw",
            self._random.choice(
                [
                    self._random.randbytes(self._random.randrange(1, 2000)),
                    b"\x16\x03\x01\x02\x00" + self._random.randbytes(300),
                    b"GET http://evil.example/ HTTP/1.1\r\nHost: " + self._me() + b"\r\n\r\n",
                    b"GET / HTTP/1.0\r\n\r\n",
                    b"GET / HTTP/1.1\r\n\r\n",
                    b"GET / HTTP/1.1\r\nHost: " + self._me() + b"\r\nHost: evil.example\r\n\r\n",
                    b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                    b"OPTIONS * HTTP/1.1\r\nHost: " + self._me() + b"\r\n\r\n",
                    b"\0" * 500,
                    b"GET / HTTP/1.1\r\nHost : " + self._me() + b"\r\n\r\n",
                ]
            ),
        )

    def _smuggled(self) -> Case:
        post = b"POST /api/layout HTTP/1.1\r\nHost: " + self._me() + b"\r\n"
        post += b"Content-Type: application/json\r\n"
        return self._raw_case(
            "smuggled",
            self._random.choice(
                [
                    post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}}",
                    post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                    post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
                    post + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
                    post + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
                    post + b"Content-Length: -1\r\n\r\n{}",
                    post + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
                    post + b"Expect: 200-ok\r\nContent-Length: 2\r\n\r\n{}",
                ]
            ),
        )

    # Parts of these

    def _script(self) -> str:
        return self._random.choice(SCRIPTS)

    def _route(self) -> str:
        return self._random.choice(["layout", "compose", "candidates", "export", "open"])

    def _body(self) -> dict[str, Any]:
        return {"graph": copy.deepcopy(GRAPH), "draws": [{"seed": 1}]}

    def _for(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        """The body with the keys of a route."""
        if route == "open":
            return {"document": body["graph"]}
        kept = {key: value for key, value in body.items() if key != "draws" or route == "compose"}
        return kept | ({"position": 1} if route == "candidates" else {})

    def _head(self, route: str, headers: dict[str, str]) -> tuple[str, str, dict[str, str]]:
        return "POST", f"/api/{route}", {"Content-Type": "application/json", **headers}

    def _json(
        self,
        kind: str,
        route: str,
        body: Any,
        headers: dict[str, str] | None = None,
        statuses: tuple[int, ...] = (400,),
        expected: str = REFUSED,
    ) -> Case:
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return Case(kind, expected, self._head(route, headers or {}), body, statuses)

    def _me(self) -> bytes:
        return f"127.0.0.1:{self._port}".encode()

    def _start(self) -> bytes:
        return b"GET /api/model HTTP/1.1\r\nHost: " + self._me() + b"\r\n"

    def _raw_case(self, kind: str, content: bytes) -> Case:
        return Case(kind, REFUSED, None, content, (400, 403, 404, 405, 413, 417, 431, 501))


def _places(value: Any):
    """(holder, key) of every value inside."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(item, (dict, list)):
            yield from _places(item)


@functools.cache
def _picture(width: int, height: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (9, 9, 9)).save(buffer, kind)
    return buffer.getvalue()


def _png(width: int, height: int, data: bytes) -> bytes:
    """A PNG that says it has such a size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
