"""The joint step with more candidates than are loaded: model, replicas, checkpoints, synthesis."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.model.synthesis import synthesise
from rgan_tf.retrieval.learned import LearnedRetriever
from rgan_tf.retrieval.patch_library import library_for


@pytest.fixture(scope="module")
def config(tiny_config):
    changes = {
        "candidates": 12,
        "exact_candidates": 5,
        "loaded_candidates": 3,
        "cache_max_age_steps": 6,
    }
    return dataclasses.replace(
        tiny_config, retrieval=dataclasses.replace(tiny_config.retrieval, **changes)
    )


@pytest.fixture(scope="module")
def whole_batch(config, make_batch, reader):
    """With everything of every candidate, as the exact retrieval wants it."""
    batch = make_batch(config)
    ids = tf.where(batch["candidate_valid"], batch["candidate_ids"] % len(reader), -1)
    patches = reader.load(ids)
    return batch | {
        "candidate_ids": ids,
        "candidate_crops": patches.crops,
        "candidate_features": reader.features(ids),
        "candidate_cooccurrence": patches.cooccurrence,
    }


@pytest.fixture(scope="module")
def batch(whole_batch):
    """As the pipeline makes it for many candidates."""
    left = {"candidate_crops", "candidate_features", "candidate_cooccurrence"}
    return {name: value for name, value in whole_batch.items() if name not in left}


def test_without_a_cache_no_variable_is_new(tiny_config, make_joint, reader):
    model = make_joint(tiny_config, reader=reader)
    assert model.retriever.cache is None
    assert not any("cache" in variable.name for variable in model.variables)
    model.start()  # has nothing to do


def test_a_reader_is_asked_for(config, make_joint):
    with pytest.raises(ValueError, match="patch reader"):
        make_joint(config)


def test_the_step_equals_the_exact_one_where_all_are_loaded(
    config, make_joint, reader, batch, whole_batch
):
    def changed(**changes):
        return dataclasses.replace(
            config, retrieval=dataclasses.replace(config.retrieval, **changes)
        )

    exact = make_joint(changed(exact_candidates=12))
    ours = make_joint(changed(loaded_candidates=12), reader=reader)
    expected, found = exact.train_step(whole_batch), ours.train_step(batch)
    assert set(found) - set(expected) == {"retrieval/cache_age_steps"}
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-5), name
    for one, other in zip(ours.networks.variables, exact.networks.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=one.name)


@pytest.mark.thorough  # the step where all are loaded stays
def test_categories_with_few_patches_train_as_exactly_as_all_are_loaded(
    config, make_joint, reader, whole_batch
):
    """0, 1, 2, 3, 0, ... of 12 columns are valid, and three are loaded: nothing may be left out."""
    few = tf.range(whole_batch["objects"].shape[1])[:, tf.newaxis] % 4  # [O, 1]
    valid = whole_batch["candidate_valid"] & (tf.range(12) < few)  # [B, O, K]
    ids = tf.where(valid, whole_batch["candidate_ids"], -1)
    scarce = whole_batch | {
        "candidate_valid": valid,
        "candidate_ids": ids,
        "candidate_crops": reader.load(ids).crops,
        "candidate_features": reader.features(ids),
        "candidate_cooccurrence": reader.load(ids).cooccurrence,
    }
    settings = dataclasses.replace(config.retrieval, exact_candidates=12)
    exact = make_joint(dataclasses.replace(config, retrieval=settings))
    ours = make_joint(config, reader=reader)
    ours.start()
    for model in (exact, ours):
        retrieved = model.retriever.retrieve(
            scarce,
            scarce["objects"] > 0,
            seeds=tf.constant([[row, 7] for row in range(4)]),
            anchors=tf.zeros([4], tf.int32),
            temperature=tf.constant(0.5),
            step=tf.constant(0, tf.int64),
        )
        chosen = retrieved.choice_ids.numpy()  # [B, O]
        has_any = valid.numpy().any(axis=2)
        np.testing.assert_array_equal(chosen >= 0, has_any)
        is_candidate = (ids.numpy() == chosen[..., np.newaxis]) & valid.numpy()
        np.testing.assert_array_equal(is_candidate.any(axis=2), has_any)
        assert not retrieved.crops.numpy()[~has_any].any()
        assert np.isfinite(retrieved.compared.candidates).all()
    expected, found = exact.train_step(scarce), ours.train_step(scarce)
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-5), name
    for one, other in zip(ours.networks.variables, exact.networks.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=one.name)


def test_the_step_refreshes_its_rows_with_the_new_weights(config, make_joint, reader, batch):
    model = make_joint(config, "adam", reader=reader)
    model.start()
    start = model.retriever.cache.vectors.numpy()
    model.train_step(batch)
    vectors = model.retriever.cache.vectors.numpy()
    np.testing.assert_array_equal(vectors[10:], start[10:])
    expected = model.networks.embedding(reader.features(tf.range(10)))
    np.testing.assert_allclose(vectors[:10], expected, atol=1e-6)
    assert np.abs(vectors[:10] - start[:10]).max() > 1e-4


@pytest.mark.thorough
def test_two_replicas(config, make_joint, reader, batch, two_replicas, fit_once, assert_same_step):
    single = make_joint(config, reader=reader)
    with two_replicas.scope():
        double = make_joint(config, seed=2, reader=reader)
        for a, b in zip(double.variables, single.variables, strict=True):
            a.assign(b)
    figures = fit_once(double, batch)
    expected = single.train_step(batch)
    # The oldest and the least noisy of a half batch are not those of the whole one.
    for name in ("retrieval/cache_age_steps", "retrieval/signal_to_noise"):
        del figures[name], expected[name]
    assert_same_step(double, single, figures, expected)
    for copy in two_replicas.experimental_local_results(double.retriever.cache.vectors):
        np.testing.assert_allclose(copy, single.retriever.cache.vectors, atol=1e-5)


def test_checkpoint_continues_with_the_same_cache(config, make_joint, reader, batch, tmp_path):
    model = make_joint(config, "adam", reader=reader)
    model.train_step(batch)
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "state"))
    other = make_joint(config, "adam", seed=9, reader=reader)
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(other.retriever.cache.vectors, model.retriever.cache.vectors)
    for one in (model, other):
        one.train_step(batch)
    np.testing.assert_allclose(
        other.retriever.cache.vectors, model.retriever.cache.vectors, atol=1e-6
    )


def test_synthesis_from_a_library_is_that_from_whole_candidates(
    config, make_joint, reader, batch, whole_batch
):
    networks = make_joint(config, reader=reader).networks
    retriever = LearnedRetriever(config, networks.embedding)
    library = library_for(config, retriever, reader)
    found = synthesise(networks, batch, row_seeds=tf.range(4), library=library)
    expected = synthesise(networks, whole_batch, row_seeds=tf.range(4))
    np.testing.assert_array_equal(found.choice, expected.choice)
    np.testing.assert_allclose(found.crops, expected.crops, atol=1e-6)
    np.testing.assert_allclose(found.images, expected.images, atol=1e-5)


def test_no_library_where_candidates_come_whole(tiny_config, make_joint, reader):
    assert library_for(tiny_config, make_joint(tiny_config).retriever, reader) is None
