"""What may be taken in place of a patch: `candidates`, `patches`, `neighbours`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from export.served.alternatives import group_distances, neighbours_of
from export.signatures import (
    CANDIDATES,
    DETERMINISTIC,
    ENCODE,
    GRAPH_INPUTS,
    INPUTS,
    NEIGHBOURS,
    PATCHES,
    RETRIEVE_ONLY,
    SAMPLE,
    WITH_REPEATS,
    empty_request,
    example_request,
)
from rgan_tf.retrieval.bank_variables import BankArrays, ServedBank

NAMES = ("sky", "grass", "tree")


@pytest.fixture(scope="module")
def bank(exported):
    """The bank's arrays, in double precision where distances are computed."""
    served = exported.served.bank
    return BankArrays(
        graph_features=served.graph_features.numpy().astype(np.float64),
        embeddings=served.embeddings.numpy().astype(np.float64),
        crops=served.crops.numpy(),
        category_ids=served.category_ids.numpy(),
        image_ids=served.image_ids.numpy(),
        licence_ids=served.licence_ids.numpy(),
    )


@pytest.fixture
def scenes(exported):
    """Makes rows of three objects, the first above the second, for `candidates`."""
    ids = exported.model.vocabulary

    def make(rows=1, names=NAMES, refused=()):
        request = empty_request(CANDIDATES, exported.model.sizes, rows)
        request["objects"][:, : len(names)] = [ids.object_id(name) for name in names]
        request["triples"][:, 0] = [0, ids.predicate_id("above"), 1]
        request["licences_refused"][:] = [code in refused for code in exported.model.licences]
        return request

    return make


def of(endpoint, request):
    """The fields that an endpoint takes; what else it takes must be added."""
    return {field.name: request[field.name] for field in INPUTS[endpoint] if field.name in request}


def drawn(request, mode, seeds):
    """The same graph and patches as a request to `retrieve`, once per seed."""
    single = {name: value[:1] for name, value in of(RETRIEVE_ONLY, request).items()}
    rows = {name: np.repeat(value, len(seeds), axis=0) for name, value in single.items()}
    return {
        **rows,
        "mode": np.full(len(seeds), mode, np.int32),
        "seed": np.array(seeds, np.int32),
        "temperature": np.full(len(seeds), 1.0, np.float32),
    }


def expected_candidates(bank, category, feature, refused, k):
    """Ids [K] and distances [K] of one object, by hand: own category first and alone."""
    allowed = ~np.asarray(refused)[bank.licence_ids] & (bank.category_ids != 0)
    own = allowed & (bank.category_ids == category)
    rows = np.flatnonzero(own if own.any() else allowed)
    distances = np.linalg.norm(bank.graph_features[rows] - feature.astype(np.float64), axis=1)
    best = np.lexsort((rows, distances))[:k]
    ids, found = np.full(k, -1), np.full(k, -1.0)
    ids[: len(best)], found[: len(best)] = rows[best], distances[best]
    return ids, found


def assert_candidates(bank, request, features, reply, k):
    for row, objects in enumerate(request["objects"]):
        for place, category in enumerate(objects):
            ids, distances = np.full(k, -1), np.full(k, -1.0)
            if category:
                refused = request["licences_refused"][row]
                ids, distances = expected_candidates(
                    bank, category, features[row, place], refused, k
                )
            assert reply["candidate_ids"][row, place].tolist() == ids.tolist()
            np.testing.assert_allclose(
                reply["candidate_distances"][row, place], distances, rtol=1e-5
            )


