"""Client of a server, `rgan serve` or TensorFlow Serving, over REST or gRPC.

    with connect("http://127.0.0.1:8501", "MODEL") as client:
        reply = client.predict("serving_default", arrays)

Imports no TensorFlow unless gRPC is chosen.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np

from export.model_folder import ModelFolder, open_contract
from export.requests import Draw, Request
from export.service_errors import DeadlineExceeded, ServiceError
from export.signatures import DEFAULT_NAME, INPUTS, MAX_BATCH
from export.wire import read_tensors, specs_of
from rgan_tf.errors import BadInput
from rgan_tf.exported import version_number

DEFAULT_TIMEOUT_S = 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 1.0
_LONGEST_TIMEOUT_S = 86_400.0  # sockets and gRPC have limits
_UNUSABLE_IN_HOST = re.compile(r"[\x00-\x20\x7f]")

Arrays = dict[str, np.ndarray]


class Transport(Protocol):
    """A connection to a server; used by many threads at once."""

    def call(self, signature: str, arrays: Mapping[str, np.ndarray], timeout_s: float) -> Arrays:
        """Makes one attempt.

        Raises:
          ServiceError: of any kind.
        """

    def close(self) -> None:
        """Closes connections."""


def connect(
    url: str,
    model: str | Path,
    *,
    name: str = DEFAULT_NAME,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    is_pinned: bool = True,
    is_retrying: bool = True,
) -> Client:
    """Makes a client of one model; sends nothing yet.

    Args:
      url: http://HOST:PORT for REST, grpc://HOST:PORT for gRPC.
      model: exported model, a version of it, or a folder with a copy of its `assets.extra` only;
        source of names, sizes and provenance.
      name: of the model at the server.
      timeout_s: for a request including all attempts, in (0, 86400].
      is_pinned: ask for the version of `model`, for which alone patch ids and provenance are valid;
        its folder must then be named by its number. Otherwise the server's newest version is
        asked.
      is_retrying: repeat requests that the server refused as busy or did not receive.

    Raises:
      BadInput: if an argument is not usable or there is no model.
      CorruptData: if the model's description is damaged.
    """
    if not 0.0 < timeout_s:  # also refuses NaN
        raise BadInput(f"timeout {timeout_s:g} s: must be above 0")
    _check_timeout(timeout_s)
    _check_name(name)
    contract = open_contract(model)
    version = _number_of(contract) if is_pinned else None
    transport = _transport(url, name, version, contract)
    return Client(transport, contract, timeout_s=timeout_s, is_retrying=is_retrying)


class Client:
    """Sends requests with one deadline over all attempts. Thread-safe.

    Every request can be repeated, because an answer depends only on the request. If
    `ServiceError.is_retryable`, it is repeated after waits that double, with jitter, and not before
    the time given by the server.

    Attributes:
      contract: the model, as known on this machine.

    Args:
      transport: to the server.
      timeout_s: for a request.
      is_retrying: whether requests are repeated.
      sleep, clock: replaced in tests.
      seed: of the jitter; None takes a new one each time, so that clients do not synchronise.
    """

    def __init__(
        self,
        transport: Transport,
        contract: ModelFolder,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        is_retrying: bool = True,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ):
        self.contract = contract
        self._transport = transport
        self._timeout_s = timeout_s
        self._is_retrying = is_retrying
        self._sleep = sleep
        self._clock = clock
        self._random = random.Random(seed)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes connections."""
        self._transport.close()

    def predict(
        self,
        signature: str,
        arrays: Mapping[str, np.ndarray],
        *,
        timeout_s: float | None = None,
    ) -> Arrays:
        """Sends a request to an endpoint.

        Args:
          signature: one of the contract's endpoints.
          arrays: [rows, ...] by field name.
          timeout_s: instead of the client's, at most 86400; raises DeadlineExceeded if it is not
            above 0.

        Returns:
          Arrays [rows, ...] by field name; binary ones of dtype object.

        Raises:
          BadInput: if the request does not fit the contract; nothing is sent then.
          ServiceError: from the server or the network; DeadlineExceeded if the time is up.
        """
        endpoints = self.contract.endpoints
        if signature not in endpoints:
            of = ""
            if self.contract.rival:
                of = f"{self.contract.folder} is of {self.contract.system}; "
            elif signature in INPUTS:
                of = f"{self.contract.folder} is of an earlier version; "
            raise BadInput(f"endpoint {signature!r}: {of}must be one of {', '.join(endpoints)}")
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        _check_timeout(timeout_s)
        specs = specs_of(self.contract.inputs_of(signature), self.contract.sizes)
        arrays = read_tensors(arrays, specs, max_rows=MAX_BATCH)
        deadline = self._clock() + timeout_s
        wait_s = _FIRST_WAIT_S
        while True:
            left = deadline - self._clock()
            if left <= 0:
                raise DeadlineExceeded("no answer within the deadline")
            try:
                return self._transport.call(signature, arrays, left)
            except ServiceError as error:
                pause = max(wait_s, error.retry_after_s or 0.0) * self._random.uniform(1.0, 1.5)
                hopeless = deadline - self._clock() <= pause
                if not self._is_retrying or not error.is_retryable or hopeless:
                    raise
                if wait_s == _FIRST_WAIT_S:
                    logging.getLogger(__name__).info("%s; trying again", error)
            self._sleep(pause)
            wait_s = min(2.0 * wait_s, _LONGEST_WAIT_S)

    def generate(self, request: Request, draw: Draw) -> dict[str, Any]:
        """Requests one row of a scene graph.

        Args:
          request: from `export.requests.build_request` with this contract.
          draw: how its patches are retrieved.

        Returns:
          Values by field name, without the rows' dimension.

        Raises:
          ServiceError: see `predict`.
        """
        fields = {**request.fields, **draw.fields}
        arrays = {name: np.asarray(value)[np.newaxis] for name, value in fields.items()}
        return {name: rows[0] for name, rows in self.predict(request.endpoint, arrays).items()}


