"""Stage 2: what triplets are drawn, that training works, and what the AUC says."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.errors import BadInput
from rgan_tf.metrics.boxes import shared_share
from rgan_tf.model.cooccurrence import (
    CooccurrenceModel,
    TripletSampler,
    same_image_auc,
    triplet_dataset,
)
from rgan_tf.retrieval.embedding import CooccurrenceEmbedding

HALVES = [[0, 0, 1, 0.5], [0, 0.5, 1, 1]]  # of an image, which do not overlap


def make_bank(images, seed, style_strength=1.0, per_image=4):
    """Patches whose features are a strong category part, an image part, and noise."""
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    category_part, style_part = fixed.normal(size=(7, 24)) * 3, fixed.normal(size=(3, 24))
    image_ids = np.repeat(np.arange(images) + 1000, per_image)
    category_ids = rng.integers(1, 7, len(image_ids))
    style = rng.normal(size=(images, 3)) @ style_part * style_strength
    features = category_part[category_ids] + style[image_ids - 1000]
    features = features + rng.normal(size=features.shape) * 0.5
    # Side by side: no two patches of an image overlap.
    starts = np.tile(np.arange(per_image), images) / per_image
    boxes = np.stack([0 * starts, starts, 0 * starts + 1, starts + 1 / per_image], axis=1)
    return SimpleNamespace(
        features=features.astype(np.float16),
        image_ids=image_ids,
        category_ids=category_ids,
        boxes=boxes.round(6),
    )


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), share=st.sampled_from([0.0, 0.5, 1.0]))
def test_triplets_are_what_they_claim(seed, share):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 8, 30)
    categories = rng.integers(1, 4, 30)
    images[:3] = [0, 0, 1]
    sampler = TripletSampler(images, categories, same_category_share=share)
    anchors, positives, negatives = sampler.draw(50, rng).T
    assert (anchors != positives).all()
    assert (images[anchors] == images[positives]).all()
    assert (images[anchors] != images[negatives]).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_share_of_negatives_with_the_positives_category(share):
    bank = make_bank(200, 0)
    sampler = TripletSampler(bank.image_ids, bank.category_ids, same_category_share=share)
    triplets = sampler.draw(6000, np.random.default_rng(1))
    expected = share + (1 - share) / 6  # chance among six categories
    assert sampler.same_category(triplets).mean() == pytest.approx(expected, abs=0.03)


def test_positives_are_uniform_over_the_other_patches_of_the_image():
    sampler = TripletSampler(np.array([5, 5, 5, 6]), np.ones(4, int))
    triplets = sampler.draw(6000, np.random.default_rng(2))
    for anchor in range(3):
        chosen = triplets[triplets[:, 0] == anchor, 1]
        share = np.bincount(chosen, minlength=4) / len(chosen)
        expected = np.where(np.arange(4) == anchor, 0, 0.5) * (np.arange(4) < 3)
        np.testing.assert_allclose(share, expected, atol=0.05)


def test_a_bank_dominated_by_one_image_still_gives_other_negatives():
    images = np.array([1] * 2000 + [2])
    sampler = TripletSampler(images, np.ones(2001, int), same_category_share=1.0)
    assert (sampler.draw(40, np.random.default_rng(3))[:, 2] == 2000).all()


@pytest.mark.parametrize("images", [[1, 1, 1], [1, 2, 3], []])
def test_a_bank_without_triplets_is_refused(images):
    with pytest.raises(BadInput, match="prepare more images"):
        TripletSampler(np.array(images, int), np.ones(len(images), int))


def test_batches_depend_on_seed_and_step_only():
    bank = make_bank(20, 4)
    options = dict(triplets_per_step=8, same_category_share=0.5)
    first = list(triplet_dataset(bank, **options, seed=5).take(4).as_numpy_iterator())
    later = triplet_dataset(bank, **options, seed=5, start_step=2).take(2).as_numpy_iterator()
    for one, other in zip(first[2:], later, strict=True):
        for key in ("anchors", "positives", "negatives", "labels"):
            np.testing.assert_array_equal(one[key], other[key])
    assert (first[0]["anchors"] != first[1]["anchors"]).any()
    other_seed = next(triplet_dataset(bank, **options, seed=6).as_numpy_iterator())
    assert (first[0]["anchors"] != other_seed["anchors"]).any()
    spec = triplet_dataset(bank, **options, seed=5).element_spec
    assert spec["anchors"].shape == (8, 24) and spec["labels"].dtype == tf.int64


def test_training_beats_the_bare_features_on_held_out_images():
    tf.keras.utils.set_random_seed(0)
    training, held_out = make_bank(200, 6), make_bank(80, 7)
    embedding = CooccurrenceEmbedding(sizes=(32, 16))
    embedding.set_statistics(training.features)
    model = CooccurrenceModel(embedding, margin=0.2)
    model.compile(optimizer=tf.keras.optimizers.Adam(2e-3))
    before = same_image_auc(embedding, held_out)
    batches = triplet_dataset(training, triplets_per_step=64, same_category_share=0.5, seed=0)
    history = model.fit(batches, steps_per_epoch=80, epochs=2, verbose=0).history
    after = same_image_auc(embedding, held_out)
    assert history["loss"][-1] < history["loss"][0]
    assert before < 0.8 and after > 0.9
    assert after > same_image_auc(lambda features: features, held_out) + 0.1
    assert model.fit(batches, steps_per_epoch=2, verbose=0).history["loss"][-1] < 0.5


def test_auc_knows_chance_and_certainty():
    # Without an image part in the features nothing but the noise differs: chance.
    unrelated = make_bank(100, 8, style_strength=0.0)
    assert same_image_auc(lambda x: x, unrelated) == pytest.approx(0.5, abs=0.03)
    assert same_image_auc(tf.zeros_like, unrelated) == 0.5  # all ties
    certain = make_bank(100, 9)
    certain.features = certain.image_ids[:, None].astype(np.float32)
    assert same_image_auc(lambda x: x, certain) == 1.0
    assert same_image_auc(lambda x: x, certain, seed=1) == 1.0


def test_auc_is_not_fooled_by_categories_that_go_together():
    # Every image holds one category pair; a category-only embedding would look perfect if
    # negatives were drawn from everywhere.
    kinds = np.arange(60) % 3
    image_ids = np.repeat(np.arange(60), 2)
    category_ids = np.stack([kinds * 2 + 1, kinds * 2 + 2], axis=1).ravel()
    features = np.eye(3, dtype=np.float32)[(category_ids - 1) // 2]
    bank = SimpleNamespace(
        features=features, image_ids=image_ids, category_ids=category_ids, boxes=HALVES * 60
    )
    assert same_image_auc(lambda x: x, bank) == 0.5


@pytest.mark.parametrize(
    ("images", "categories", "boxes", "is_known"),
    [
        ([1, 1, 2, 2], [5, 6, 7, 8], HALVES * 2, False),  # no negative of the same category
        ([1, 1, 1, 1], [5, 6, 5, 6], HALVES * 2, False),  # one image
        ([1, 2, 3, 4], [5, 5, 5, 5], HALVES * 2, False),  # one object in each
        ([1, 1, 2, 2], [5, 6, 5, 6], HALVES[:1] * 4, False),  # all of an image overlap
        ([1, 1, 2, 2], [5, 6, 5, 6], HALVES * 2, True),
    ],
)
def test_auc_of_patches_that_allow_none_is_not_a_number(images, categories, boxes, is_known):
    bank = SimpleNamespace(
        features=np.eye(4, dtype=np.float32),
        image_ids=np.array(images),
        category_ids=np.array(categories),
        boxes=np.array(boxes),
    )
    assert np.isfinite(same_image_auc(lambda x: x, bank)) == is_known


def test_margin_out_of_range_is_refused():
    with pytest.raises(ValueError, match="got 3"):
        CooccurrenceModel(CooccurrenceEmbedding(sizes=(4,)), margin=3)


def test_anchor_and_positive_share_no_pixel_where_boxes_are_given():
    rng = np.random.default_rng(0)
    images = np.repeat(np.arange(40), 4)
    corner = rng.random((160, 2)) * 0.6
    boxes = np.concatenate([corner, corner + 0.3], axis=1)
    boxes[:4] = [0.0, 0.0, 1.0, 1.0]  # an image whose patches all overlap gives no anchor
    categories = rng.integers(1, 4, 160)
    sampler = TripletSampler(images, categories, boxes=boxes)
    anchors, positives, negatives = sampler.draw(3000, rng).T
    assert (images[anchors] == images[positives]).all()
    assert (images[anchors] != images[negatives]).all()
    assert (shared_share(boxes[anchors], boxes[positives]) == 0).all()
    assert 0 not in images[anchors]
    # Every partner is drawn, and about as often as the others.
    first = anchors[0]
    others = np.flatnonzero((images == images[first]) & (shared_share(boxes[first], boxes) == 0))
    assert set(positives[anchors == first]) <= set(others)
    with pytest.raises(BadInput, match="two patches that do not overlap"):
        TripletSampler(np.array([1, 1, 2]), np.ones(3, int), boxes=np.tile([0, 0, 1, 1], (3, 1)))
    everywhere = TripletSampler(images, categories).draw(3000, rng).T
    assert (shared_share(boxes[everywhere[0]], boxes[everywhere[1]]) > 0).any()