def test_candidates_are_the_nearest_of_the_bank_by_what_encode_tells(exported, bank, scenes, ask):
    """With the arrays of the bank and no code of the search."""
    names = [row["category"] for row in exported.model.provenance]
    k = exported.model.candidates
    rare = next(name for name in names if names.count(name) < k)
    request = scenes(4)
    request["objects"][1, 4] = exported.model.vocabulary.object_id(rare)
    request["boxes"][1, 0], request["boxes_given"][1, 0] = [0.0, 0.25, 0.5, 1.0], True
    request["triples"][2] = -1
    request["licences_refused"][3, 1] = True
    reply, encoded = ask(CANDIDATES, **request), ask(ENCODE, **of(ENCODE, request))
    assert exported.run.config.retrieval.candidates == k == reply["candidate_ids"].shape[2]
    assert_candidates(bank, request, encoded["graph_features"], reply, k)
    np.testing.assert_allclose(reply["boxes"], encoded["boxes"], atol=1e-6)
    assert (reply["candidate_ids"][1, 4] >= 0).sum() == names.count(rare) < k
    assert (reply["candidate_ids"][:, 3] == -1).all()  # where no object is
    # Relationships and licences had a say, so the comparison could have failed.
    ids = [row[:3].tolist() for row in reply["candidate_ids"]]
    assert ids[0] == ids[1] and ids[0] != ids[2] and ids[0] != ids[3]


def test_candidates_of_another_category_only_where_the_licences_leave_none(
    exported, bank, scenes, ask
):
    model = exported.model
    rows = enumerate(model.provenance)
    allowed = {row["category"] for i, row in rows if exported.code_of(i) == "BY"}
    without = next(name for name in model.vocabulary.objects[2:] if name not in allowed)
    request = scenes(2, (without, "sky"), refused=("BY-NC", "public-domain"))
    request["licences_refused"][1] = True
    reply = ask(CANDIDATES, **request)
    features = ask(ENCODE, **of(ENCODE, request))["graph_features"]
    assert_candidates(bank, request, features, reply, model.candidates)
    found = reply["candidate_ids"][0, 0]
    assert (found >= 0).all() and {exported.code_of(patch) for patch in found} == {"BY"}
    assert (bank.category_ids[found] != request["objects"][0, 0]).any()
    for name in ("candidate_ids", "candidate_distances", "candidate_group_distances"):
        assert (reply[name][1] == -1).all(), name  # a row that refuses all


def test_what_retrieve_chooses_is_a_candidate_at_the_distance_that_it_tells(scenes, ask):
    request = scenes()
    reply = ask(CANDIDATES, **request)
    ids, distances = reply["candidate_ids"][0, :3], reply["candidate_distances"][0, :3]
    ranks = set()
    for mode in (SAMPLE, DETERMINISTIC):
        found = ask(RETRIEVE_ONLY, **drawn(request, mode, range(8)))
        for chosen, scores in zip(found["patch_ids"], found["patch_scores"], strict=True):
            for place in range(3):
                (rank,) = np.flatnonzero(ids[place] == chosen[place])
                np.testing.assert_allclose(distances[place, rank], scores[place], rtol=1e-5)
                ranks.add(int(rank))
    assert len(ranks) >= 3  # not just the nearest


def test_group_distances_are_those_from_the_mean_of_the_others(exported, bank, scenes, ask):
    """An own patch counts as its embedding; that of a patch of the bank is known."""
    patches = exported.data.bank
    request = scenes(5)
    request["patch_ids"][1, 0] = 7
    request["patch_ids"][2, :3] = [7, 4, 11]
    request["patch_ids"][3, 0] = 7
    request["own_patches"][3:, 1] = patches.crops[4]
    request["own_given"][3:, 1] = True
    reply = ask(CANDIDATES, **request)
    given = [{}, {0: 7}, {0: 7, 1: 4, 2: 11}, {0: 7, 1: 4}, {1: 4}]
    for row, has in enumerate(given):
        for place in range(3):
            found = reply["candidate_group_distances"][row, place]
            others = [patch for other, patch in has.items() if other != place]
            ids = reply["candidate_ids"][row, place]
            if not others:
                assert (found == -1).all()
                continue
            mean = bank.embeddings[others].mean(axis=0)
            wanted = np.linalg.norm(bank.embeddings[ids] - mean, axis=1)
            np.testing.assert_allclose(found, np.where(ids >= 0, wanted, -1.0), atol=1e-4)
        assert (reply["candidate_group_distances"][row, 3:] == -1).all()
    # The candidates do not depend on what the others have, and the order is not the group's.
    for row in range(1, 5):
        np.testing.assert_array_equal(reply["candidate_ids"][row], reply["candidate_ids"][0])
    assert (np.diff(reply["candidate_group_distances"][2, 2]) < 0).any()


