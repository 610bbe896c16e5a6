"""Describes answers that are not from a model server, with a hint about their origin."""

from __future__ import annotations

import re

from rgan_tf.errors import one_line

_SHOWN = 200  # characters
_HTTP2_SETTINGS = re.compile(rb"\x00..\x04", re.DOTALL)  # beginning of gRPC's answer
_TLS_ALERT = (b"\x15\x03", b"\x16\x03")
_TLS_WORDS = re.compile(rb"HTTPS (?:port|server)|SSL-enabled server port|TLS", re.IGNORECASE)
_HTML = re.compile(rb"\s*<(?:!doctype|html|\?xml|head|body)", re.IGNORECASE)
# gRPC's messages for an answer that is not HTTP/2, or HTTP/2 but not gRPC.
_GRPC_AT_HTTP = re.compile(r"Failed parsing HTTP/2|http1\.x|HTTP/1\.|Expected SETTINGS frame")
_GRPC_AT_OTHER = re.compile(r"Received http2 header with status|invalid content-type|content-type")


def describe_answer(content: bytes) -> str:
    """The beginning of an answer over REST as safe text, and its likely origin.

    Args:
      content: body, or the content in place of a status line.
    """
    if not content.strip():
        return f"an empty answer; {_hint_of(content)}"
    text = one_line(content[: 4 * _SHOWN].decode("utf-8", "backslashreplace"), _SHOWN)
    return f'an answer that begins with "{text}"; {_hint_of(content)}'


def hint_of_grpc(details: str) -> str | None:
    """The likely cause of gRPC's message about a foreign answer; None for other messages."""
    if _GRPC_AT_HTTP.search(details):
        return "is that the REST port? It goes with http://"
    if _GRPC_AT_OTHER.search(details):
        return "is that the port of a proxy, or of another server?"
    return None


def _hint_of(content: bytes) -> str:
    if _HTTP2_SETTINGS.match(content):
        return "is that the gRPC port? It goes with grpc://"
    if content.startswith(_TLS_ALERT) or _TLS_WORDS.search(content[:_SHOWN]):
        return "the port speaks TLS, which this client does not; name one that does not"
    if _HTML.match(content):
        return "is that the port of a proxy, or of another server?"
    return "is that the REST port of a model server?"
