"""A served model keeps every object to its own category, whatever the mode and the index."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from export.served.model import ServedModel
from export.signatures import (
    ALL_MODES,
    CANDIDATES,
    DETERMINISTIC,
    MAX_BATCH,
    MODES,
    NEAREST,
    RETRIEVE_ONLY,
    SAMPLE,
    WITH_REPEATS,
    empty_request,
)
from rgan_tf.retrieval.bank_variables import BankArrays, ServedBank
from rgan_tf.retrieval.index.exact import ANY_CATEGORY
from rgan_tf.retrieval.index.in_graph import build_served_search

of_every_index = pytest.mark.parametrize(
    "kind",
    ["exact", pytest.param("scann", marks=pytest.mark.thorough)],  # test_search has both
)
NAMES = ("house", "tree", "sky")
EACH, K = 20, 32  # patches of a category, fewer than candidates


@pytest.fixture(scope="module")
def village(exported) -> BankArrays:
    """20 houses, 20 trees, 20 skies, in turns; the graph features say nothing of the category.

    Row i is under licence i // 30: of every category half.
    """
    rng = np.random.default_rng(0)
    vocabulary, sizes = exported.model.vocabulary, exported.model.sizes
    rows = EACH * len(NAMES)
    networks = exported.served.networks
    features = rng.normal(size=[rows, exported.run.feature_size]).astype(np.float32)
    return BankArrays(
        graph_features=rng.normal(size=[rows, sizes.width]).astype(np.float32),
        embeddings=networks.embedding(features).numpy(),
        crops=rng.integers(0, 256, [rows, sizes.crop, sizes.crop, 3]).astype(np.uint8),
        category_ids=np.tile([vocabulary.object_id(name) for name in NAMES], EACH).astype(np.int32),
        image_ids=np.arange(rows),
        licence_ids=(np.arange(rows) // (rows // 2)).astype(np.int32),
    )


def serve(exported, arrays: BankArrays, kind: str):
    """`retrieve` of a model with this bank, as a function of a request."""
    sizes = dataclasses.replace(
        exported.model.sizes, patches=len(arrays.crops), licences=2, candidates=K
    )
    bank = ServedBank(arrays)
    search = build_served_search(kind, arrays, bank, objects=sizes.objects, candidates=K)
    served = ServedModel(
        prefilter=exported.served.prefilter,
        networks=exported.served.networks,
        feature_network=exported.served.feature_network,
        bank=bank,
        search=search,
        retriever=exported.served.retriever,
        sizes=sizes,
    )
    retrieve = served._endpoint(RETRIEVE_ONLY)
    call = tf.function(  # without AutoGraph, as endpoints are traced
        retrieve, input_signature=served.input_signature(RETRIEVE_ONLY), autograph=False
    )

    def ask(request):
        return {name: value.numpy() for name, value in call(*request.values()).items()}

    ask.served, ask.sizes = served, sizes
    return ask


@pytest.fixture(scope="module")
def asks(exported, village) -> dict:
    return {kind: serve(exported, village, kind) for kind in ("exact", "scann")}  # traced if asked


@contextlib.contextmanager
def changed(ask, **arrays):
    """The same model with other `category_ids` or `licence_ids` of its patches."""
    bank = ask.served.bank
    before = {name: getattr(bank, name).numpy() for name in arrays}
    try:
        for name, values in arrays.items():
            getattr(bank, name).assign(values)
        yield
    finally:
        for name, values in before.items():
            getattr(bank, name).assign(values)


def scenes(exported, ask, rows, names=NAMES, mode=SAMPLE, temperature=1.0):
    request = empty_request(RETRIEVE_ONLY, ask.sizes, rows)
    request["objects"][:, : len(names)] = [exported.model.vocabulary.object_id(n) for n in names]
    request["mode"][:] = mode
    request["seed"][:] = np.arange(rows)
    request["temperature"][:] = temperature
    return request


def asked_in_parts(ask, request):
    """The replies of a request of more rows than a model takes at once."""
    rows = len(request["objects"])
    parts = [
        ask({name: value[first : first + MAX_BATCH] for name, value in request.items()})
        for first in range(0, rows, MAX_BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@of_every_index
@pytest.mark.parametrize("mode", range(len(ALL_MODES)), ids=ALL_MODES)
def test_every_object_gets_its_own_category(exported, village, asks, kind, mode):
    for temperature in (0.01, 1.0, 100.0):
        request = scenes(exported, asks[kind], 16, mode=mode, temperature=temperature)
        reply = asked_in_parts(asks[kind], request)
        taken = village.category_ids[reply["patch_ids"][:, :3]]
        np.testing.assert_array_equal(taken, request["objects"][:, :3])
        np.testing.assert_array_equal(reply["patch_categories"], request["objects"])
        if mode % WITH_REPEATS == SAMPLE and temperature == 100.0:
            assert len(np.unique(reply["patch_ids"])) > 20  # all of a category are candidates


def test_without_the_rule_other_categories_would_be_taken(exported, village, asks, monkeypatch):
    """The negative control: the very same bank and queries, and all categories alike."""
    served = asks["exact"].served
    search = served.search.search

    def any_category(queries, categories, refused):
        return search(queries, tf.where(categories > 0, ANY_CATEGORY, 0), refused)

    monkeypatch.setattr(served.search, "search", any_category)
    retrieve = served._endpoint(RETRIEVE_ONLY)
    for mode in (SAMPLE, DETERMINISTIC, NEAREST):
        request = scenes(exported, asks["exact"], MAX_BATCH, mode=mode)
        reply = retrieve(*map(tf.constant, request.values()))
        assert (reply["patch_categories"].numpy() != request["objects"])[:, :3].any()


@of_every_index
def test_another_category_only_where_the_licences_leave_none_of_it(exported, village, asks, kind):
    licences = village.licence_ids.copy()
    sky = exported.model.vocabulary.object_id("sky")
    licences[village.category_ids == sky] = 1  # the other categories have both
    ask = asks[kind]
    request = scenes(exported, ask, 6)
    request["mode"][:] = [SAMPLE, SAMPLE, DETERMINISTIC, DETERMINISTIC, NEAREST, NEAREST]
    request["licences_refused"][::2, 1] = True  # no sky is left
    request["licences_refused"][1::2, 0] = True  # all skies are
    with changed(ask, licence_ids=licences):
        reply = ask(request)
    np.testing.assert_array_equal(reply["patch_categories"][:, :2], request["objects"][:, :2])
    assert (reply["patch_categories"][1::2, 2] == sky).all()
    assert (reply["patch_categories"][::2, 2] != sky).all()
    assert (licences[reply["patch_ids"][:, :3]] == np.array([[0], [1]] * 3)).all()


@of_every_index
def test_a_category_of_one_patch_gets_it_and_one_of_none_a_patch_that_is_named(
    exported, village, asks, kind
):
    vocabulary = exported.model.vocabulary
    house, tree, sky = (vocabulary.object_id(name) for name in NAMES)
    categories = village.category_ids.copy()
    houses = np.flatnonzero(categories == house)
    categories[houses[1:]] = tree
    ask = asks[kind]
    for mode in (SAMPLE, DETERMINISTIC, NEAREST):
        with changed(ask, category_ids=categories):
            reply = ask(scenes(exported, ask, 4, names=("house", "car", "tree"), mode=mode))
        assert (reply["patch_ids"][:, 0] == houses[0]).all()
        assert set(reply["patch_categories"][:, 1]) <= {house, tree, sky}
        np.testing.assert_array_equal(
            reply["patch_categories"][:, 1], categories[reply["patch_ids"][:, 1]]
        )
        assert (reply["patch_categories"][:, 2] == tree).all()


@of_every_index
@pytest.mark.parametrize("mode", range(len(MODES)), ids=MODES)
def test_no_two_objects_of_a_category_get_one_patch(exported, asks, kind, mode):
    ask, names = asks[kind], ("tree", "tree", "tree", "sky", "tree", "tree")
    rows = 16
    reply = asked_in_parts(ask, scenes(exported, ask, rows, names, mode=mode, temperature=0.01))
    assert [len(set(ids)) for ids in reply["patch_ids"].tolist()] == [6] * rows
    assert (np.sort(reply["patch_ids"], axis=1) >= 0).all()
    # With repeats the nearest, and cold draws, take one patch twice.
    free = asked_in_parts(
        ask, scenes(exported, ask, rows, names, mode=mode + WITH_REPEATS, temperature=0.01)
    )
    assert min(len(set(ids)) for ids in free["patch_ids"].tolist()) < 6
    # A patch that is locked for the last object is left alone by the others.
    request = scenes(exported, ask, rows, names, mode=mode, temperature=0.01)
    favourite = reply["patch_ids"][:, 0]
    request["patch_ids"][:, 5] = favourite
    locked = asked_in_parts(ask, request)
    assert (locked["patch_ids"][:, 5] == favourite).all()
    assert [len(set(ids)) for ids in locked["patch_ids"].tolist()] == [6] * rows


def test_more_objects_than_patches_repeat_them(exported, village, asks):
    sky = exported.model.vocabulary.object_id("sky")
    categories = village.category_ids.copy()
    skies = np.flatnonzero(categories == sky)
    categories[skies[2:]] = exported.model.vocabulary.object_id("tree")
    ask = asks["exact"]
    request = scenes(exported, ask, 3, ("sky", "tree", "sky", "sky"))
    request["mode"][:] = [SAMPLE, DETERMINISTIC, NEAREST]
    with changed(ask, category_ids=categories):
        reply = ask(request)
    for ids in reply["patch_ids"].tolist():
        assert {ids[0], ids[2], ids[3]} == set(skies[:2].tolist())


def test_rows_with_and_without_repeats_equal_their_single_results(exported, asks):
    ask, names = asks["exact"], ("tree", "tree", "sky", "tree")
    request = scenes(exported, ask, 8, names, temperature=0.01)
    request["mode"][:] = [0, 3, 1, 4, 2, 5, 3, 0]
    request["seed"][:] = [4, 4, 0, 0, 0, 0, 5, 5]
    batch = ask(request)
    for row in range(8):
        alone = ask({name: value[row : row + 1] for name, value in request.items()})
        for name, value in alone.items():
            if value.dtype.kind == "f":  # on some processors the last bit depends on the batch
                np.testing.assert_allclose(batch[name][row], value[0], atol=1e-6, err_msg=name)
            else:
                np.testing.assert_array_equal(batch[name][row], value[0], err_msg=name)


@of_every_index
def test_candidates_are_of_the_own_category_and_others_only_where_none_is_left(
    exported, village, asks, kind
):
    """Whatever finds them; by NumPy over the whole bank."""
    served, sizes = asks[kind].served, asks[kind].sizes
    licences = village.licence_ids.copy()
    sky = exported.model.vocabulary.object_id("sky")
    licences[village.category_ids == sky] = 1
    request = empty_request(CANDIDATES, sizes, 4)
    request["objects"][:, :3] = [exported.model.vocabulary.object_id(name) for name in NAMES]
    request["licences_refused"][1] = [True, False]
    request["licences_refused"][2] = [False, True]  # no sky is left
    request["licences_refused"][3] = True
    with changed(asks[kind], licence_ids=licences):
        tensors = {name: tf.constant(value) for name, value in request.items()}
        candidates = served.function(CANDIDATES)
        reply = {name: value.numpy() for name, value in candidates(**tensors).items()}
        rows = [{name: value[row : row + 1] for name, value in tensors.items()} for row in range(4)]
        for number, row in enumerate(rows):
            for name, value in candidates(**row).items():
                np.testing.assert_array_equal(reply[name][number], value[0], err_msg=name)
    queries = served._queries({name: request[name] for name in ("objects", "triples")}).numpy()
    for row in range(4):
        for place in range(3):
            allowed = ~request["licences_refused"][row][licences]
            own = allowed & (village.category_ids == request["objects"][row, place])
            rows = np.flatnonzero(own if own.any() else allowed)
            distances = np.linalg.norm(village.graph_features[rows] - queries[row, place], axis=1)
            best = np.argsort(distances, kind="stable")[:K]
            found = reply["candidate_ids"][row, place]
            assert found[: len(best)].tolist() == rows[best].tolist()
            assert (found[len(best) :] == -1).all()
            told = reply["candidate_distances"][row, place, : len(best)]
            np.testing.assert_allclose(told, distances[best], rtol=1e-4)
    assert len({tuple(ids) for ids in reply["candidate_ids"][:3, 2].tolist()}) >= 2
    others = reply["candidate_ids"][2, 2]
    assert (village.category_ids[others[others >= 0]] != sky).all() and others.max() >= 0