def test_noise_as_an_own_patch_is_embedded_by_the_retriever(exported, bank, scenes, ask):
    request, served = scenes(), exported.served
    noise = np.random.default_rng(3).integers(0, 256, request["own_patches"].shape[2:], np.uint8)
    request["own_patches"][0, 0], request["own_given"][0, 0] = noise, True
    size = served.feature_network.input_shape[1]
    pixels = tf.image.resize(tf.cast(noise, tf.float32), [size, size], antialias=True)[tf.newaxis]
    features = served.feature_network(pixels, training=False).numpy().astype(np.float16)
    own = served.networks.embedding(features.astype(np.float32)).numpy()[0]
    reply = ask(CANDIDATES, **request)
    for place in (1, 2):
        wanted = np.linalg.norm(bank.embeddings[reply["candidate_ids"][0, place]] - own, axis=1)
        found = reply["candidate_group_distances"][0, place]
        valid = reply["candidate_ids"][0, place] >= 0
        np.testing.assert_allclose(found[valid], wanted[valid], atol=2e-3)
        assert np.ptp(found[valid]) > 0.01  # else anything would do
    assert (reply["candidate_group_distances"][0, 0] == -1).all()


def test_the_group_distance_is_what_the_selection_step_goes_by(scenes, ask):
    """Without noise the last free object takes the candidate that is nearest to the others."""
    request = scenes()
    locked = ask(RETRIEVE_ONLY, **drawn(request, SAMPLE, [3]))["patch_ids"][0]
    differ = 0
    for place in range(3):
        request["patch_ids"][0] = locked
        request["patch_ids"][0, place] = -1
        reply = ask(CANDIDATES, **request)
        is_there = reply["candidate_ids"][0, place] >= 0
        best = reply["candidate_group_distances"][0, place][is_there].argmin()
        chosen = ask(RETRIEVE_ONLY, **drawn(request, DETERMINISTIC + WITH_REPEATS, [0]))
        assert chosen["patch_ids"][0, place] == reply["candidate_ids"][0, place, best]
        differ += best != 0
    assert differ  # from the pre-filter's order


def test_the_scale_is_that_of_the_embedding(exported):
    assert exported.model.scale == pytest.approx(exported.run.config.retrieval.initial_scale)
    assert exported.model.scale == pytest.approx(float(exported.served.networks.embedding.scale))


def test_patches_are_the_pixels_that_retrieve_shows(exported, scenes, ask):
    found = ask(RETRIEVE_ONLY, **drawn(scenes(), SAMPLE, range(3)))
    request = empty_request(PATCHES, exported.model.sizes, 2)
    request["ids"][0, 1:4] = found["patch_ids"][0, :3]
    request["ids"][1, :3] = found["patch_ids"][1, :3]
    request["ids"][1, 3:] = found["patch_ids"][2, 0]  # one twice
    files = ask(PATCHES, **request)["patch_crops_bytes"]
    assert files[0].tolist() == [b"", *found["patch_crops_bytes"][0, :3], b""]
    assert files[1].tolist() == [
        *found["patch_crops_bytes"][1, :3],
        *[found["patch_crops_bytes"][2, 0]] * 2,
    ]
    assert len(set(files.ravel().tolist())) > 3
    assert (ask(PATCHES, ids=np.full_like(request["ids"], -1))["patch_crops_bytes"] == b"").all()


def test_every_patch_of_the_bank_can_be_had(exported, bank, ask):
    k, rows = exported.model.candidates, len(bank.crops)
    for first in range(0, rows, 8 * k):
        ids = np.full(8 * k, -1, np.int32)
        wanted = np.arange(first, min(rows, first + 8 * k))
        ids[: len(wanted)] = wanted
        files = ask(PATCHES, ids=ids.reshape(8, k))["patch_crops_bytes"].ravel()
        crops = [tf.io.decode_png(content).numpy() for content in files[: len(wanted)]]
        np.testing.assert_array_equal(crops, bank.crops[wanted])
        assert (files[len(wanted) :] == b"").all()


