"""Retrieval figures on a case worked out by hand, and against chance."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.retrieval.cached import CachedRetriever
from rgan_tf.retrieval.candidates import CandidateTable
from rgan_tf.retrieval.embedding import PatchEmbedding
from rgan_tf.retrieval.learned import LearnedRetriever, chooses_by_embedding
from rgan_tf.retrieval.retriever import Retriever
from rgan_tf.retrieval.rules import NearestRetriever
from rgan_tf.retrieval.selection import best_in_turn
from training.evaluation.retrieval import SELECTIONS, repeated_share, retrieval_metrics
from training.evaluation.rule_retrieval import rule_metrics

STYLES, SIZE = 2, 8
APART = np.array([[0, 0.25 * i, 1, 0.25 * i + 0.25] for i in range(4)], np.float32)


class StyleEmbedding:
    """Knows the style: the first two features say it. Frozen features are all the same."""

    scale = tf.constant(50.0)

    def __call__(self, features):
        return tf.math.l2_normalize(features[..., :STYLES], axis=-1)

    def standardise(self, features):
        return features[..., STYLES:]

    def untrained(self, seed):
        return self.standardise


def world(scenes=40, objects=3, k=2, knows=True, seed=0):
    """Every object has one candidate of each style; a scene's own patches share one style."""
    rng = np.random.default_rng(seed)
    bank_styles = np.tile(np.arange(STYLES), scenes * objects)
    ids = np.arange(scenes * objects * k).reshape(scenes, objects, k)
    order = rng.permuted(np.tile(np.arange(k), (scenes, objects, 1)), axis=2)
    ids = np.take_along_axis(ids, order, axis=2)
    own_styles = np.repeat(rng.integers(STYLES, size=[scenes, 1]), objects, axis=1)

    def features(styles):
        values = np.ones([*styles.shape, SIZE], np.float32)
        known = styles if knows else rng.integers(STYLES, size=styles.shape)
        values[..., :STYLES] = np.eye(STYLES)[known]
        return values

    batch = {
        "image_id": tf.range(scenes, dtype=tf.int64),
        "candidate_valid": tf.ones(ids.shape, tf.bool),
        "candidate_ids": tf.constant(ids, tf.int32),
        "candidate_features": tf.constant(features(bank_styles[ids])),
        "patch_features": tf.constant(features(own_styles)),
        "boxes": tf.tile(tf.constant(APART[:objects])[None], [scenes, 1, 1]),
    }
    names = np.array(["day", "night"])
    data = SimpleNamespace(bank=SimpleNamespace(styles=names[bank_styles].tolist()))
    related = np.eye(STYLES, dtype=np.float32)[bank_styles]
    return batch, data, CandidateTable(ids.reshape(-1, k), related)


def measure(batch, data, table, embedding=None, seed=0, **options):
    embedding = embedding or StyleEmbedding()
    return retrieval_metrics(embedding, [batch], data, table, seed=seed, **options)


def test_an_embedding_that_knows_the_style_keeps_to_it():
    metrics = measure(*world())
    assert metrics["retrieval/learned/style_agreement"] == 1.0
    assert metrics["retrieval/learned/locked_style_match"] == 1.0
    assert metrics["retrieval/learned/cooccurrence_distance"] == 0.0
    # Own patch and the candidate of its style tie: a tie is not a win.
    assert metrics["retrieval/learned/gt_recall@1"] == 0.0


def test_every_other_way_of_choosing_is_chance():
    metrics = measure(*world(scenes=300))
    for name in ("graph_nearest", "backbone", "untrained", "random"):
        assert metrics[f"retrieval/{name}/style_agreement"] == pytest.approx(0.5, abs=0.07)
        assert metrics[f"retrieval/{name}/locked_style_match"] == pytest.approx(0.5, abs=0.09)
        # Half of the pairs differ, and are then the root of 2 apart.
        distance = metrics[f"retrieval/{name}/cooccurrence_distance"]
        assert distance == pytest.approx(0.5 * 2**0.5, abs=0.1)
    assert metrics["retrieval/random/gt_recall@1"] == pytest.approx(1 / 3)


def test_an_embedding_that_knows_nothing_gains_nothing():
    metrics = measure(*world(scenes=300, knows=False))
    assert metrics["retrieval/learned/style_agreement"] == pytest.approx(0.5, abs=0.07)


