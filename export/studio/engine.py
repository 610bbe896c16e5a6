"""What the studio asks of a model, and the model in this process; imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from export.model_folder import ModelFolder
from export.wire import TensorSpec

if TYPE_CHECKING:
    from export.server.service import Service

Arrays = dict[str, np.ndarray]


class Version(Protocol):
    """One version of a model.

    Attributes:
      number: of the version.
      model: names, sizes and provenance of its patches.
    """

    number: int
    model: ModelFolder


class Engine(Protocol):
    """Answers the requests of the studio.

    Attributes:
      name: of the model.
    """

    name: str

    def find(self, number: int | None) -> Any:
        """A `Version` by number; the newest for None.

        Raises:
          NotFound: if that version is not served.
          Overloaded: if none is loaded yet.
        """

    def check_room(self) -> None:
        """Refuses a request before any work on it.

        Raises:
          Overloaded: if too many rows wait.
        """

    async def run(self, version: Any, endpoint: str, fields: Arrays, deadline: float) -> Arrays:
        """Runs an endpoint, each row by itself: its bytes are those of `rgan generate`.

        Args:
          version: from `find`.
          endpoint: its name.
          fields: [rows, ...] by field name.
          deadline: on the clock of `time.monotonic`.

        Returns:
          [rows, ...] by field name; binary ones of dtype object.

        Raises:
          ServiceError: of any kind.
        """


class ServedEngine:
    """The versions of a model in this process; an `Engine`.

    Args:
      service: the parts of the server.
    """

    def __init__(self, service: Service):
        self._service = service
        self.name = service.name

    def find(self, number: int | None) -> Any:
        """See `Engine`."""
        return self._service.find(self.name, number)

    def check_room(self) -> None:
        """See `Engine`."""
        self._service.check_room()

    async def run(self, version: Any, endpoint: str, fields: Arrays, deadline: float) -> Arrays:
        """See `Engine`."""

        async def read(_: Mapping[str, TensorSpec]) -> Arrays:
            return fields

        with self._service.counted("studio") as signature:
            signature.append(endpoint)
            return await self._service.predict(version, endpoint, read, deadline)