def expected_neighbours(bank, patch, refused, k):
    """Ids and distances [K], by sorting the whole bank."""
    distances = np.linalg.norm(bank.embeddings - bank.embeddings[patch], axis=1)
    rows = np.flatnonzero(~np.asarray(refused)[bank.licence_ids] & (bank.category_ids > 1))
    rows = rows[rows != patch]
    is_other = bank.category_ids[rows] != bank.category_ids[patch]
    best = rows[np.lexsort((rows, distances[rows], is_other))][:k]
    return best, distances[best]


@pytest.mark.parametrize("refused", [(), ("BY",), ("BY", "BY-NC")])
def test_neighbours_are_the_nearest_by_embedding_the_own_category_first(
    exported, bank, ask, refused
):
    k, rows = exported.model.candidates, len(bank.crops)
    licences = np.array([code in refused for code in exported.model.licences])
    with_others = beyond = 0
    for first in range(0, rows, 8):
        patches = np.arange(first, min(rows, first + 8), dtype=np.int32)
        reply = ask(
            NEIGHBOURS, patch_id=patches, licences_refused=np.tile(licences, (len(patches), 1))
        )
        for row, patch in enumerate(patches):
            ids, distances = expected_neighbours(bank, patch, licences, k)
            found = reply["neighbour_ids"][row]
            np.testing.assert_allclose(reply["neighbour_distances"][row], distances, atol=1e-5)
            # Distances that are equal but for rounding may change places.
            for unequal in np.flatnonzero(found != ids):
                near = np.abs(distances - distances[unequal]) < 1e-5
                assert found[unequal] in ids[near]
            assert patch not in found and len(set(found)) == k
            assert not {exported.code_of(number) for number in found} & set(refused)
            same = bank.category_ids[found] == bank.category_ids[patch]
            assert (np.diff(same.astype(int)) <= 0).all()
            with_others += not same.all()
            if same.any() and not same.all():
                beyond += distances[same].max() > distances[~same].min()
    assert with_others  # categories of few patches are filled up
    assert beyond  # and the own category comes first even where others are nearer


def test_a_patch_of_a_refused_licence_has_neighbours_of_others_and_none_if_all_are_refused(
    exported, ask
):
    licences = exported.model.licences
    request = empty_request(NEIGHBOURS, exported.model.sizes, 2)
    request["patch_id"][:] = 4
    request["licences_refused"][0] = [code == exported.code_of(4) for code in licences]
    request["licences_refused"][1] = True
    reply = ask(NEIGHBOURS, **request)
    assert (reply["neighbour_ids"][0] >= 0).all()
    assert exported.code_of(4) not in {exported.code_of(i) for i in reply["neighbour_ids"][0]}
    assert (reply["neighbour_ids"][1] == -1).all() and (reply["neighbour_distances"][1] == -1).all()


def rows_of_all_kinds(exported, scenes):
    """Per endpoint eight rows that have little in common."""
    random, model = np.random.default_rng(5), exported.model
    mixed = scenes(8)
    present = random.random(mixed["objects"].shape) < 0.7
    present[:, :2] = True  # between which there is a relationship
    kinds = random.integers(2, model.sizes.num_objects, present.shape)
    mixed["objects"][:] = np.where(present, kinds, 0)
    mixed["triples"][::3] = -1
    own = present & (random.random(present.shape) < 0.4)
    own[[0, 5]] = False
    noise = random.integers(0, 256, mixed["own_patches"].shape, np.uint8)
    mixed["own_patches"][own], mixed["own_given"][:] = noise[own], own
    locked = present & ~own & (random.random(present.shape) < 0.5)
    mixed["patch_ids"][locked] = random.integers(0, model.sizes.patches, locked.sum())
    mixed["licences_refused"][~locked.any(axis=1), 0] = True
    mixed["boxes"][2, 0], mixed["boxes_given"][2, 0] = [0.1, 0.2, 0.7, 0.9], True
    shown = example_request(PATCHES, model.sizes, 8)
    shown["ids"][:] = random.integers(-1, model.sizes.patches, shown["ids"].shape)
    like = empty_request(NEIGHBOURS, model.sizes, 8)
    like["patch_id"][:] = random.integers(0, model.sizes.patches, 8)
    like["licences_refused"][::2, 1] = True
    return {CANDIDATES: mixed, PATCHES: shown, NEIGHBOURS: like}


