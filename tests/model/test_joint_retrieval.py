"""Retrieval among many candidates against the exact one, on a bank of random patches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import Config, RetrievalConfig
from rgan_tf.model.retrieval_losses import retrieval_losses
from rgan_tf.retrieval.cache import EmbeddingCache
from rgan_tf.retrieval.cached import CachedRetriever
from rgan_tf.retrieval.embedding import PatchEmbedding
from rgan_tf.retrieval.learned import LearnedRetriever, signal_to_noise

BATCH, OBJECTS, CANDIDATES = 24, 4, 20
TEMPERATURE = tf.constant(0.7)


def config(**changes) -> Config:
    settings = RetrievalConfig(
        candidates=CANDIDATES,
        exact_candidates=4,
        loaded_candidates=3,
        embedding_sizes=(16, 8),
        initial_scale=8.0,
    )
    return Config(retrieval=dataclasses.replace(settings, **changes))


@pytest.fixture
def embedding() -> PatchEmbedding:
    tf.keras.utils.set_random_seed(4)
    layer = PatchEmbedding(sizes=(16, 8), initial_scale=8.0)
    layer(tf.zeros([1, 12]))
    return layer


@pytest.fixture
def batch(reader) -> dict[str, tf.Tensor]:
    """Scenes of 0 to 4 objects with 0 to 20 candidates each."""
    rng = np.random.default_rng(2)
    ids = np.stack([rng.permutation(len(reader)) for _ in range(BATCH * OBJECTS)])[:, :CANDIDATES]
    ids = ids.reshape(BATCH, OBJECTS, CANDIDATES).astype(np.int32)
    present = np.arange(OBJECTS) < np.arange(BATCH)[:, None] % (OBJECTS + 1)  # [B, O]
    number = rng.integers(0, CANDIDATES + 1, [BATCH, OBJECTS, 1])
    number[:5] = CANDIDATES
    ids[(np.arange(CANDIDATES) >= number) | ~present[..., None]] = -1
    own = np.where(present, rng.integers(len(reader), size=[BATCH, OBJECTS]), -1)
    ids, own = tf.constant(ids), tf.constant(own.astype(np.int32))
    # In a row, and the last two overlap: most pairs share no pixel.
    corners = np.array([[0, 0, 1, 0.3], [0, 0.3, 1, 0.6], [0, 0.6, 1, 0.9], [0, 0.7, 1, 1]])
    patches = reader.load(ids)
    return {
        "patch_features": reader.features(own),
        "candidate_ids": ids,
        "candidate_valid": ids >= 0,
        "candidate_features": reader.features(ids),
        "candidate_crops": patches.crops,
        "candidate_cooccurrence": patches.cooccurrence,
        "mask": own >= 0,
        "boxes": tf.constant(corners * present[..., None], tf.float32),
    }


def make_cached(embedding, reader, **changes) -> CachedRetriever:
    cache = EmbeddingCache(rows=len(reader), width=8, max_age_steps=7)
    retrieval = CachedRetriever(config(**changes), embedding, cache, reader)
    retrieval.start()
    return retrieval


def losses_of(retrieved, batch, anchors, **changes):
    settings = config(**changes).retrieval
    return retrieval_losses(settings, retrieved, batch["mask"], anchors, batch["boxes"])


def run(retrieval, batch, embedding, **changes):
    """The retrieval, its losses, and the gradient of a loss that all its parts have a share in."""
    anchors = tf.zeros([BATCH], tf.int32)
    seeds = tf.random.stateless_uniform([BATCH, 2], [5, 6], None, None, tf.int32)
    with tf.GradientTape() as tape:
        result = retrieval.retrieve(
            batch,
            batch["mask"],
            seeds=seeds,
            anchors=anchors,
            temperature=TEMPERATURE,
            step=tf.constant(0, tf.int64),
        )
        losses = losses_of(result, batch, anchors, **changes)
        target = tf.random.stateless_normal(tf.shape(result.crops), [7, 8])
        loss = tf.reduce_sum(result.crops * target) / 100.0
        loss += tf.reduce_sum(losses["selection"] + 3.0 * losses["cooccurrence"])
    return result, losses, tape.gradient(loss, embedding.trainable_variables)


@pytest.mark.parametrize("loaded", [1, pytest.param(3, marks=pytest.mark.thorough)])
def test_a_fresh_cache_chooses_what_the_exact_retrieval_chooses(batch, embedding, reader, loaded):
    sampled = {"cooccurrence_loss": "sampled"}  # the expected one is taken over what is loaded
    exact, expected, _ = run(LearnedRetriever(config(), embedding), batch, embedding, **sampled)
    cached = make_cached(embedding, reader, loaded_candidates=loaded)
    ours, losses, _ = run(cached, batch, embedding, **sampled)
    assert (exact.choice_ids.numpy() >= 0).sum() > 30
    np.testing.assert_array_equal(ours.choice_ids, exact.choice_ids)
    np.testing.assert_allclose(ours.crops, exact.crops, atol=1e-6)
    np.testing.assert_allclose(losses["cooccurrence"], expected["cooccurrence"], atol=1e-5)
    np.testing.assert_allclose(losses["selection"], expected["selection"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("form", "straight_through"),
    [
        ("one_step", True),
        ("iterative", False),
        ("every_object", True),
        pytest.param("one_step", False, marks=pytest.mark.thorough),
        pytest.param("iterative", True, marks=pytest.mark.thorough),
    ],
)
def test_with_all_candidates_loaded_the_gradient_is_the_exact_one(
    batch, embedding, reader, straight_through, form
):
    changes = dict(straight_through=straight_through, selection_loss=form)
    *_, exact = run(LearnedRetriever(config(**changes), embedding), batch, embedding, **changes)
    everything = make_cached(embedding, reader, loaded_candidates=CANDIDATES, **changes)
    *_, ours = run(everything, batch, embedding, **changes)
    for one, other in zip(ours, exact, strict=True):
        assert np.abs(other).max() > 1e-3
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * np.abs(other).max())


def test_truncation_keeps_most_of_the_gradient_and_not_all(batch, embedding, reader):
    def flat(gradients):
        return np.concatenate([np.ravel(part) for part in gradients])

    def cosine(first, second):
        return first @ second / np.linalg.norm(first) / np.linalg.norm(second)

    exact = flat(run(LearnedRetriever(config(), embedding), batch, embedding)[2])
    cosines = [
        cosine(
            flat(run(make_cached(embedding, reader, loaded_candidates=m), batch, embedding)[2]),
            exact,
        )
        for m in (1, 3, 10)
    ]
    assert cosines == sorted(cosines)
    assert cosines[0] < 0.99 < cosines[2]


def test_an_old_vector_can_hide_a_candidate_but_never_decides_among_the_loaded(
    batch, embedding, reader
):
    exact, *_ = run(LearnedRetriever(config(), embedding), batch, embedding)
    retrieval = make_cached(embedding, reader, loaded_candidates=CANDIDATES)
    cache = retrieval.cache.vectors
    cache.assign(tf.random.stateless_normal(cache.shape, [1, 1]))
    ours, *_ = run(retrieval, batch, embedding)
    np.testing.assert_array_equal(ours.choice_ids, exact.choice_ids)
    few = make_cached(embedding, reader, loaded_candidates=2)
    few.cache.vectors.assign(cache)
    assert (run(few, batch, embedding)[0].choice_ids.numpy() != exact.choice_ids.numpy()).any()


def test_scenes_and_objects_without_candidates(batch, embedding, reader):
    ours, losses, gradients = run(make_cached(embedding, reader), batch, embedding)
    empty = ~batch["candidate_valid"].numpy().any(axis=2)  # [B, O]
    assert empty.any(axis=1).sum() > 3 and empty.all(axis=1).any()
    assert (ours.choice_ids.numpy()[empty] == -1).all()
    assert not ours.crops.numpy()[empty].any()
    for part in (*gradients, *losses.values()):
        assert np.isfinite(part).all()


@pytest.mark.thorough  # a fresh cache chooses as the exact retrieval, above
def test_more_candidates_than_the_bank_has_rows(batch, embedding, reader):
    missing = tf.fill([BATCH, OBJECTS, 80], -1)
    wide = {key: batch[key] for key in ("patch_features", "mask", "boxes")}
    wide["candidate_ids"] = tf.concat([batch["candidate_ids"], missing], axis=2)
    wide["candidate_valid"] = wide["candidate_ids"] >= 0
    # The noise of a wider table is another one, so what is compared has none in it.
    everything = make_cached(embedding, reader)
    anchors = tf.zeros([BATCH], tf.int32)
    first, second = (
        losses_of(run(everything, each, embedding)[0], each, anchors) for each in (batch, wide)
    )
    np.testing.assert_allclose(first["selection"], second["selection"], rtol=1e-5)
    ours, *_ = run(everything, wide, embedding)
    present = batch["candidate_valid"].numpy().any(axis=2)
    np.testing.assert_array_equal(ours.choice_ids.numpy() >= 0, present)


def test_a_locked_candidate_is_loaded_and_chosen(batch, embedding, reader):
    retrieval = make_cached(embedding, reader)
    ids, valid = batch["candidate_ids"], batch["candidate_valid"]
    locked = np.full([BATCH, OBJECTS], -1, np.int32)
    rows = np.flatnonzero(valid.numpy()[:, 0].all(axis=1))
    locked[rows, 0] = 17
    short = retrieval.select(
        ids, valid, retrieval.cache.lookup(ids), None, temperature=1.0, locked=tf.constant(locked)
    )
    chosen = tf.gather(short.slots, tf.maximum(short.selection.choice, 0), batch_dims=2).numpy()
    assert len(rows) > 3 and (chosen[rows, 0] == 17).all()
    assert not (short.selection.order.numpy()[rows] == 0).any()


def test_reports_the_age_of_what_it_used(batch, embedding, reader):
    retrieval = make_cached(embedding, reader)
    result = retrieval.retrieve(
        batch,
        batch["mask"],
        seeds=None,
        anchors=tf.zeros([BATCH], tf.int32),
        temperature=TEMPERATURE,
        step=tf.constant(100, tf.int64),
    )
    assert float(result.monitors["retrieval/cache_age_steps"]) == 6  # 60 rows, 9 a step
    assert set(result.monitors) == set(retrieval.monitors)


def test_signal_to_noise_by_hand():
    embeddings = tf.constant([[[[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]]])
    valid = tf.constant([[[True, True, True, False]]])
    distances = np.array([0, 2, np.sqrt(2)])  # to the query, which is the first candidate
    expected = 4.0 * distances.std() / (np.pi / np.sqrt(6))
    query = tf.constant([[1.0, 0.0]])
    found = signal_to_noise(embeddings, valid, query, tf.constant(4.0))
    np.testing.assert_allclose(found, expected, 1e-4)
