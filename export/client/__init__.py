"""Asks a server for images: `rgan serve` or TensorFlow Serving, over REST or gRPC.

    with connect("http://127.0.0.1:8501", "MODEL") as client:
        reply = client.predict("serving_default", arrays)

Imports no TensorFlow; only gRPC needs it, when it is chosen.
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
_LONGEST_TIMEOUT_S = 86_400.0  # sockets and gRPC take no arbitrary number
_UNUSABLE_IN_HOST = re.compile(r"[\x00-\x20\x7f]")

Arrays = dict[str, np.ndarray]


class Transport(Protocol):
    """One way to a server; used by many threads at once."""

    def call(self, signature: str, arrays: Mapping[str, np.ndarray], timeout_s: float) -> Arrays:
        """One attempt.

        Raises:
          ServiceError: of whatever kind.
        """

    def close(self) -> None:
        """Gives connections up."""


def connect(
    url: str,
    model: str | Path,
    *,
    name: str = DEFAULT_NAME,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    is_pinned: bool = True,
    is_retrying: bool = True,
) -> Client:
    """A client of one model; nothing is sent yet.

    Args:
      url: http://HOST:PORT for REST, grpc://HOST:PORT for gRPC.
      model: exported model, a version of it, or a folder with a copy of its `assets.extra` alone:
        names, sizes and provenance come from there.
      name: of the model at the server.
      timeout_s: for a request with all attempts, in (0, 86400].
      is_pinned: ask for the version of `model`, to which alone patch ids and provenance belong;
        its folder must be named by its number then. Otherwise the server's newest is asked,
        whatever it is.
      is_retrying: repeat what the server refused because it was busy, or did not get.

    Raises:
      BadInput: if an argument is not usable or there is no model.
      CorruptData: if its description is damaged.
    """
    if not 0.0 < timeout_s:  # NaN is not
        raise BadInput(f"timeout {timeout_s:g} s: must be above 0")
    _check_timeout(timeout_s)
    _check_name(name)
    contract = open_contract(model)
    version = _number_of(contract) if is_pinned else None
    transport = _transport(url, name, version, contract)
    return Client(transport, contract, timeout_s=timeout_s, is_retrying=is_retrying)


class Client:
    """Requests with one deadline over all attempts. Threads may share it.

    Every request can be repeated: an answer depends on nothing but the request. What
    `ServiceError.is_retryable` allows is repeated, after waits that double, with jitter, and no
    sooner than the server says.

    Attributes:
      contract: the model, as this machine knows it.

    Args:
      transport: to the server.
      timeout_s: for a request.
      is_retrying: whether anything is repeated.
      sleep, clock: replaced in tests.
      seed: of the jitter; None takes another one each time, so that clients do not come at once.
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
        """Gives connections up."""
        self._transport.close()

    def predict(
        self,
        signature: str,
        arrays: Mapping[str, np.ndarray],
        *,
        timeout_s: float | None = None,
    ) -> Arrays:
        """Asks an endpoint.

        Args:
          signature: one of `export.signatures.INPUTS`.
          arrays: [rows, ...] by field name.
          timeout_s: instead of the client's, at most 86400; DeadlineExceeded where it is not
            above 0.

        Returns:
          Arrays [rows, ...] by field name; binary ones of dtype object.

        Raises:
          BadInput: if the request does not fit the contract; nothing is sent then.
          ServiceError: what the server or the way there says; DeadlineExceeded when time is over.
        """
        if signature not in INPUTS:
            raise BadInput(f"endpoint {signature!r}: must be one of {', '.join(INPUTS)}")
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        _check_timeout(timeout_s)
        specs = specs_of(INPUTS[signature], self.contract.sizes)
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
        """One row of a scene graph.

        Args:
          request: made by `export.requests.build_request` with this contract.
          draw: how its patches are retrieved.

        Returns:
          Values by field name, without the rows' dimension.

        Raises:
          ServiceError: as `predict`.
        """
        fields = {**request.fields, **draw.fields}
        arrays = {name: np.asarray(value)[np.newaxis] for name, value in fields.items()}
        return {name: rows[0] for name, rows in self.predict(request.endpoint, arrays).items()}


def _check_timeout(timeout_s: float) -> None:
    if not timeout_s <= _LONGEST_TIMEOUT_S:  # NaN is not
        raise BadInput(f"timeout {timeout_s:g} s: must be at most {_LONGEST_TIMEOUT_S:g}")


def _check_name(name: str) -> None:
    try:
        is_name = bool(name.encode("utf-8"))
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        raise BadInput(f"name {name[:80]!r}: must be that of a model at the server")


def _number_of(contract: ModelFolder) -> int:
    """The version's number. One that is made up would fit another version's patch ids."""
    name = contract.folder.resolve().name  # also where the folder is given as "." or by a link
    number = version_number(name)
    if number is None:
        raise BadInput(
            f"--model {contract.folder}: its folder must be named by the number of the version, "
            "as rgan export named it, to ask the server for that version"
        )
    return number


def _is_host(host: str) -> bool:
    try:
        host.encode("idna")  # what the look-up does with it
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
        told = "; this client does not speak TLS" if is_secure else ""
        raise BadInput(f"server {url[:80]!r}: must be http://HOST:PORT or grpc://HOST:PORT{told}")
    if parts.scheme == "http":
        from export.client.rest_transport import RestTransport

        return RestTransport(host, port, name, version, contract)
    from export.client.grpc_transport import GrpcTransport

    return GrpcTransport(host, port, name, version, contract)
