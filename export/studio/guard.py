"""Decides who may speak to the studio, before anything of a request is used.

The studio listens on the loopback interface, where every page in the user's browser can reach it:

* A page elsewhere whose name was rebound to 127.0.0.1 sends its own name as `Host`. Only names of
  this machine are let in, and addresses, which nobody can rebind.
* A page of another origin can send what needs no preflight. JSON and pictures need one, which is
  never granted; and browsers say by `Sec-Fetch-Site` and `Origin` where a request is from.
* What the page itself runs and loads is limited by the headers of every answer.
"""

from __future__ import annotations

import dataclasses
import hmac
import ipaddress

from aiohttp import web

from export.server.http_parts import Handler
from export.studio.refused import Refused

TOKEN_HEADER = "X-Studio-Token"
JSON_TYPES = ("application/json", "application/json; charset=utf-8")
PICTURE_TYPES = ("image/png", "image/jpeg")

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_ANY = ("0.0.0.0", "::")  # noqa: S104 - recognised, not listened at
_HTTP_PORT = 80  # which browsers leave out
_PUBLIC = ("/static/",)  # beside "/": the page, which holds nothing of the model
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclasses.dataclass(frozen=True)
class Guard:
    """Who is let in.

    Attributes:
      host: that the studio listens at.
      port: that it listens at.
      token: that requests to the API must show; None for none.
    """

    host: str
    port: int
    token: str | None = None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuses a request, or passes it on."""
        self._check_host(request)
        self._check_origin(request)
        self._check_token(request)
        return await handler(request)

    def _check_host(self, request: web.Request) -> None:
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not self._is_ours(hosts[0]) or not request.raw_path.startswith("/"):
            shown = repr(hosts[0][:60]) if hosts else "none"
            raise Refused(
                f"Host: {shown} is not a name of this studio; open it as "
                f"http://{_LOOPBACK[1]}:{self.port}/ or by the address of its machine",
                "Host",
                403,
            )

    def _is_ours(self, host: str) -> bool:
        suffix = f":{self.port}"
        name = host.removesuffix(suffix).lower()
        if not host.endswith(suffix) and self.port != _HTTP_PORT:
            return False
        bracketed = f"[{self.host}]" if ":" in self.host else self.host.lower()
        return name in (*_LOOPBACK, bracketed) or (self.host in _ANY and _is_address(name))

    def _check_origin(self, request: web.Request) -> None:
        sites = request.headers.getall("Sec-Fetch-Site", [])
        is_opened = (  # a link to the studio
            request.method == "GET"
            and request.path == "/"
            and request.headers.get("Sec-Fetch-Mode") == "navigate"
            and request.headers.get("Sec-Fetch-Dest") == "document"
        )
        if not is_opened and not all(site in ("same-origin", "none") for site in sites):
            raise Refused(
                "Sec-Fetch-Site: only the studio's own page may send this", "Sec-Fetch-Site", 403
            )
        own = f"http://{request.headers['Host'].lower()}"
        if any(origin.lower() != own for origin in request.headers.getall("Origin", [])):
            raise Refused("Origin: only the studio's own page may send this", "Origin", 403)

    def _check_token(self, request: web.Request) -> None:
        if self.token is None or request.path == "/" or request.path.startswith(_PUBLIC):
            return
        shown = request.headers.get(TOKEN_HEADER, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(shown, self.token.encode("ascii")):
            raise Refused(
                f"{TOKEN_HEADER}: is not this studio's token; open the address that the command "
                "printed",
                TOKEN_HEADER,
                401,
            )


def check_type(request: web.Request, types: tuple[str, ...]) -> None:
    """Refuses a body of another type, or a packed one.

    Raises:
      Refused: if it is.
    """
    given = request.headers.getall("Content-Type", [])
    if len(given) != 1 or given[0].lower() not in types:
        raise Refused(f"Content-Type: must be {' or '.join(types)}", "Content-Type", 415)
    encodings = request.headers.getall("Content-Encoding", [])
    if any(encoding.strip().lower() not in ("", "identity") for encoding in encodings):
        raise Refused("Content-Encoding: packed bodies are not read", "Content-Encoding", 415)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Called with every answer before its headers are sent."""
    response.headers.update(_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
