"""The measurements of `rgan bench server`."""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from export.bench.load import percentiles, run_load, summary
from export.bench.requests import full_request
from export.bench.server_process import ServerProcess
from export.client import Client, connect
from export.model_folder import ModelFolder
from export.saved_model_loading import load_saved_model
from export.service_errors import ServiceError
from export.signatures import GENERATE, MAX_BATCH
from rgan_tf.errors import BadInput

_CLIENTS_AT_ONCE = 4
_WARM = 5  # requests that do not count
_TIMEOUT_S = 30.0
_MAX_IN_FLIGHT = 256
_PROBE_S = 0.1
_FAST_IN_A_ROW = 5
_LONGEST_RECOVERY_S = 60.0


def measure_latency(server: ServerProcess, model: ModelFolder, seconds: float) -> dict[str, Any]:
    """Sequential requests of one row, by protocol: percentiles in milliseconds."""
    result = {}
    for protocol, url in _urls(server).items():
        _log(f"latency over {protocol}")
        with _client(url, model) as client:
            times: list[float] = []
            end = time.monotonic() + seconds
            while len(times) < _WARM or time.monotonic() < end:
                request = full_request(GENERATE, model, 1, len(times))
                started = time.monotonic()
                client.predict(GENERATE, request)
                times.append(time.monotonic() - started)
        result[protocol] = percentiles(times[_WARM:])
    return result


def measure_throughput(
    server: ServerProcess, model: ModelFolder, seconds: float, rounds: int, *, clients: int
) -> dict[str, Any]:
    """Rows per second in requests of 8: medians, and medians of the ratios to the bare model."""
    loaded = load_saved_model(model)
    request = full_request(GENERATE, model, MAX_BATCH, 0)

    def bare() -> None:
        tensors = {name: tf.constant(value) for name, value in request.items()}
        for value in loaded.signatures[GENERATE](**tensors).values():
            value.numpy()

    measured: dict[str, list[float]] = {}
    for number in range(rounds):
        _log(f"throughput, round {number + 1} of {rounds}")
        rates = {"bare": _closed_loop(bare, seconds, threads=1)}
        for protocol, url in _urls(server).items():
            with _client(url, model) as client:
                rates[protocol] = _closed_loop(
                    lambda client=client: client.predict(GENERATE, request),
                    seconds,
                    threads=clients,
                )
        for name, rate in rates.items():
            measured.setdefault(name, []).append(MAX_BATCH * rate)
            if name != "bare":
                measured.setdefault(f"{name}/bare", []).append(rate / rates["bare"])
    return {name: round(statistics.median(values), 3) for name, values in measured.items()}


def measure_overload(
    server: ServerProcess,
    model: ModelFolder,
    seconds: float,
    *,
    nominal: float,
    times: float,
    overload_s: float,
) -> dict[str, Any]:
    """One-row requests at a nominal rate and at a multiple of it, and the time to recover."""
    with _client(server.rest, model) as client:

        def call(number: int) -> None:
            client.predict(GENERATE, full_request(GENERATE, model, 1, number))

        _log("maximum rate of the server")
        capacity = _closed_loop(lambda: call(0), seconds, threads=_CLIENTS_AT_ONCE)
        rate = nominal * capacity
        figures = {}
        for name, load, lasting in (
            ("nominal", rate, max(seconds, overload_s / 2)),
            ("overload", times * rate, overload_s),
        ):
            _log(f"{name}: {load:.1f} requests/s for {lasting:g} s")
            outcomes, not_sent = run_load(
                call, rate=load, seconds=lasting, seed=0, max_in_flight=_MAX_IN_FLIGHT
            )
            figures[name] = summary(outcomes, not_sent, rate=load, seconds=lasting, rows=1)
        usual = figures["nominal"]["latency_ms"]["p99"]
        recovery = _recovery(call, usual / 1000.0) if usual else None
    accepted = figures["overload"]["latency_ms"]["p99"]
    return {
        "capacity_per_s": round(capacity, 2),
        **figures,
        "accepted_p99/nominal_p99": round(accepted / usual, 3) if usual and accepted else None,
        "recovery_s": recovery,
    }


def measure_restart(
    server: ServerProcess, path: Path, model: ModelFolder, options: tuple[str, ...]
) -> tuple[ServerProcess, dict[str, Any]]:
    """Seconds from SIGKILL through the same command to the first answer."""
    _log("kill and restart")
    server.kill()
    started = time.monotonic()
    server = ServerProcess(path, *options)
    with _client(server.rest, model) as client:
        client.predict(GENERATE, full_request(GENERATE, model, 1, 0))
    answered = time.monotonic() - started
    return server, {
        "answer_s": round(answered, 2),
        "load_s": server.load_s,
        "beyond_loading_s": round(answered - server.load_s, 2),
    }


def _recovery(call: Callable[[int], None], usual_s: float) -> float | None:
    """Seconds until the first of several consecutive answers of the usual speed."""
    start = time.monotonic()
    since: float | None = None
    fast = 0
    while time.monotonic() - start < _LONGEST_RECOVERY_S:
        sent = time.monotonic()
        try:
            call(0)
            is_fast = time.monotonic() - sent <= usual_s
        except ServiceError:
            is_fast = False
        since = (since if fast else sent) if is_fast else None
        fast = fast + 1 if is_fast else 0
        if fast == _FAST_IN_A_ROW:
            return round(since - start, 2)
        time.sleep(_PROBE_S)
    return None


def _closed_loop(call: Callable[[], object], seconds: float, *, threads: int) -> float:
    """Calls per second of several threads, each of which waits for its answer."""
    call()
    done: list[int] = []
    errors: list[ServiceError] = []
    start = time.monotonic()

    def work() -> None:
        count = 0
        try:
            while time.monotonic() - start < seconds:
                call()
                count += 1
        except ServiceError as error:
            errors.append(error)
        done.append(count)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise BadInput(f"{errors[0]}; a longer --queue-rows may help")
    return sum(done) / (time.monotonic() - start)


def _client(url: str, model: ModelFolder) -> Client:
    return connect(url, model.folder, timeout_s=_TIMEOUT_S, is_retrying=False)


def _urls(server: ServerProcess) -> dict[str, str]:
    return {"rest": server.rest, "grpc": server.grpc}


def _log(text: str) -> None:
    logging.getLogger(__name__).info("rgan bench server: %s", text)
