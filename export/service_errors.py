"""What can go wrong between a client and a server, each with its gRPC and its HTTP name.

A message is one line. The names are those of gRPC; the HTTP codes are those that TensorFlow Serving
answers with. Imports neither TensorFlow nor gRPC.
"""

from __future__ import annotations

from rgan_tf.errors import RganError


class ServiceError(RganError):
    """Base of all; by itself a failure inside the server.

    Attributes:
      grpc_name: of the status code.
      http_status: number.
      is_retryable: whether the same request may succeed a moment later.
      retry_after_s: seconds that the server wants to be left alone for; None if it did not say.
    """

    exit_code = 2  # whoever is at fault, it is not the program that asks
    grpc_name = "INTERNAL"
    http_status = 500
    is_retryable = False
    retry_after_s: float | None = None


class InvalidRequest(ServiceError):
    """The request itself is wrong; the same one will never succeed."""

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
    """A method that this server does not have."""

    grpc_name = "UNIMPLEMENTED"
    http_status = 501


class Overloaded(ServiceError):
    """The queue is full, or the server is starting or stopping."""

    grpc_name = "UNAVAILABLE"
    http_status = 503
    is_retryable = True


class DeadlineExceeded(ServiceError):
    """No answer within the time that the client gave."""

    grpc_name = "DEADLINE_EXCEEDED"
    http_status = 504


class Unreachable(ServiceError):
    """No connection to the server, or it broke."""

    grpc_name = "UNAVAILABLE"
    http_status = 503
    is_retryable = True


class BadReply(ServiceError):
    """The server answered something that is not a reply of such a model."""


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
    "CANCELLED": Unreachable,  # by a server that stops: this client cancels nothing
    "DEADLINE_EXCEEDED": DeadlineExceeded,
}


def error_of_http(status: int, message: str) -> ServiceError:
    """The error that a status of HTTP stands for."""
    default = InvalidRequest if 400 <= status < 500 else ServiceError
    return _BY_HTTP.get(status, default)(message)


def error_of_grpc(name: str, message: str) -> ServiceError:
    """The error that a status of gRPC, by its name, stands for."""
    return _BY_GRPC.get(name, ServiceError)(message)
