"""Requests for measurements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from export.generate import read_requests
from export.model_folder import ModelFolder
from export.requests import Draw
from export.signatures import GENERATE, SAMPLE, empty_request
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.errors import BadInput

Arrays = dict[str, np.ndarray]


def full_request(signature: str, contract: ModelFolder, rows: int, seed: int) -> Arrays:
    """Graphs with the maximum number of objects of random categories, each related to the next.

    Args:
      signature: an endpoint that takes graphs.
      contract: the model.
      rows: number of rows.
      seed: of the categories; row i draws its patches with seed + i.
    """
    sizes = contract.sizes
    request = empty_request(signature, sizes, rows, contract.inputs_of(signature))
    rng = np.random.default_rng(seed)
    request["objects"][:] = rng.integers(2, sizes.num_objects, [rows, sizes.objects])
    related = min(sizes.triples, sizes.objects - 1) if sizes.num_predicates > 1 else 0
    for place in range(related):
        predicate = rng.integers(1, sizes.num_predicates, rows)
        request["triples"][:, place, 0] = place
        request["triples"][:, place, 1] = predicate
        request["triples"][:, place, 2] = place + 1
    if "seed" in request:
        request["seed"][:] = seed + np.arange(rows)
    return request


def requests_of_graph(
    signature: str, contract: ModelFolder, graph: str | Path, rows: int
) -> Callable[[int], Arrays]:
    """Returns a function of a seed: the file's first scene graph `rows` times, row i with seed + i.

    Raises:
      BadInput: if it does not fit the model, or has its own patches.
    """
    request = read_requests(graph, contract, LicenceFilter.parse(None)).rows[0]
    if request.endpoint != GENERATE:
        raise BadInput(f"--graph {graph}: has image files as patches, which are not measured here")
    names = [field.name for field in contract.inputs_of(signature)]

    def of_seed(seed: int) -> Arrays:
        draws = [Draw(SAMPLE, seed + row).for_model(contract).fields for row in range(rows)]
        fields = [{**request.fields, **draw} for draw in draws]
        return {name: np.stack([np.asarray(row[name]) for row in fields]) for name in names}

    return of_seed
