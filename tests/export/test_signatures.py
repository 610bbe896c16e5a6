"""The contract describes itself and is read back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from export.signatures import (
    ENCODE,
    GENERATE_WITH_PATCHES,
    INPUTS,
    OUTPUTS,
    RETRIEVE_ONLY,
    SAMPLE,
    Sizes,
    describe,
    empty_request,
    example_request,
    sizes_from_description,
)
from rgan_tf.errors import CorruptData

SIZES = Sizes(
    objects=8,
    triples=16,
    crop=32,
    own_patch=64,
    image=64,
    width=12,
    patches=100,
    num_objects=22,
    num_predicates=7,
    licences=3,
)


def test_description_survives_json():
    description = json.loads(json.dumps(describe(SIZES)))
    assert sizes_from_description(description, "m") == SIZES
    assert sizes_from_description({**description, "version": 3}, "m") == SIZES  # still read


@pytest.mark.parametrize(
    "damage", [{"version": 2}, {"version": 5}, {"sizes": {"objects": 8}}, {"sizes": None}]
)
def test_damaged_descriptions_are_refused(damage):
    with pytest.raises(CorruptData, match="^m: .*"):
        sizes_from_description({**describe(SIZES), **damage}, "m")


def test_every_input_has_the_batch_first_and_fixed_sizes():
    shapes = {}
    for endpoint in INPUTS:
        inputs = {f["name"]: f["shape"] for f in describe(SIZES)["endpoints"][endpoint]["inputs"]}
        request = empty_request(endpoint, SIZES, 3)
        assert set(request) == set(inputs)
        for name, value in request.items():
            assert ["batch", *value.shape[1:]] == inputs[name] and len(value) == 3
        shapes |= inputs
    assert shapes["own_patches"] == ["batch", 8, 64, 64, 3]
    assert shapes["mode"] == shapes["seed"] == shapes["temperature"] == ["batch"]


def test_an_empty_request_asks_for_a_draw_as_trained():
    request = empty_request(RETRIEVE_ONLY, SIZES, 2)
    assert request["mode"].tolist() == [SAMPLE] * 2 and request["seed"].tolist() == [0, 0]
    assert request["temperature"].tolist() == [1.0, 1.0]
    assert request["temperature"].dtype == np.float32
    assert set(empty_request(ENCODE, SIZES, 1)) == {"objects", "triples", "boxes", "boxes_given"}


def test_limits_and_modes_are_described():
    description = describe(SIZES)
    assert description["modes"] == [
        "sample",
        "deterministic",
        "nearest",
        "sample_with_repeats",
        "deterministic_with_repeats",
        "nearest_with_repeats",
    ]
    limits = description["limits"]
    assert (limits["batch"], limits["seed"], limits["temperature"]) == (8, 2**31 - 1, 100.0)
    outputs = {f["name"]: f for f in description["endpoints"][ENCODE]["outputs"]}
    assert outputs["graph_features"]["shape"] == ["batch", 8, 12]
    outputs = {f["name"]: f for f in description["endpoints"][RETRIEVE_ONLY]["outputs"]}
    assert outputs["patch_crops_bytes"]["shape"] == ["batch", 8] and "image_bytes" not in outputs


def test_binary_outputs_are_named_so():
    for fields in OUTPUTS.values():
        assert all((f.dtype == "bytes") == f.name.endswith("_bytes") for f in fields)


def test_example_uses_every_kind_of_input():
    request = example_request(GENERATE_WITH_PATCHES, SIZES, 2)
    assert (request["objects"] > 0).sum(axis=1).tolist() == [3, 3]
    assert request["boxes_given"].any() and request["own_given"].any()
    assert request["licences_refused"].tolist() == [[False] * 3, [False, False, True]]
    assert request["seed"].tolist() == [0, 1] and request["seed"].dtype == np.int32


def test_example_fits_the_smallest_model():
    tiny = Sizes(1, 1, 8, 8, 16, 4, 1, 3, 1, 1)
    request = example_request(GENERATE_WITH_PATCHES, tiny, 1)
    assert request["objects"].tolist() == [[2]] and (request["triples"] == -1).all()
    assert not request["licences_refused"].any()  # or there would be no patch at all
