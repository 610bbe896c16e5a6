"""An exported model with a user's own retriever chooses what the library chooses with it."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf
from nearest_colour import NearestColour

from export import saved_model
from export.signatures import (
    CANDIDATES,
    DETERMINISTIC,
    NEAREST,
    NEIGHBOURS,
    RETRIEVE_ONLY,
    SAMPLE,
    empty_request,
    example_request,
)
from rgan_tf.data.pipeline import scene_dataset
from rgan_tf.model.networks import build_cooccurrence_embedding
from rgan_tf.model.synthesis import synthesise
from rgan_tf.retrieval.prefilter import prefilter
from rgan_tf.retrieval.rules import NearestRetriever


@pytest.fixture(scope="module")
def batch(exported):
    config, data = exported.run.config, exported.data
    cooccurrence = build_cooccurrence_embedding(config, exported.run.feature_size)
    table = prefilter(config, data, ["val"], exported.served.prefilter, cooccurrence)["val"]
    dataset = scene_dataset(
        data, "val", config, batch_size=2, seed=0, repeat=False, augment=False, candidates=table
    )
    return next(iter(dataset))


COLOUR = NearestColour()


@pytest.fixture(scope="module")
def build(exported):
    """The model with another retriever, each once."""

    @functools.cache
    def make(retriever):
        return saved_model.build_served_model(
            exported.run, exported.data.bank, None, "exact", retriever
        )[0]

    return make


# The second knows nothing of a patch: its vectors have no width.
@pytest.mark.parametrize(
    "retriever, is_written",
    [
        (COLOUR, False),
        pytest.param(COLOUR, True, marks=pytest.mark.thorough),
        pytest.param(NearestRetriever(), True, marks=pytest.mark.thorough),
    ],
)
def test_it_chooses_what_the_library_chooses(
    exported, build, batch, tmp_path, retriever, is_written
):
    served = build(retriever)
    ask = served.function(RETRIEVE_ONLY)
    if is_written:
        saved_model.write_saved_model(tmp_path / "model", served.functions())
        loaded = tf.saved_model.load(str(tmp_path / "model"))
        ask = loaded.signatures[RETRIEVE_ONLY]
    made = synthesise(
        exported.served.networks, batch, row_seeds=None, retriever=retriever, repeats=False
    )
    choice, ids = made.choice.numpy(), batch["candidate_ids"].numpy()
    chosen = np.take_along_axis(ids, np.maximum(choice, 0)[..., None], axis=2)[..., 0]
    request = empty_request(RETRIEVE_ONLY, served.sizes, 2)
    for name in ("objects", "triples"):
        request[name] = batch[name].numpy()
    for mode in (SAMPLE, DETERMINISTIC):
        request["mode"][:] = mode
        reply = ask(**{name: tf.constant(value) for name, value in request.items()})
        np.testing.assert_array_equal(reply["patch_ids"], np.where(choice >= 0, chosen, -1))
        np.testing.assert_array_equal(reply["order"], made.order)
    request["mode"][:] = NEAREST  # is not the retriever's to answer
    nearest = exported.signatures[RETRIEVE_ONLY](
        **{name: tf.constant(value) for name, value in request.items()}
    )
    found = ask(**{name: tf.constant(value) for name, value in request.items()})
    np.testing.assert_array_equal(found["patch_ids"], nearest["patch_ids"])


def ask(served, endpoint, request):
    tensors = {name: tf.constant(value) for name, value in request.items()}
    return {name: value.numpy() for name, value in served.function(endpoint)(**tensors).items()}


@pytest.mark.thorough  # another retriever: the one above stays
def test_alternatives_are_told_by_its_own_vectors(exported, build):
    served = build(COLOUR)
    crops = served.bank.crops.numpy().astype(np.float64)
    colours = crops.mean(axis=(1, 2))  # [N, 3], in 0..255
    request = example_request(CANDIDATES, served.sizes, 2)
    request["patch_ids"][1, 0] = 2  # beside an own patch
    request["licences_refused"][:] = False
    reply = ask(served, CANDIDATES, request)
    side, size = served.sizes.own_patch, served.sizes.crop
    own = request["own_patches"][0, 2].astype(np.float64)
    own = own.reshape(size, side // size, size, side // size, 3).mean(axis=(1, 3))
    own = np.floor(own + 0.5).mean(axis=(0, 1))  # [3]
    for row, mean in ((0, own), (1, (own + colours[2]) / 2)):
        ids = reply["candidate_ids"][row, 1]
        wanted = np.linalg.norm(colours[ids] - mean, axis=1)
        found = reply["candidate_group_distances"][row, 1]
        np.testing.assert_allclose(found[ids >= 0], wanted[ids >= 0], rtol=1e-4)
        assert (found[ids < 0] == -1).all() and (ids >= 0).sum() > 1
    like = empty_request(NEIGHBOURS, served.sizes, 1)
    found = ask(served, NEIGHBOURS, like)
    ids = found["neighbour_ids"][0]
    distances = np.linalg.norm(colours - colours[0], axis=1)
    np.testing.assert_allclose(found["neighbour_distances"][0], distances[ids], rtol=1e-4)
    categories = served.bank.category_ids.numpy()
    same = (categories == categories[0]) & (np.arange(len(categories)) != 0)
    assert set(ids[: same.sum()]) <= set(np.flatnonzero(same))
    assert served.scale is None  # it draws by no distance


@pytest.mark.thorough  # another retriever: the one above stays
def test_of_one_that_knows_nothing_of_a_patch_no_likeness_is_told(exported, build):
    served = build(NearestRetriever())
    request = example_request(CANDIDATES, served.sizes, 1)
    reply = ask(served, CANDIDATES, request)
    assert (reply["candidate_ids"][0, :3, 0] >= 0).all()
    assert (reply["candidate_distances"][0, :3, 0] >= 0).all()
    assert (reply["candidate_group_distances"] == -1).all()
    found = ask(served, NEIGHBOURS, empty_request(NEIGHBOURS, served.sizes, 1))
    assert (found["neighbour_ids"] == -1).all() and (found["neighbour_distances"] == -1).all()
    assert served.scale is None
