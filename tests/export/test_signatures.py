"""The contract describes itself and is read back."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from export.signatures import (
    CANDIDATES,
    ENCODE,
    GENERATE_WITH_PATCHES,
    INPUTS,
    NEIGHBOURS,
    OUTPUTS,
    PATCHES,
    RETRIEVE_ONLY,
    SAMPLE,
    Sizes,
    describe,
    empty_request,
    endpoints_of,
    example_request,
    scale_from_description,
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
    candidates=5,
)


def test_description_survives_json():
    description = json.loads(json.dumps(describe(SIZES)))
    assert sizes_from_description(description, "m") == SIZES
    assert description["scale"] is None and scale_from_description(description, "m") is None
    assert scale_from_description(json.loads(json.dumps(describe(SIZES, 24.5))), "m") == 24.5


@pytest.mark.parametrize("version", [3, 4])
def test_descriptions_of_earlier_versions_are_still_read(version):
    description = {**describe(SIZES), "version": version}
    del description["scale"], description["sizes"]["candidates"]
    sizes = sizes_from_description(description, "m")
    assert sizes == dataclasses.replace(SIZES, candidates=0)
    assert scale_from_description(description, "m") is None
    assert tuple(endpoints_of(version).inputs) == (*list(INPUTS)[:4],)
    assert set(INPUTS) - set(endpoints_of(version).inputs) == {CANDIDATES, PATCHES, NEIGHBOURS}


def without(description, part, key):
    return {part: {name: value for name, value in description[part].items() if name != key}}


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 2},
        {"version": 7},
        {"sizes": {"objects": 8}},
        {"sizes": None},
        {"sizes": {**dataclasses.asdict(SIZES), "candidates": 0}},
        without(describe(SIZES), "sizes", "candidates"),  # only earlier versions have none
    ],
)
def test_damaged_descriptions_are_refused(damage):
    with pytest.raises(CorruptData, match="^m: .*"):
        sizes_from_description({**describe(SIZES), **damage}, "m")


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), "ten", [1.0], {}])
def test_a_damaged_scale_is_refused(scale):
    with pytest.raises(CorruptData, match="^m: not the description"):
        scale_from_description({**describe(SIZES), "scale": scale}, "m")
    description = describe(SIZES)
    del description["scale"]
    with pytest.raises(CorruptData, match="^m: not the description"):
        scale_from_description(description, "m")


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
    outputs = {f["name"]: f for f in description["endpoints"][CANDIDATES]["outputs"]}
    assert outputs["candidate_ids"]["shape"] == ["batch", 8, 5]
    outputs = {f["name"]: f for f in description["endpoints"][PATCHES]["outputs"]}
    assert outputs["patch_crops_bytes"]["shape"] == ["batch", 5]


def test_binary_outputs_are_named_so():
    for fields in OUTPUTS.values():
        assert all((f.dtype == "bytes") == f.name.endswith("_bytes") for f in fields)


def test_example_uses_every_kind_of_input():
    request = example_request(GENERATE_WITH_PATCHES, SIZES, 2)
    assert (request["objects"] > 0).sum(axis=1).tolist() == [3, 3]
    assert request["boxes_given"].any() and request["own_given"].any()
    assert request["licences_refused"].tolist() == [[False] * 3, [False, False, True]]
    assert request["seed"].tolist() == [0, 1] and request["seed"].dtype == np.int32
    request = example_request(CANDIDATES, SIZES, 2)
    assert request["own_given"].any() and request["licences_refused"].any()
    assert example_request(PATCHES, SIZES, 2)["ids"].tolist() == [[0, 1, 2, 3, 4]] * 2
    request = example_request(NEIGHBOURS, SIZES, 2)
    assert request["patch_id"].tolist() == [0, 1] and request["licences_refused"].any()


def test_empty_requests_name_no_patch():
    assert empty_request(PATCHES, SIZES, 2)["ids"].tolist() == [[-1] * 5] * 2
    request = empty_request(NEIGHBOURS, SIZES, 2)
    assert request["patch_id"].tolist() == [0, 0] and not request["licences_refused"].any()


def test_example_fits_the_smallest_model():
    tiny = Sizes(1, 1, 8, 8, 16, 4, 1, 3, 1, 1, candidates=2)
    request = example_request(GENERATE_WITH_PATCHES, tiny, 1)
    assert request["objects"].tolist() == [[2]] and (request["triples"] == -1).all()
    assert not request["licences_refused"].any()  # or there would be no patch at all
    assert example_request(PATCHES, tiny, 2)["ids"].tolist() == [[0, -1]] * 2
    assert example_request(NEIGHBOURS, tiny, 2)["patch_id"].tolist() == [0, 0]
