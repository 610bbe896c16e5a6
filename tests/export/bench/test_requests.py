"""Requests to measure with are such as the model takes."""

from __future__ import annotations

import numpy as np
import pytest

from export.bench.requests import full_request, requests_of_graph
from export.signatures import ENCODE, GENERATE, INPUTS, RETRIEVE_ONLY
from export.wire import read_tensors, specs_of
from rgan_tf.errors import BadInput


@pytest.mark.parametrize("signature", [GENERATE, RETRIEVE_ONLY, ENCODE])
def test_full_requests_have_all_objects(exported, signature, ask):
    request = full_request(signature, exported.model, 3, 5)
    read_tensors(request, specs_of(INPUTS[signature], exported.model.sizes), max_rows=8)
    assert (request["objects"] > 1).all()
    assert (request["triples"][:, 0, 1] > 0).all()
    reply = ask(signature, **request)  # the model itself refuses what is wrong
    assert len(next(iter(reply.values()))) == 3
    other = full_request(signature, exported.model, 3, 6)
    assert (request["objects"] != other["objects"]).any()
    again = full_request(signature, exported.model, 3, 5)
    for name, value in again.items():
        np.testing.assert_array_equal(value, request[name])


def test_requests_of_a_graph(exported, write_graph, ask):
    graph = {"objects": ["sky", "tree"], "relationships": [[0, "above", 1]]}
    of_seed = requests_of_graph(RETRIEVE_ONLY, exported.model, write_graph(graph), 2)
    request = of_seed(7)
    assert request.keys() == {field.name for field in INPUTS[RETRIEVE_ONLY]}
    assert request["seed"].tolist() == [7, 8] and of_seed(8)["seed"].tolist() == [8, 9]
    assert (request["objects"][0] == request["objects"][1]).all()
    assert (ask(RETRIEVE_ONLY, **request)["patch_ids"][:, :2] >= 0).all()
    with pytest.raises(BadInput, match="trea"):
        requests_of_graph(GENERATE, exported.model, write_graph({"objects": ["trea"]}), 1)
