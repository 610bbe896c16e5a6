"""Endpoints that make no image, and per row: mode, temperature, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from export.signatures import (
    DETERMINISTIC,
    ENCODE,
    GENERATE,
    GRAPH_INPUTS,
    INPUTS,
    NEAREST,
    OUTPUTS,
    RETRIEVE_ONLY,
    SAMPLE,
    empty_request,
    example_request,
)

NAMES = ("sky", "grass", "tree")


@pytest.fixture
def scenes(exported):
    """Makes rows of three objects, "above" one another, with one mode, temperature, first seed."""
    ids = exported.model.vocabulary

    def make(rows=1, names=NAMES, mode=SAMPLE, temperature=1.0, seed=0):
        request = empty_request(RETRIEVE_ONLY, exported.model.sizes, rows)
        request["objects"][:, : len(names)] = [ids.object_id(name) for name in names]
        request["triples"][:, 0] = [0, ids.predicate_id("above"), 1]
        request["mode"][:] = mode
        request["temperature"][:] = temperature
        request["seed"][:] = seed + np.arange(rows)
        return request

    return make


def of_graph(request):
    return {field.name: request[field.name] for field in GRAPH_INPUTS}


def bank_distances(exported, features):
    """[O, N]: of each feature [O, W] from those of the bank."""
    bank = exported.served.bank.graph_features.numpy().astype(np.float64)  # [N, W]
    return np.linalg.norm(features[:, np.newaxis].astype(np.float64) - bank, axis=-1)


def nearest_patches(exported, objects, features):
    """For each object [O] the closest patch of its category by its feature [O, W]."""
    categories = exported.served.bank.category_ids.numpy()  # [N]
    distances = bank_distances(exported, features)  # [O, N]
    own = categories == objects[:, np.newaxis]  # [O, N]
    assert own.any(axis=1).all()
    return np.where(own, distances, np.inf).argmin(axis=1)


def test_every_endpoint_replies_what_is_declared(exported):
    for endpoint in INPUTS:
        declared = {field.name: field for field in OUTPUTS[endpoint]}
        outputs = exported.signatures[endpoint].structured_outputs
        assert set(outputs) == set(declared)
        for name, spec in outputs.items():
            dtype = {"bytes": "string"}.get(declared[name].dtype, declared[name].dtype)
            assert spec.dtype.name == dtype, (endpoint, name)


@pytest.mark.parametrize("mode", [SAMPLE, DETERMINISTIC, NEAREST])
def test_retrieve_is_generate_without_the_image(scenes, ask, mode):
    request = scenes(2, mode=mode, seed=5)
    image, alone = ask(GENERATE, **request), ask(RETRIEVE_ONLY, **request)
    assert set(image) - set(alone) == {"image_bytes"} and set(alone) <= set(image)
    for name, value in alone.items():
        np.testing.assert_array_equal(value, image[name], err_msg=name)


def test_encode_gives_the_boxes_and_what_the_bank_is_searched_by(exported, scenes, ask):
    request = scenes(2)
    request["boxes"][1, 0] = [0.0, 0.25, 0.5, 1.0]
    request["boxes_given"][1, 0] = True
    found, reply = ask(RETRIEVE_ONLY, **request), ask(ENCODE, **of_graph(request))
    np.testing.assert_array_equal(reply["boxes"], found["boxes"])
    np.testing.assert_array_equal(reply["boxes"][1, 0], np.float32([0.0, 0.25, 0.5, 1.0]))
    assert not reply["boxes"][:, 3:].any() and reply["boxes"][:, :3].any(axis=2).all()
    features = reply["graph_features"]
    sizes = exported.model.sizes
    assert features.shape == (2, sizes.objects, sizes.width)
    assert not features[:, 3:].any() and features[:, :3].any(axis=2).all()
    # The reported distances are those from these very features, and from no others.
    for row in range(2):
        ids = found["patch_ids"][row, :3]
        distances = bank_distances(exported, features[row, :3])[np.arange(3), ids]
        np.testing.assert_allclose(found["patch_scores"][row, :3], distances, rtol=1e-5)
        others = bank_distances(exported, features[row, [1, 2, 0]])[np.arange(3), ids]
        assert not np.allclose(found["patch_scores"][row, :3], others, rtol=1e-2)
    # Rounded as the bank's are.
    np.testing.assert_array_equal(features, features.astype(np.float16).astype(np.float32))


def test_nearest_takes_the_closest_patch_of_each_object_whatever_the_seed(exported, scenes, ask):
    request = scenes(8, mode=NEAREST)
    reply = ask(RETRIEVE_ONLY, **request)
    features = ask(ENCODE, **of_graph(request))["graph_features"][0, :3]
    expected = nearest_patches(exported, request["objects"][0, :3], features)
    assert reply["patch_ids"].tolist() == [[*expected, -1, -1, -1]] * 8
    assert reply["order"].tolist() == [[0, 1, 2, -1, -1, -1]] * 8
    np.testing.assert_allclose(
        reply["patch_scores"][0, :3],
        bank_distances(exported, features)[np.arange(3), expected],
        rtol=1e-5,
    )
    # That is another rule than the others': over many draws they choose otherwise too.
    drawn = ask(RETRIEVE_ONLY, **scenes(8))["patch_ids"]
    assert (drawn[:, :3] != expected).any()


def test_nearest_keeps_locked_patches_and_the_order_of_the_objects(exported, scenes, ask):
    request = scenes(3, mode=NEAREST)
    free = ask(RETRIEVE_ONLY, **request)
    far = [row["category"] for row in exported.model.provenance].index("water")
    request["patch_ids"][1, 1] = far
    request["patch_ids"][2, :3] = [4, 5, 6]
    # A gap among the objects is not an object.
    request["objects"][0, 4] = request["objects"][0, 2]
    request["objects"][0, 2] = 0
    request["triples"][0] = -1
    reply = ask(RETRIEVE_ONLY, **request)
    assert reply["patch_ids"][1, 1] == far != free["patch_ids"][1, 1]
    assert reply["patch_ids"][1, [0, 2]].tolist() == free["patch_ids"][1, [0, 2]].tolist()
    assert reply["order"].tolist() == [
        [0, 1, 4, -1, -1, -1],
        [0, 2, -1, -1, -1, -1],
        [-1, -1, -1, -1, -1, -1],
    ]
    assert reply["patch_ids"][2].tolist() == [4, 5, 6, -1, -1, -1]
    assert (reply["patch_scores"][2, :3] > 0).all()
    assert reply["patch_ids"][0, [2, 3, 5]].tolist() == [-1, -1, -1]


def test_nearest_keeps_to_the_category_whatever_lies_closer(exported, scenes, ask):
    """Also of a category with fewer patches than candidates."""
    names = [row["category"] for row in exported.model.provenance]
    k = exported.run.config.retrieval.candidates
    rare = sorted(name for name in set(names) if names.count(name) < k)
    assert rare, "the world has no category with fewer patches than candidates"
    vocabulary = exported.model.vocabulary
    closer_exists = []
    for name in rare:
        request = scenes(1, names=(name, "sky"), mode=NEAREST)
        reply = ask(RETRIEVE_ONLY, **request)
        features = ask(ENCODE, **of_graph(request))["graph_features"][0, :1]
        (expected,) = nearest_patches(exported, np.array([vocabulary.object_id(name)]), features)
        closer_exists.append(bank_distances(exported, features)[0].argmin() != expected)
        assert names[reply["patch_ids"][0, 0]] == name
        assert reply["patch_ids"][0, 0] == expected
    assert any(closer_exists), "the test would pass whatever the rule"


def test_a_low_temperature_varies_less_and_a_high_one_more(scenes, ask):
    def distinct(temperature):
        found = set()
        for first in range(0, 96, 8):
            reply = ask(RETRIEVE_ONLY, **scenes(8, temperature=temperature, seed=first))
            found |= {tuple(ids) for ids in reply["patch_ids"].tolist()}
        return len(found)

    cold, trained, hot = (distinct(temperature) for temperature in (1e-4, 1.0, 100.0))
    assert cold < trained < hot


def test_rows_of_different_modes_and_temperatures_equal_their_single_results(scenes, ask):
    draws = [
        (SAMPLE, 1.0, 3),
        (NEAREST, 1.0, 3),
        (SAMPLE, 100.0, 3),
        (DETERMINISTIC, 1.0, 3),
        (SAMPLE, 0.01, 3),
        (SAMPLE, 1.0, 4),
    ]
    rows = [scenes(1, mode=mode, temperature=heat, seed=seed) for mode, heat, seed in draws]
    merged = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    batch = ask(RETRIEVE_ONLY, **merged)
    for row, request in enumerate(rows):
        alone = ask(RETRIEVE_ONLY, **request)
        for name in ("patch_ids", "order", "patch_crops_bytes"):
            np.testing.assert_array_equal(batch[name][row], alone[name][0], err_msg=name)
    # Else the rows could have been swapped unseen.
    assert len({tuple(ids) for ids in batch["patch_ids"].tolist()}) >= 3


def test_seed_and_temperature_do_not_matter_where_nothing_is_drawn(scenes, ask):
    for mode in (DETERMINISTIC, NEAREST):
        request = scenes(4, mode=mode)
        request["temperature"][:] = [0.01, 1.0, 10.0, 100.0]
        reply = ask(RETRIEVE_ONLY, **request)
        assert len({tuple(ids) for ids in reply["patch_ids"].tolist()}) == 1
        assert len({tuple(order) for order in reply["order"].tolist()}) == 1


@pytest.mark.parametrize("endpoint", [GENERATE, RETRIEVE_ONLY])
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mode", 6, r"mode: must be 0 \(sample\), 1 \(deterministic\), 2 \(nearest\), 3 \(sample_"),
        ("mode", -1, "mode: must be"),
        ("seed", -1, "seed: must not be negative"),
        ("seed", -(2**31), "seed: must not be negative"),
        ("temperature", 0.0, r"temperature: must be in \(0, 100\]"),
        ("temperature", -1.0, "temperature: must be"),
        ("temperature", 101.0, "temperature: must be"),
        ("temperature", np.nan, "temperature: must be"),
        ("temperature", np.inf, "temperature: must be"),
    ],
)
def test_bad_draws_are_refused_by_field_and_row(scenes, ask, endpoint, field, value, message):
    request = scenes(3)
    ask(endpoint, **request)
    request[field][2] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match=message) as caught:
        ask(endpoint, **request)
    assert "wrong in row] [2]" in str(caught.value)


def test_the_ends_of_the_ranges_are_allowed(scenes, ask):
    request = scenes(2)
    request["seed"][:] = [0, 2**31 - 1]
    request["temperature"][:] = [np.finfo(np.float32).tiny, 100.0]
    assert (ask(RETRIEVE_ONLY, **request)["patch_ids"][:, :3] >= 0).all()


@pytest.mark.parametrize("endpoint", list(INPUTS))
def test_a_batch_of_no_rows_is_refused(exported, ask, endpoint):
    with pytest.raises(tf.errors.InvalidArgumentError, match="1 to 8 rows, got. .0"):
        ask(endpoint, **empty_request(endpoint, exported.model.sizes, 0))


@pytest.mark.parametrize("endpoint", list(INPUTS))
def test_more_rows_than_a_request_may_have_are_refused(exported, ask, endpoint):
    """By the model itself, whatever serves it; the most that it may have are answered."""
    sizes = exported.model.sizes
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"a request has 1 to 8 rows, got. .9"):
        ask(endpoint, **example_request(endpoint, sizes, 9))
    reply = ask(endpoint, **example_request(endpoint, sizes, 8))
    assert reply and all(len(value) == 8 for value in reply.values())


def test_encode_refuses_bad_graphs_too(scenes, ask):
    request = of_graph(scenes(2))
    request["objects"][1, 0] = 999
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"objects: every id.*row\] \[1\]"):
        ask(ENCODE, **request)