def test_recall_by_hand():
    batch, data, table = world(scenes=1, objects=3)
    own = np.zeros([1, 3, SIZE], np.float32)
    candidates = np.zeros([1, 3, 2, SIZE], np.float32)
    own[..., 0] = 1.0  # all own patches point the same way
    candidates[:, 0, :, 1] = 1.0  # the other way: the own patch wins
    candidates[:, 1, :, 1] = 1.0
    candidates[:, 2, 0, 0] = 1.0  # as near as the own patch: it does not
    batch |= {"patch_features": tf.constant(own), "candidate_features": tf.constant(candidates)}
    recalls = {
        measure(batch, data, table, seed=seed)["retrieval/learned/gt_recall@1"]
        for seed in (0, 9)  # they draw the two kinds of anchor
    }
    # Of the two objects that did not give the query, both win when object 2 gave it, else one.
    assert recalls == {0.5, 1.0}


def test_recall_counts_objects_that_share_no_pixel_with_the_query_by_themselves():
    batch, data, table = world(scenes=60, objects=3)
    own = np.zeros([60, 3, SIZE], np.float32)
    candidates = np.zeros([60, 3, 2, SIZE], np.float32)
    own[..., 0] = 1.0
    candidates[:, :2, :, 1] = 1.0  # objects 0 and 1 know each other, object 2 ties with all
    candidates[:, 2, :, 0] = 1.0
    boxes = np.tile(APART[:3], (60, 1, 1))
    boxes[:, 1] = [0.5, 0.1, 1.0, 0.2]  # half of 0's box covers it: it shares all of its pixels
    batch |= {
        "patch_features": tf.constant(own),
        "candidate_features": tf.constant(candidates),
        "boxes": tf.constant(boxes),
    }
    metrics = measure(batch, data, table)
    # Without shared pixels: 2 is lost, seen from 0 or 1; 0 and 1 win, seen from 2.
    assert metrics["retrieval/learned/gt_recall@1_sharing_0.75_to_1"] == 1.0
    assert 0.3 < metrics["retrieval/learned/gt_recall@1"] < 0.7
    assert metrics["retrieval/learned/gt_recall@1_all"] == pytest.approx(2 / 3, abs=0.1)
    shared, apart = (
        metrics["retrieval/pairs_sharing_0.75_to_1"],
        metrics["retrieval/pairs_disjoint"],
    )
    assert shared + apart == metrics["retrieval/pairs_all"] == 120
    assert "retrieval/learned/gt_recall@1_sharing_0_to_0.25" not in metrics


def test_every_row_gets_the_same_noise_and_is_reported_without_it():
    class Faint(StyleEmbedding):
        """Knows the style, but its distances are lost in the noise."""

        scale = tf.constant(0.1)

    metrics = measure(*world(scenes=300), embedding=Faint())
    noisy = metrics["retrieval/learned/style_agreement"]
    assert noisy == pytest.approx(0.5, abs=0.1)
    assert metrics["retrieval/learned/style_agreement_without_noise"] == 1.0
    for name in ("backbone", "untrained"):
        figure = metrics[f"retrieval/{name}/style_agreement_without_noise"]
        assert figure == pytest.approx(0.5, abs=0.1)


def test_same_seed_same_figures_and_other_seeds_other_ones():
    batch, data, table = world(knows=False)
    first = measure(batch, data, table, seed=3)
    assert first == measure(batch, data, table, seed=3)
    assert first != measure(batch, data, table, seed=4)


def test_without_styles_their_figures_are_left_out():
    batch, _, table = world(scenes=4)
    data = SimpleNamespace(bank=SimpleNamespace(styles=[""] * len(table.cooccurrence)))
    metrics = measure(batch, data, table)
    assert not any("style" in name for name in metrics)
    assert all(f"retrieval/{name}/cooccurrence_distance" in metrics for name in SELECTIONS)


def test_padding_counts_for_nothing():
    batch, data, table = world(scenes=6)
    valid = batch["candidate_valid"].numpy()
    valid[:, 2] = False
    valid[5] = False  # a scene without objects
    ids = np.where(valid, batch["candidate_ids"], -1)
    batch |= {"candidate_valid": tf.constant(valid), "candidate_ids": tf.constant(ids)}
    metrics = measure(batch, data, table)
    assert metrics["retrieval/learned/style_agreement"] == 1.0
    assert metrics["retrieval/random/distinct_patches"] == 1.0
    assert all(np.isfinite(value) for value in metrics.values())


