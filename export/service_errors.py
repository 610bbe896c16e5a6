"""Errors between a client and a server, each with its gRPC and its HTTP name.

A message is one line. The names are gRPC's; the HTTP codes are those of TensorFlow Serving. Imports
neither TensorFlow nor gRPC.
"""

from __future__ import annotations

from rgan_tf.errors import RganError


class ServiceError(RganError):
    """Base class; itself a failure inside the server.

    Attributes:
      grpc_name: of the status code.
      http_status: number.
      is_retryable: whether the same request may succeed a moment later.
      retry_after_s: seconds that the client should wait; None if the server did not say.
    """

    exit_code = 2  # not a bug of the client program
    grpc_name = "INTERNAL"
    http_status = 500
    is_retryable = False
    retry_after_s: float | None = None


class InvalidRequest(ServiceError):
    """The request is wrong and will never succeed."""

    grpc_name = "INVALID_ARGUMENT"
    http_status = 400


class NotFound(ServiceError):
    """No such model, version or signature."""

    grpc_name = "NOT_FOUND"
    http_status = 404


class TooLarge(InvalidRequest):
    """The body is larger than the server reads."""

    grpc_name = "RESOURCE_EXHAUSTED"
    http_status = 413


class Unsupported(InvalidRequest):
    """A method that this server does not support."""

    grpc_name = "UNIMPLEMENTED"
    http_status = 501


class Overloaded(ServiceError):
    """The queue is full, or the server is starting or stopping."""

    grpc_name = "UNAVAILABLE"
    http_status = 503
    is_retryable = True


class DeadlineExceeded(ServiceError):
    """No answer within the client's deadline."""

    grpc_name = "DEADLINE_EXCEEDED"
    http_status = 504


class Unreachable(ServiceError):
    """The connection to the server failed or broke."""

    grpc_name = "UNAVAILABLE"
    http_status = 503
    is_retryable = True


class BadReply(ServiceError):
    """The server's answer is not a reply of such a model."""


_BY_HTTP = {
    400: InvalidRequest,
    404: NotFound,
    413: TooLarge,
    429: Overloaded,
    501: Unsupported,
    503: Overloaded,
    504: DeadlineExceeded,
}
_BY_GRPC = {
    "INVALID_ARGUMENT": InvalidRequest,
    "FAILED_PRECONDITION": InvalidRequest,
    "OUT_OF_RANGE": InvalidRequest,
    "NOT_FOUND": NotFound,
    "UNIMPLEMENTED": Unsupported,
    "RESOURCE_EXHAUSTED": Overloaded,
    "UNAVAILABLE": Overloaded,
    "CANCELLED": Unreachable,  # by a stopping server: this client cancels nothing
    "DEADLINE_EXCEEDED": DeadlineExceeded,
}


def error_of_http(status: int, message: str) -> ServiceError:
    """The error for an HTTP status."""
    default = InvalidRequest if 400 <= status < 500 else ServiceError
    return _BY_HTTP.get(status, default)(message)


def error_of_grpc(name: str, message: str) -> ServiceError:
    """The error for a gRPC status, by its name."""
    return _BY_GRPC.get(name, ServiceError)(message)
