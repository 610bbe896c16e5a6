"""Metrics of a server for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

import prometheus_client

_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 30.0)


class Telemetry:
    """Counters of one server in their own registry.

    Attributes:
      answered: requests that succeeded.

    Args:
      max_rows: of a batch.
      waiting_rows: returns the number of waiting rows.
      newest_version: returns the version that answers; None before the first.
    """

    def __init__(
        self,
        *,
        max_rows: int,
        waiting_rows: Callable[[], int],
        newest_version: Callable[[], int | None],
    ):
        self.answered = 0
        self._registry = prometheus_client.CollectorRegistry()
        self._requests = prometheus_client.Counter(
            "rgan_requests",
            "Requests answered, by protocol, signature and name of the gRPC status.",
            ["protocol", "signature", "status"],
            registry=self._registry,
        )
        self._seconds = prometheus_client.Histogram(
            "rgan_request_seconds",
            "Time from the request to the answer, of requests that succeeded.",
            ["protocol", "signature"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._batches = prometheus_client.Histogram(
            "rgan_batch_rows",
            "Rows of the batches that the model was run on.",
            buckets=range(1, max_rows + 1),
            registry=self._registry,
        )
        prometheus_client.Gauge(
            "rgan_waiting_rows", "Rows that wait for the model.", registry=self._registry
        ).set_function(waiting_rows)
        prometheus_client.Gauge(
            "rgan_model_version",
            "The version that answers if none is named; 0 before the first is loaded.",
            registry=self._registry,
        ).set_function(lambda: newest_version() or 0)

    def count(self, protocol: str, signature: str, status: str, seconds: float) -> None:
        """Counts a request.

        Args:
          protocol: "rest" or "grpc".
          signature: one of the model's, or "unknown".
          status: name of the gRPC code; "OK" for success.
          seconds: duration.
        """
        self._requests.labels(protocol, signature, status).inc()
        if status == "OK":
            self.answered += 1
            self._seconds.labels(protocol, signature).observe(seconds)

    def observe_batch(self, rows: int) -> None:
        """Counts a batch of that many rows."""
        self._batches.observe(rows)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return prometheus_client.generate_latest(self._registry)

    content_type = prometheus_client.CONTENT_TYPE_LATEST
