"""An exported model with a retriever of one's own chooses what the library chooses with it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from nearest_colour import NearestColour

from export import saved_model
from export.signatures import DETERMINISTIC, NEAREST, RETRIEVE_ONLY, SAMPLE, empty_request
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


# The second knows nothing of a patch: its vectors have no width.
@pytest.mark.parametrize(
    "retriever, is_written",
    [
        (NearestColour(), False),
        pytest.param(NearestColour(), True, marks=pytest.mark.thorough),
        pytest.param(NearestRetriever(), True, marks=pytest.mark.thorough),
    ],
)
def test_it_chooses_what_the_library_chooses(exported, batch, tmp_path, retriever, is_written):
    served, _ = saved_model.build_served_model(
        exported.run, exported.data.bank, None, "exact", retriever
    )
    ask = served.function(RETRIEVE_ONLY)
    if is_written:
        served.archive().write_out(str(tmp_path / "model"))
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