@pytest.mark.parametrize("endpoint", [CANDIDATES, PATCHES, NEIGHBOURS])
def test_a_row_has_the_same_answer_to_the_bit_alone_and_in_any_batch(
    exported, scenes, ask, endpoint
):
    request = rows_of_all_kinds(exported, scenes)[endpoint]
    orders = ([0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [3, 3, 0], [5, 2])
    alone = [
        ask(endpoint, **{name: value[row : row + 1] for name, value in request.items()})
        for row in range(8)
    ]
    for order in orders:
        reply = ask(endpoint, **{name: value[order] for name, value in request.items()})
        for place, row in enumerate(order):
            for name, value in reply.items():
                expected = alone[row][name][0]
                assert value[place].tobytes() == expected.tobytes() or (
                    value.dtype == object and value[place].tolist() == expected.tolist()
                ), (name, row)
    # Else the rows could have been swapped unseen.
    first = next(iter(alone[0]))
    assert len({str(reply[first].tolist()) for reply in alone}) == 8


@pytest.mark.parametrize(
    ("endpoint", "change", "message"),
    [
        (CANDIDATES, {"objects": 1}, r"objects: every id must be 0 or in \[2, "),  # reserved
        (CANDIDATES, {"objects": 999}, r"objects: every id must be 0 or in \[2, "),
        (CANDIDATES, {"patch_ids": -2}, r"patch_ids: must be -1 or in \[0, "),
        (CANDIDATES, {"patch_ids": 10**6}, r"patch_ids: must be -1 or in \[0, "),
        (
            CANDIDATES,
            {"patch_ids": 3, "licences_refused": True},
            "patch_ids: names a patch whose licence is refused by licences_refused",
        ),
        (CANDIDATES, {"patch_ids": 3, "own_given": True}, "own_given: set together with patch_ids"),
        (PATCHES, {"ids": -2}, r"ids: must be -1 or in \[0, "),
        (PATCHES, {"ids": 10**6}, r"ids: must be -1 or in \[0, "),
        (NEIGHBOURS, {"patch_id": -1}, r"patch_id: must be in \[0, "),
        (NEIGHBOURS, {"patch_id": 10**6}, r"patch_id: must be in \[0, "),
    ],
)
def test_what_cannot_be_is_refused_by_field_and_row(exported, ask, endpoint, change, message):
    request = empty_request(endpoint, exported.model.sizes, 3)
    if "objects" in request:
        request["objects"][:, :2] = 2
    ask(endpoint, **request)
    for field, value in change.items():
        row = request[field][2]
        request[field][2] = value if row.ndim == 0 or field == "licences_refused" else row
        if row.ndim and field != "licences_refused":
            request[field][2, 0] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match=message) as caught:
        ask(endpoint, **request)
    assert "wrong in row] [2]" in str(caught.value)


def test_the_highest_patch_is_allowed_and_the_next_is_not(exported, ask):
    last = exported.model.sizes.patches - 1
    request = empty_request(PATCHES, exported.model.sizes, 1)
    request["ids"][0, 0] = last
    assert ask(PATCHES, **request)["patch_crops_bytes"][0, 0]
    like = empty_request(NEIGHBOURS, exported.model.sizes, 1)
    like["patch_id"][:] = last
    assert last not in ask(NEIGHBOURS, **like)["neighbour_ids"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="ids"):
        ask(PATCHES, ids=request["ids"] + 1)


