"""The same request in process, over REST and over gRPC, alone and among others."""

from __future__ import annotations

import collections
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from export.signatures import (
    CANDIDATES,
    DETERMINISTIC,
    ENCODE,
    GENERATE,
    GENERATE_WITH_PATCHES,
    INPUTS,
    NEAREST,
    NEIGHBOURS,
    PATCHES,
    RETRIEVE_ONLY,
    SAMPLE,
    WITH_REPEATS,
)

MODES = (SAMPLE, DETERMINISTIC, NEAREST)
CASES = [
    *((GENERATE, mode, rows, locked) for mode in MODES for rows, locked in [(1, False), (3, True)]),
    *((RETRIEVE_ONLY, mode, rows, True) for mode in MODES for rows in (1, 8)),
    *((RETRIEVE_ONLY, mode + WITH_REPEATS, 8, True) for mode in MODES),
    *((GENERATE_WITH_PATCHES, mode, 2, locked) for mode in MODES for locked in (False, True)),
    (ENCODE, SAMPLE, 1, False),
    (ENCODE, SAMPLE, 8, False),
    *((CANDIDATES, SAMPLE, rows, locked) for rows, locked in [(1, False), (1, True), (8, True)]),
    *((endpoint, SAMPLE, rows, False) for endpoint in (PATCHES, NEIGHBOURS) for rows in (1, 8)),
]


@pytest.fixture(scope="module")
def in_process(exported):
    """What the SavedModel itself answers."""

    def call(endpoint, fields):
        tensors = {name: tf.constant(value) for name, value in fields.items()}
        reply = exported.signatures[endpoint](**tensors)
        return {name: value.numpy() for name, value in reply.items()}

    return call


@pytest.fixture(scope="module")
def make(tools):
    """Requests with as much in them as an endpoint takes; the same number, the same request."""

    def request(endpoint, mode=SAMPLE, rows=1, locked=False, number=0):
        random = np.random.default_rng([number, rows, mode])
        fields = tools.example(endpoint, rows)
        for name in ("ids", "patch_id"):
            if name in fields:
                fields[name][:] = random.integers(0, tools.sizes.patches, fields[name].shape)
        if "objects" in fields:
            present = fields["objects"] != 0
            fields["objects"][present] = random.integers(2, tools.sizes.num_objects, present.sum())
        if "mode" in fields:
            fields["mode"][:] = mode
            fields["seed"][:] = random.integers(0, 2**31 - 1, rows)
            fields["temperature"][:] = random.uniform(0.1, 3.0, rows)
        if "patch_ids" in fields and locked:
            fields["licences_refused"][:] = False
            fields["patch_ids"][:, 1] = random.integers(0, tools.sizes.patches, rows)
        if "own_given" in fields:
            given = fields["own_given"]
            noise = random.integers(0, 256, fields["own_patches"].shape, np.uint8)
            fields["own_patches"][given] = noise[given]
        return fields

    return request


@pytest.mark.parametrize("endpoint, mode, rows, locked", CASES)
def test_three_ways_one_answer(server, tools, in_process, make, endpoint, mode, rows, locked):
    fields = make(endpoint, mode, rows, locked)
    expected = in_process(endpoint, fields)
    if locked and "patch_ids" in expected:
        assert np.array_equal(expected["patch_ids"][:, 1], fields["patch_ids"][:, 1])
    if endpoint == GENERATE_WITH_PATCHES:
        assert (expected["patch_ids"][fields["own_given"]] == -2).all()
    for protocol in (server.predict_rest, server.predict_grpc):
        tools.assert_same(expected, protocol(endpoint, fields))


def test_another_seed_is_another_answer(in_process, make, tools):
    """Else the comparison above could not fail."""
    fields = make(GENERATE, SAMPLE, 8)
    first = in_process(GENERATE, fields)
    fields["seed"] = fields["seed"][::-1].copy()
    with pytest.raises(AssertionError):
        tools.assert_same(first, in_process(GENERATE, fields))


def _storm(
    server, tools, make, clients: int, each: int, patience_s: float = 60.0
) -> collections.Counter:
    """Many clients at once over both protocols; every answer is that of the request alone."""
    kinds = [
        (endpoint, make(endpoint, mode, rows, locked=number % 2 == 1, number=number))
        for number, (endpoint, mode, rows) in enumerate(
            (endpoint, MODES[(rows + place) % 3], rows)
            for place, endpoint in enumerate(INPUTS)
            for rows in (1, 1, 2, 3)
        )
    ]
    alone = [server.predict_grpc(endpoint, fields) for endpoint, fields in kinds]
    counts: collections.Counter = collections.Counter()
    lock = threading.Lock()
    start = threading.Barrier(clients)

    def client(number: int) -> None:
        order = np.random.default_rng(number).permutation(each) + number
        bodies = [
            {"signature_name": endpoint, "inputs": tools.columns(fields)}
            for endpoint, fields in kinds
        ]
        connection = server.connect()
        start.wait()
        for place in order:
            endpoint, fields = kinds[place % len(kinds)]
            body = bodies[place % len(kinds)]
            if (number + place) % 2:
                reply, refusals = tools.patiently(
                    lambda body=body: server.post(body, connection=connection), patience_s
                )
                assert reply.status == 200, reply.body[:300]
                got = tools.arrays_of(endpoint, reply.json["outputs"])
            else:
                got, refusals = tools.patiently(
                    lambda endpoint=endpoint, fields=fields: server.predict_grpc(endpoint, fields),
                    patience_s,
                )
            tools.assert_same(alone[place % len(kinds)], got)
            with lock:
                counts.update({"answers": 1, "refusals": refusals})
        connection.close()

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return counts


def test_many_clients_at_once_each_get_their_own(server, tools, make):
    counts = _storm(server, tools, make, clients=8, each=6)
    assert counts["answers"] == 48


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_very_many_clients_at_once_each_get_their_own(start_server, exported, tools, make):
    """With a queue that holds them all, nobody has to ask twice."""
    server = start_server(exported.folder, "--queue-rows", "192")
    counts = _storm(server, tools, make, clients=64, each=200)
    assert counts == {"answers": 12_800, "refusals": 0}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_with_a_short_queue_the_patient_get_their_own(server, tools, make):
    """Those who just got an answer ask again at once and often come first, so it takes patience."""
    counts = _storm(server, tools, make, clients=64, each=20, patience_s=600.0)
    assert counts["answers"] == 1280
    assert counts["refusals"]  # else the queue was never full
