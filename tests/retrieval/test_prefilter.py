"""Graph features and candidates of whole splits, on the tiny world."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.bank.graphs import BankGraph
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.config import changed
from rgan_tf.data.pipeline import scene_dataset
from rgan_tf.errors import BadInput
from rgan_tf.model.networks import build_cooccurrence_embedding, build_sg2im_networks
from rgan_tf.retrieval import prefilter as bank_features
from rgan_tf.retrieval.index import bank_search
from rgan_tf.retrieval.index.graph_features import graph_features
from rgan_tf.retrieval.prefilter import embed_rows, prefilter
from rgan_tf.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def sg2im(tiny_config, tiny_world):
    tf.keras.utils.set_random_seed(4)
    return build_sg2im_networks(tiny_config, tiny_world.vocabulary)


@pytest.fixture(scope="module")
def cooccurrence(tiny_config, tiny_world):
    return build_cooccurrence_embedding(tiny_config, tiny_world.bank.feature_size)


@pytest.mark.parametrize("split", ["train", "val"])
def test_rows_are_those_of_the_splits_own_patches(tiny_config, tiny_world, sg2im, split):
    features = graph_features(sg2im, tiny_world.truth(split), tiny_config)
    bank = tiny_world.truth(split)
    assert features.shape == (len(bank), tiny_config.graph.width)
    assert features.dtype == np.float16
    scenes = scene_dataset(
        tiny_world, split, tiny_config, batch_size=1, seed=0, repeat=False, augment=False
    )
    seen = 0
    for batch in scenes:
        graph = {"objects": batch["objects"], "triples": batch["triples"]}
        vectors = sg2im.encoder(graph).object_vectors.numpy()[0]
        rows = batch["patch_rows"].numpy()[0]
        for row, vector, category in zip(rows, vectors, batch["objects"].numpy()[0], strict=True):
            if row >= 0:
                seen += 1
                np.testing.assert_allclose(features[row], vector, rtol=2e-3, atol=2e-3)
                assert bank.category_ids[row] == category
                assert bank.image_ids[row] == batch["image_id"][0]
    # The tiny config has room for 6 objects of a scene; the others are encoded apart.
    assert 0.5 * len(bank) < seen < len(bank)
    assert (np.abs(features).max(axis=1) > 0).all()


def test_objects_without_room_are_encoded_in_a_further_graph(
    tmp_path, tiny_config, tiny_world, sg2im
):
    """Three objects, room for two: the related ones stay together, the other is alone."""
    small = dataclasses.replace(
        tiny_config, data=dataclasses.replace(tiny_config.data, max_objects=2, max_triples=1)
    )
    shape = {"crop_size": 4, "feature_size": 2, "backbone": "none"}
    with PatchBankWriter(tmp_path / "b", **shape, vocabulary=tiny_world.vocabulary) as writer:
        graph = writer.add_graph(BankGraph(np.array([4, 2, 3]), np.array([[2, 1, 0]])))
        rows = [{"category_id": category, "image_id": 7} for category in (4, 2, 3)]
        places = [(graph, 0), (graph, 1), (graph, 2)]
        writer.append(np.zeros([3, 4, 4, 3], np.uint8), np.zeros([3, 2]), rows, places)
        lone = [{"category_id": 2, "image_id": 8}]
        writer.append(np.zeros([1, 4, 4, 3], np.uint8), np.zeros([1, 2]), lone)
    features = graph_features(sg2im, PatchBank.open(tmp_path / "b"), small)

    def encoded(objects, triple):
        graph = {"objects": tf.constant([objects]), "triples": tf.constant([[triple]])}
        return sg2im.encoder(graph).object_vectors.numpy()[0]

    together = encoded([4, 3], [1, 1, 0])
    alone = encoded([2, 0], [-1, -1, -1])[0]
    expected = [together[0], alone, together[1], alone]
    np.testing.assert_allclose(features, expected, rtol=2e-3, atol=2e-3)


def test_a_bank_of_another_vocabulary_is_refused(tmp_path, tiny_config, sg2im):
    names = Vocabulary.from_categories(["one"])
    shape = {"crop_size": 4, "feature_size": 2, "backbone": "none"}
    with PatchBankWriter(tmp_path / "b", **shape, vocabulary=names):
        pass
    with pytest.raises(BadInput, match="has 3 object names, the model"):
        graph_features(sg2im, PatchBank.open(tmp_path / "b"), tiny_config)


def test_blocks_do_not_show(cooccurrence, tiny_world, monkeypatch):
    features = np.asarray(tiny_world.bank.features)[:20]
    whole = embed_rows(cooccurrence, features)
    monkeypatch.setattr(bank_features, "_ROWS_PER_BATCH", 7)
    np.testing.assert_allclose(embed_rows(cooccurrence, features), whole, atol=1e-6)
    np.testing.assert_allclose(whole, cooccurrence(tf.constant(features, tf.float32)), atol=1e-6)
    assert whole.shape == (20, 8) and whole.dtype == np.float32


def test_candidates_are_the_nearest_of_the_category_from_other_images(
    tiny_config, tiny_world, sg2im, cooccurrence
):
    tables = prefilter(tiny_config, tiny_world, ["train", "val"], sg2im, cooccurrence)
    bank = tiny_world.bank
    k = tiny_config.retrieval.candidates
    features = graph_features(sg2im, tiny_world.bank, tiny_config).astype(np.float64)
    has_feature = features.any(axis=1)
    masked = 0
    for split, source in tables.items():
        own = tiny_world.truth(split)
        found = source.ids_of(np.arange(len(own)))
        queries = graph_features(sg2im, tiny_world.truth(split), tiny_config).astype(np.float64)
        assert found.shape == (len(own), k) and found.dtype == np.int32
        assert source.cooccurrence.shape == (len(bank), 8)
        for row, ids in enumerate(found):
            distance = np.linalg.norm(features - queries[row], axis=1)
            other_image = bank.image_ids != own.image_ids[row]
            alike = has_feature & other_image & (bank.category_ids == own.category_ids[row])
            count = min(k, int(alike.sum()))
            wanted = alike if count else has_feature & other_image
            count = min(k, int(wanted.sum()))
            assert (ids[:count] >= 0).all() and len(set(ids[:count])) == count
            assert (ids[count:] == -1).all()  # not filled up from other categories
            assert wanted[ids[:count]].all()
            nearest = np.sort(distance[wanted])[:count]
            np.testing.assert_allclose(distance[ids[:count]], nearest, atol=1e-5)
            masked += int((ids < 0).sum())
    assert masked, "the world has no category with fewer patches than candidates"


def test_a_deterministic_run_measures_no_time(
    tiny_config, tiny_world, sg2im, cooccurrence, monkeypatch
):
    """On a large bank `auto` takes what is faster, which the next run may find to be another."""
    tuned = []
    monkeypatch.setattr(bank_search, "LARGE_BANK", 1)
    monkeypatch.setattr(bank_search, "tune_scann", lambda *_, **__: tuned.append(1) or 1 / 0)
    for deterministic in (True, False):
        config = changed(tiny_config, training={"deterministic": deterministic})
        with contextlib.nullcontext() if deterministic else pytest.raises(ZeroDivisionError):
            prefilter(config, tiny_world, ["val"], sg2im, cooccurrence)
    assert len(tuned) == 1


@pytest.mark.thorough  # test_scann_index and test_search stay
def test_scann_finds_what_the_exact_search_finds(tiny_config, tiny_world, sg2im, cooccurrence):
    tables = []
    for kind in ("exact", "scann"):
        retrieval = dataclasses.replace(tiny_config.retrieval, index=kind)
        config = dataclasses.replace(tiny_config, retrieval=retrieval)
        source = prefilter(config, tiny_world, ["val"], sg2im, cooccurrence)["val"]
        tables.append(source.ids_of(np.arange(source.rows)))
    exact, scann = tables
    np.testing.assert_array_equal(exact < 0, scann < 0)
    shared = [len(set(ours) & set(theirs) - {-1}) for ours, theirs in zip(*tables, strict=True)]
    assert sum(shared) > 0.95 * (exact >= 0).sum()


def test_objects_of_a_category_that_ran_out_are_counted_and_named(
    tiny_config, tiny_world, sg2im, cooccurrence
):
    own, bank = tiny_world.truth("val"), tiny_world.bank
    # Some of the objects that were prepared have no place in the scenes of this config.
    rows = tiny_world.scenes("val", tiny_config.data).patch_rows
    shown = rows[rows >= 0]
    assert 0 < len(shown) < len(own)
    lines = []
    gone = int(own.category_ids[shown[0]])
    emptied = SimpleNamespace(
        category_ids=np.where(bank.category_ids == gone, 3 if gone != 3 else 4, bank.category_ids),
        image_ids=bank.image_ids,
    )
    missing = bank_features.foreign_objects(own, emptied, rows)
    by_hand = Counter(
        own.vocabulary.object_name(int(own.category_ids[row]))
        for row in shown
        if not (
            (emptied.category_ids == own.category_ids[row])
            & (emptied.image_ids != own.image_ids[row])
        ).any()
    )
    assert missing == by_hand and list(missing.values()) == sorted(missing.values(), reverse=True)
    bank_features._report_missing("val", missing, "have no candidates", lines.append)
    count = int((own.category_ids[shown] == gone).sum())
    assert len(lines) == 1 and lines[0].startswith("val: ")
    assert "objects have no candidates, because the bank has none of theirs" in lines[0]
    assert f"{own.vocabulary.object_name(gone)} ({count})" in lines[0]
