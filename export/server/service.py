"""Handles requests of both protocols: finds the version, reads the fields, runs the model."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from export.server.batching import Batcher
from export.server.loaded_version import LoadedVersion
from export.server.telemetry import Telemetry
from export.server.versions import Versions
from export.service_errors import InvalidRequest, NotFound, ServiceError
from export.signatures import GENERATE, INPUTS
from export.wire import TensorSpec
from rgan_tf.errors import BadInput

DEFAULT_TIMEOUT_S = 30.0  # for requests without a deadline, and the longest over REST
MAX_REQUEST_BYTES = 16 * 2**20

ReadFields = Callable[[Mapping[str, TensorSpec]], Awaitable[dict[str, np.ndarray]]]


class Service:
    """One model under a name, for all protocols.

    Attributes:
      name: of the model for clients.
      versions: the served versions.
      telemetry: counts the answers.

    Args:
      batcher: runs the model.
    """

    def __init__(self, name: str, versions: Versions, batcher: Batcher, telemetry: Telemetry):
        self.name = name
        self.versions = versions
        self.telemetry = telemetry
        self._batcher = batcher
        self._is_stopping = False

    @property
    def is_ready(self) -> bool:
        """Whether the model would answer a request now."""
        return self.versions.newest is not None and not self._is_stopping

    def stop(self) -> None:
        """Makes `is_ready` false; accepted requests are still answered."""
        self._is_stopping = True

    def check_name(self, name: str) -> None:
        """Checks the name of the model.

        Raises:
          NotFound: if it is another one.
        """
        if name != self.name:
            raise NotFound(f"model {name[:80]!r} is not served here; {self.name!r} is")

    def find(self, name: str, version: int | None) -> LoadedVersion:
        """A version by number; the newest for None.

        Raises:
          InvalidRequest: if no name is given.
          NotFound: if there is no such model or version.
          Overloaded: if no version is loaded yet.
        """
        if not name:
            raise InvalidRequest("model_spec: names no model")
        self.check_name(name)
        return self.versions.get(version)

    def check_room(self) -> None:
        """Refuses a request before any work on it.

        Raises:
          Overloaded: if too many rows wait.
        """
        self._batcher.check_room()

    async def predict(
        self, version: LoadedVersion, signature: str, read: ReadFields, deadline: float
    ) -> dict[str, np.ndarray]:
        """Answers one request.

        Args:
          version: the version to run.
          signature: name; empty for the default one.
          read: takes the expected specs, returns the arrays of the request.
          deadline: on the clock of `time.monotonic`.

        Returns:
          Arrays [rows, ...] by field name; binary ones of dtype object.

        Raises:
          ServiceError: of any kind.
        """
        signature = signature or GENERATE
        if signature not in version.specs:
            names = ", ".join(sorted(version.specs))
            raise InvalidRequest(f"signature_name: {signature[:80]!r} is not one of {names}")
        self.check_room()
        try:
            arrays = await read(version.specs[signature])
        except BadInput as error:
            raise InvalidRequest(str(error)) from error
        return await self._batcher.run(version, signature, arrays, deadline)

    @contextmanager
    def counted(self, protocol: str) -> Iterator[list[str]]:
        """Counts the outcome of its block; put the signature's name into the list.

        Args:
          protocol: "rest" or "grpc".
        """
        started = time.monotonic()
        signature: list[str] = []
        status = "CANCELLED"  # for any end without success or one of our exceptions
        try:
            yield signature
            status = "OK"
        except ServiceError as error:
            status = error.grpc_name
            raise
        except Exception:
            status = ServiceError.grpc_name
            raise
        finally:
            named = signature[0] if signature and signature[0] in INPUTS else "unknown"
            self.telemetry.count(protocol, named, status, time.monotonic() - started)