def test_columns_of_unequal_length_are_refused(exported, ask):
    request = empty_request(NEIGHBOURS, exported.model.sizes, 2)
    request["licences_refused"] = request["licences_refused"][:1]
    message = "licences_refused: first dimension differs from that of patch_id"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask(NEIGHBOURS, **request)


def small_bank(embeddings, categories, licences):
    rows = len(embeddings)
    return ServedBank(
        BankArrays(
            graph_features=np.zeros([rows, 2], np.float32),
            embeddings=np.array(embeddings, np.float32).reshape(rows, -1),
            crops=np.zeros([rows, 2, 2, 3], np.uint8),
            category_ids=np.array(categories, np.int32),
            image_ids=np.arange(rows),
            licence_ids=np.array(licences, np.int32),
        )
    )


def neighbours(bank, patch, refused=(False, False), k=6):
    ids, distances = neighbours_of(bank, tf.constant(patch), tf.constant(refused), k)
    return ids.numpy().tolist(), distances.numpy().tolist()


def test_neighbours_by_hand():
    places = [[0, 0], [3, 4], [6, 8], [0, 1], [0, 0], [0, 0], [3, 4]]
    categories = [2, 2, 2, 3, 0, 1, 2]  # two of reserved categories, which nothing finds
    bank = small_bank(places, categories, [0, 0, 1, 0, 0, 0, 1])
    # Of the own category, equal distances by row, then of others, though those are nearer.
    assert neighbours(bank, 0) == ([1, 6, 2, 3, -1, -1], [5, 5, 10, 1, -1, -1])
    assert neighbours(bank, 0, k=2) == ([1, 6], [5, 5])
    assert neighbours(bank, 0, (False, True)) == ([1, 3, -1, -1, -1, -1], [5, 1, -1, -1, -1, -1])
    assert neighbours(bank, 2, (False, True), k=3) == (
        [1, 0, 3],
        [5, 10, pytest.approx(np.hypot(6, 7))],
    )
    assert neighbours(bank, 3, k=20)[0] == [0, 1, 6, 2] + [-1] * 16  # alone in its category
    assert neighbours(bank, 0, (True, True)) == ([-1] * 6, [-1] * 6)


def test_of_patches_without_embedding_nothing_is_told():
    """Instead of distances that would all be 0."""
    bank = small_bank(np.zeros([3, 0]), [2, 2, 2], [0, 0, 0])
    assert neighbours(bank, 0, k=2) == ([-1, -1], [-1, -1])
    found = group_distances(
        tf.zeros([2, 3, 0]), tf.ones([2, 3], tf.bool), tf.zeros([2, 0]), tf.constant([True, True])
    )
    assert found.numpy().tolist() == [[-1] * 3] * 2


def test_group_distances_by_hand():
    given = tf.constant([[0.0, 0.0], [6.0, 8.0], [np.nan, np.nan]])  # the last has no patch
    has = tf.constant([True, True, False])
    candidates = tf.tile(tf.constant([[[0.0, 0.0], [3.0, 4.0]]]), [3, 1, 1])  # [3, 2, 2]
    valid = tf.constant([[True, True], [True, False], [True, True]])
    found = group_distances(candidates, valid, given, has).numpy().tolist()
    assert found == [[10.0, 5.0], [0.0, -1.0], [5.0, 0.0]]
    only_one = group_distances(candidates, valid, given, tf.constant([True, False, False])).numpy()
    assert only_one.tolist() == [[-1.0, -1.0], [0.0, -1.0], [0.0, 5.0]]


def test_the_three_take_what_they_must_and_no_more():
    names = {endpoint: [field.name for field in INPUTS[endpoint]] for endpoint in INPUTS}
    graph = [field.name for field in GRAPH_INPUTS]
    others = ["patch_ids", "licences_refused", "own_patches", "own_given"]
    assert names[CANDIDATES] == graph + others
    assert names[PATCHES] == ["ids"] and names[NEIGHBOURS] == ["patch_id", "licences_refused"]