def test_frozen_features_are_those_of_each_patch_alone():
    """The standardisation runs over the features, whatever stands before them in the tensor."""
    embedding = PatchEmbedding(sizes=(4,))
    embedding.build((None, 6))
    features = np.random.default_rng(0).normal(size=[2, 3, 5, 6]).astype(np.float32)
    whole = embedding.standardise(tf.constant(features)).numpy()
    assert whole.shape == features.shape
    np.testing.assert_allclose(whole.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(
        whole[1, 2, 3], embedding.standardise(tf.constant(features[1, 2, 3:4]))[0], atol=1e-6
    )


def test_repeated_share_by_hand():
    ids = np.array([[5, 5, 6, 5], [7, 8, 7, -1]])
    mask = np.array([[True, True, True, True], [True, True, True, False]])
    assert repeated_share(ids, mask) == pytest.approx(3 / 7)
    mask[0, 0] = False  # one that does not count repeats nothing, nor is it repeated
    assert repeated_share(ids, mask) == pytest.approx(2 / 6)
    assert repeated_share(ids, np.zeros_like(mask)) == 0.0


def test_without_repeats_every_selection_but_the_random_one_keeps_objects_apart():
    batch, data, table = world()
    # The objects of a scene share their two candidates, which are of different styles.
    shared = tf.repeat(batch["candidate_ids"][:, :1], 3, axis=1)
    features = tf.repeat(batch["candidate_features"][:, :1], 3, axis=1)
    batch = batch | {"candidate_ids": shared, "candidate_features": features}
    free, apart = (measure(batch, data, table, repeats=repeats) for repeats in (True, False))
    for name in ("learned", "graph_nearest"):
        # All three take one patch; kept apart, both patches are used before one comes again.
        assert free[f"retrieval/{name}/repeated_patches"] == pytest.approx(2 / 3)
        assert apart[f"retrieval/{name}/repeated_patches"] == pytest.approx(1 / 3)
        assert apart[f"retrieval/{name}/style_agreement"] == pytest.approx(1 / 3)
    random = "retrieval/random/repeated_patches"
    assert free[random] == apart[random] > 1 / 3


class LastCandidate(Retriever):
    """A user's own retriever."""

    name = "last"

    def choose(self, candidates, options):
        slots = tf.cast(tf.range(tf.shape(candidates.valid)[2]), tf.float32)  # [K]
        return best_in_turn(slots + tf.zeros(tf.shape(candidates.valid)), candidates, options)


def test_a_retriever_of_ones_own_keeps_objects_apart_too():
    batch, data, table = world()
    batch = batch | {"candidate_ids": tf.repeat(batch["candidate_ids"][:, :1], 3, axis=1)}
    repeated = [
        rule_metrics(LastCandidate(), [batch], data, "val", table, seed=0, repeats=repeats)[
            "retrieval/last/repeated_patches"
        ]
        for repeats in (True, False)
    ]
    # Of two candidates the three objects take one; kept apart, both before one comes again.
    assert repeated == pytest.approx([2 / 3, 1 / 3])


def test_who_follows_a_locked_patch_is_counted_the_same_for_every_retriever():
    batch, data, table = world()
    parts = [
        {name: tf.gather(value, rows) for name, value in batch.items()}
        for rows in (range(15), range(15, 40))
    ]
    of_all = retrieval_metrics(StyleEmbedding(), parts, data, table, seed=3)
    for name, figure in measure(batch, data, table, seed=3).items():  # of one batch
        if "backbone" not in name:  # which only ties here, up to rounding
            assert of_all[name] == pytest.approx(figure), name
    of_rule = rule_metrics(NearestRetriever(), parts, data, "val", table, seed=3)
    for figure in ("style_agreement", "locked_style_match", "repeated_patches"):
        name = f"retrieval/graph_nearest/{figure}"
        assert of_rule[name] == pytest.approx(of_all[name]), name
    of_phi = rule_metrics(Following(), parts, data, "val", table, seed=3)
    assert of_phi["retrieval/following/locked_style_match"] == 1.0
    assert of_rule["retrieval/graph_nearest/locked_style_match"] < 0.7


class Following(Retriever):
    """Takes what has the features of the locked patch, or of the first one."""

    name = "following"

    def embed(self, patches):
        return patches.features[..., :STYLES]

    def choose(self, candidates, options):
        wanted = candidates.embeddings[:, 0, 0]  # [B, D]
        if options.locked is not None:
            one_hot = tf.one_hot(options.locked, candidates.valid.shape[2])  # [B, O, K]
            wanted = tf.einsum("bok,bokd->bd", one_hot, candidates.embeddings)  # [B, D]
        scores = tf.einsum("bokd,bd->bok", candidates.embeddings, wanted)  # [B, O, K]
        return best_in_turn(scores, candidates, options)


class LastButLearned(LearnedRetriever):
    """One that chooses in its own way and keeps the name of the class that it is made from."""

    choose = LastCandidate.choose


@pytest.mark.parametrize(
    ("kind", "is_by_phi"),
    [(LearnedRetriever, True), (CachedRetriever, True), (LastButLearned, False)],
)
def test_phi_speaks_only_for_retrievers_that_choose_by_it(kind, is_by_phi):
    assert chooses_by_embedding(object.__new__(kind)) is is_by_phi
    assert not chooses_by_embedding(LastCandidate())