def _check_timeout(timeout_s: float) -> None:
    if not timeout_s <= _LONGEST_TIMEOUT_S:  # also refuses NaN
        raise BadInput(f"timeout {timeout_s:g} s: must be at most {_LONGEST_TIMEOUT_S:g}")


def _check_name(name: str) -> None:
    try:
        is_name = bool(name.encode("utf-8"))
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        raise BadInput(f"name {name[:80]!r}: must be that of a model at the server")


def _number_of(contract: ModelFolder) -> int:
    """The version's number; an invented one would match another version's patch ids."""
    name = contract.folder.resolve().name  # resolves "." and links
    number = version_number(name)
    if number is None:
        raise BadInput(
            f"--model {contract.folder}: its folder must be named by the number of the version, "
            "as rgan export named it, to ask the server for that version"
        )
    return number


def _is_host(host: str) -> bool:
    try:
        host.encode("idna")  # as the look-up does
    except UnicodeError:
        return False
    return not _UNUSABLE_IN_HOST.search(host)


def _transport(url: str, name: str, version: int | None, contract: ModelFolder) -> Transport:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    is_plain = host and port and _is_host(host)
    is_plain = is_plain and not (parts.query or parts.fragment or parts.username)
    if not is_plain or parts.path not in ("", "/") or parts.scheme not in ("http", "grpc"):
        is_secure = url.lower().startswith(("https:", "grpcs:"))
        hint = "; this client does not speak TLS" if is_secure else ""
        raise BadInput(f"server {url[:80]!r}: must be http://HOST:PORT or grpc://HOST:PORT{hint}")
    if parts.scheme == "http":
        from export.client.rest_transport import RestTransport

        return RestTransport(host, port, name, version, contract)
    from export.client.grpc_transport import GrpcTransport

    return GrpcTransport(host, port, name, version, contract)
