"""`rgan bench serve` against a scripted server."""

from __future__ import annotations

import json
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf

from export.model_folder import open_contract
from export.signatures import RETRIEVE_ONLY
from rgan_tf import cli
from tests.export.client.scripted import good, grpc_good, grpc_server, refuse, rest_server

_EVERY = 3  # request of which one is refused; never the first, which must be answered


class _Counter:
    """Seeds of the rows that came, and which request this one is."""

    def __init__(self):
        self.seeds: list[int] = []
        self.requests = 0
        self.refused = 0
        self._lock = threading.Lock()

    def is_refused(self, seeds: list[int]) -> bool:
        with self._lock:
            self.seeds += seeds
            refuse = self.requests % _EVERY == _EVERY - 1
            self.requests += 1
            self.refused += refuse
            return refuse


def _rest(contract, counter: _Counter):
    def answer(handler, body):
        seeds = body["inputs"]["seed"]
        is_refused = counter.is_refused(seeds)
        (refuse(503, "full") if is_refused else good(contract, rows=len(seeds)))(handler)

    return rest_server(answer)


def _grpc(contract, counter: _Counter):
    def answer(request, context):
        seeds = tf.make_ndarray(request.inputs["seed"]).tolist()
        if counter.is_refused(seeds):
            context.abort(grpc.StatusCode.UNAVAILABLE, "full")
        return grpc_good(contract, rows=len(seeds))(context)

    return grpc_server(answer)


@pytest.mark.parametrize("serving", [_rest, pytest.param(_grpc, marks=pytest.mark.thorough)])
def test_all_rates_are_run_and_nothing_is_sent_twice(exported, capfd, serving):
    counter = _Counter()
    with serving(open_contract(exported.folder), counter) as url:
        words = ("bench", "serve", "--server", url, "--model", exported.folder, "--rows", 2)
        options = ("--rates", 20, 40, "--seconds", 1, "--signature", RETRIEVE_ONLY, "--seed", 7)
        code = cli.main([str(word) for word in (*words, *options)])
    out, err = capfd.readouterr()
    assert code == 0, err
    result = json.loads(out)
    assert [entry["rate"] for entry in result["rates"]] == [20.0, 40.0]
    assert result["server"] == url and result["version"] == "1" and result["seed"] == 7
    sent = sum(entry["sent"] for entry in result["rates"])
    assert counter.requests == sent + 1  # the first is not counted
    assert sum(entry["rejected"] for entry in result["rates"]) == counter.refused > 0
    for entry in result["rates"]:
        assert entry["sent"] == entry["answered"] + entry["rejected"]
        assert entry["not_sent"] == 0 and not entry["errors"]
        assert 0 < entry["latency_ms"]["p50"] <= entry["latency_ms"]["p99"]
        assert entry["rejection_ms"]["p50"] > 0
    assert len(counter.seeds) == len(set(counter.seeds)) == 2 * counter.requests
    assert np.min(counter.seeds) >= 0 and np.max(counter.seeds) < 2**31


def test_a_run_that_is_too_large_is_one_line(exported, capfd):
    words = ("bench", "serve", "--server", "http://127.0.0.1:1", "--model", exported.folder)
    assert cli.main([str(word) for word in (*words, "--rates", 10_000, "--seconds", 1e6)]) == 2
    err = capfd.readouterr().err
    assert err.startswith("rgan bench serve: --rates") and err.count("\n") == 1
