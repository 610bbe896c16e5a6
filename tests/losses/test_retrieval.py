"""Retrieval losses: hand-worked numbers, masks, and finite gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.losses.retrieval import (
    cooccurrence_loss,
    draw_anchors,
    expected_cooccurrence_loss,
    selection_loss,
    sharing_pixels,
)


def softmax_loss(distances, own, scale):
    """Cross-entropy of `own` among all, plainly."""
    powers = np.exp(-scale * np.asarray(distances, np.float64))
    return -np.log(powers[own] / powers.sum())


def test_one_step_by_hand():
    own = tf.constant([[[0.0], [1.0], [5.0]]])  # anchor: object 0, at 0
    candidates = tf.constant([[[[9.0], [9.0]], [[2.0], [9.0]], [[3.0], [4.0]]]])
    valid = tf.constant([[[True, True], [True, False], [True, True]]])
    loss = selection_loss(
        own, candidates, valid, tf.fill([1, 3], True), tf.constant([0]), scale=0.5
    )
    expected = (softmax_loss([1, 2], 0, 0.5) + softmax_loss([5, 3, 4], 0, 0.5)) / 2
    np.testing.assert_allclose(loss, [expected], rtol=1e-6)


def random_scene(seed):
    """Two scenes of unit vectors: three objects, the second scene with one of them padded."""
    rng = np.random.default_rng(seed)
    vectors = tf.math.l2_normalize(tf.constant(rng.normal(size=(2, 3, 6, 5)), tf.float32), axis=-1)
    mask = tf.constant([[True, True, True], [True, True, False]])
    valid = tf.constant(rng.random((2, 3, 5)) < 0.8) & mask[:, :, tf.newaxis]
    return vectors[:, :, 0], vectors[:, :, 1:], valid, mask


def test_every_object_is_the_mean_over_the_anchors_of_one_step():
    own, candidates, valid, mask = random_scene(2)

    def loss_and_gradient(form, anchors):
        with tf.GradientTape() as tape:
            tape.watch(candidates)
            loss = selection_loss(own, candidates, valid, mask, anchors, scale=4.0, form=form)
        return loss.numpy(), tape.gradient(loss, candidates).numpy()

    of_anchors = [loss_and_gradient("one_step", tf.fill([2], anchor)) for anchor in range(3)]
    for anchors in ([0, 1], [2, 0]):
        loss, gradient = loss_and_gradient("every_object", tf.constant(anchors))
        for row, objects in enumerate((3, 2)):
            mean = np.mean([each[0][row] for each in of_anchors[:objects]])
            np.testing.assert_allclose(loss[row], mean, rtol=1e-5)
            mean = np.mean([each[1][row] for each in of_anchors[:objects]], axis=0)
            np.testing.assert_allclose(gradient[row], mean, atol=1e-5)


def test_every_object_leaves_out_pairs_that_share_pixels_and_counts_what_is_left_out():
    own, candidates, valid, mask = random_scene(3)
    sharing = np.eye(3, dtype=bool)[None].repeat(2, axis=0)
    sharing[0, 0, 1] = sharing[0, 1, 0] = True

    def loss(used, is_used, **more):
        options = dict(scale=4.0, form="every_object", **more)
        return selection_loss(own, used, is_used, mask, tf.zeros(2, tf.int32), **options).numpy()

    far = loss(candidates, valid, sharing=tf.constant(sharing))
    pairs = [(0, 2), (1, 2), (2, 0), (2, 1)]
    groups = np.concatenate([own[0, :, None], candidates[0]], axis=1)  # [O, 1+K, D]
    expected = [
        softmax_loss(
            np.linalg.norm(groups[other] - own[0, query], axis=1)[np.r_[True, valid[0, other]]],
            0,
            4.0,
        )
        for query, other in pairs
    ]
    np.testing.assert_allclose(far[0], np.mean(expected), rtol=1e-5)
    from_third = valid & (np.arange(5) >= 2)
    cut = loss(candidates[:, :, :2], valid[:, :, :2], left_out=(candidates, from_third))
    np.testing.assert_allclose(cut, loss(candidates, valid), rtol=1e-5)


def test_what_is_left_out_counts_in_the_loss_and_receives_no_gradient():
    rng = np.random.default_rng(1)
    vectors = tf.math.l2_normalize(tf.constant(rng.normal(size=(2, 3, 6, 5)), tf.float32), axis=-1)
    own, candidates, others = vectors[:, :, 0], vectors[:, :, 1:3], vectors[:, :, 1:]
    mask, anchors = tf.fill([2, 3], True), tf.constant([0, 2])
    is_left_out = tf.constant([[[False, False, True, True, True]] * 3] * 2)

    def loss_and_gradients(form, used, left_out=None):
        scale = tf.constant(3.0)
        with tf.GradientTape() as tape:
            tape.watch([own, others, scale])
            valid = tf.fill(used.shape[:3], True)
            loss = selection_loss(
                own, used, valid, mask, anchors, scale=scale, form=form, left_out=left_out
            )
            total = tf.reduce_sum(loss)
        return loss, tape.gradient(total, [own, scale, others])

    full, (own_full, scale_full, _) = loss_and_gradients("one_step", others)
    cut, (own_cut, scale_cut, none) = loss_and_gradients(
        "one_step", candidates, (others, is_left_out)
    )
    np.testing.assert_allclose(cut, full, rtol=1e-5)
    np.testing.assert_allclose(own_cut, own_full, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(scale_cut, scale_full, rtol=1e-4)
    assert none is None
    without, _ = loss_and_gradients("one_step", candidates)
    assert (without.numpy() < full.numpy() - 0.1).all()
    # Teacher-forced, only the order of the visits could differ; nothing else is approximate.
    iterative, _ = loss_and_gradients("iterative", candidates, (others, is_left_out))
    assert (iterative.numpy() > loss_and_gradients("iterative", candidates)[0].numpy()).all()


def test_sharing_pixels():
    boxes = tf.constant(
        [[[0.0, 0.0, 0.5, 0.5], [0.4, 0.4, 1.0, 1.0], [0.0, 0.5, 0.4, 1.0], [0.0] * 4]]
    )
    expected = np.eye(4, dtype=bool)
    expected[0, 1] = expected[1, 0] = True  # boxes 0 and 2, 1 and 2 only touch
    expected[3, 3] = False  # padding has no pixel
    np.testing.assert_array_equal(sharing_pixels(boxes)[0], expected)


def test_objects_that_share_pixels_with_the_query_do_not_count():
    own = tf.constant([[[0.0], [1.0], [5.0]]])  # anchor: object 0
    candidates = tf.constant([[[[9.0]], [[2.0]], [[3.0]]]])
    arguments = (own, candidates, tf.fill([1, 3, 1], True), tf.fill([1, 3], True), [0])

    def loss(form, *pairs):
        sharing = np.eye(3, dtype=bool)
        for first, second in pairs:
            sharing[first, second] = sharing[second, first] = True
        return selection_loss(*arguments, scale=0.5, form=form, sharing=tf.constant(sharing[None]))

    second = softmax_loss([5, 3], 0, 0.5)
    np.testing.assert_allclose(loss("one_step", (0, 1)), [second], rtol=1e-6)
    np.testing.assert_allclose(loss("one_step", (0, 1), (0, 2)), [0.0])
    # Object 1 is visited first and joins the query, so object 2 no longer counts beside it.
    first = softmax_loss([1, 2], 0, 0.5)
    np.testing.assert_allclose(loss("iterative", (1, 2)), [first], rtol=1e-6)
    np.testing.assert_allclose(loss("one_step", (1, 2)), [(first + second) / 2], rtol=1e-6)


def test_expected_cooccurrence_is_the_mean_of_the_sampled_one():
    rng = np.random.default_rng(0)
    vectors = tf.math.l2_normalize(tf.constant(rng.normal(size=(1, 3, 2, 4)), tf.float32), -1)
    probabilities = np.array([[[0.2, 0.8], [0.6, 0.4], [0.0, 0.0]]], np.float32)
    mask = tf.fill([1, 3], True)
    mean = 0.0
    for first in range(2):
        for second in range(2):
            weights = np.zeros((1, 3, 2), np.float32)
            weights[0, 0, first] = weights[0, 1, second] = 1
            share = probabilities[0, 0, first] * probabilities[0, 1, second]
            mean += share * cooccurrence_loss(weights, vectors, mask).numpy()
    loss = expected_cooccurrence_loss(probabilities, vectors, mask)
    np.testing.assert_allclose(loss, mean, rtol=1e-5)
    nothing = expected_cooccurrence_loss(np.zeros_like(probabilities), vectors, mask)
    np.testing.assert_array_equal(nothing, [0.0])


@pytest.mark.parametrize("teacher_forcing", [True, False])
def test_iterative_by_hand(teacher_forcing):
    # From 0, object 1 is visited first, through its candidate at 0.5; its own patch is at 1. The
    # query moves to the mean with the own patch (0.5) or with the candidate (0.25).
    own = tf.constant([[[0.0], [1.0], [5.0]]])
    candidates = tf.constant([[[[9.0]], [[0.5]], [[3.0]]]])
    loss = selection_loss(
        own,
        candidates,
        tf.fill([1, 3, 1], True),
        tf.fill([1, 3], True),
        tf.constant([0]),
        scale=0.5,
        form="iterative",
        teacher_forcing=teacher_forcing,
    )
    query = 0.5 if teacher_forcing else 0.25
    second = softmax_loss([5 - query, 3 - query], 0, 0.5)
    np.testing.assert_allclose(loss, [(softmax_loss([1, 0.5], 0, 0.5) + second) / 2], rtol=1e-6)


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    own = tf.constant(rng.normal(size=(5, 4, 6)), tf.float32)
    candidates = tf.constant(rng.normal(size=(5, 4, 3, 6)), tf.float32)
    mask = np.arange(4) < np.array([4, 3, 2, 1, 0])[:, None]
    valid = tf.constant((rng.random((5, 4, 3)) < 0.8) & mask[..., None])
    return own, candidates, valid, tf.constant(mask)


@pytest.mark.parametrize("form", ["one_step", "iterative", "every_object"])
def test_padding_changes_nothing_and_lone_objects_cost_nothing(batch, form):
    own, candidates, valid, mask = batch
    anchors = tf.constant([3, 0, 1, 0, 0])
    options = dict(scale=2.0, form=form)
    loss = selection_loss(own, candidates, valid, mask, anchors, **options).numpy()
    assert (loss[:3] > 0).all() and (loss[3:] == 0).all()
    more = [[0, 0], [0, 2]]
    padded = selection_loss(
        tf.pad(own, [*more, [0, 0]], constant_values=9.0),
        tf.pad(candidates, [*more, [0, 1], [0, 0]], constant_values=0.1),
        tf.pad(valid, [*more, [0, 1]]),
        tf.pad(mask, more),
        anchors,
        **options,
    )
    np.testing.assert_allclose(padded, loss, rtol=1e-5)


@pytest.mark.parametrize(
    ("form", "jit_compile"),
    [
        ("one_step", False),
        ("iterative", True),
        ("every_object", True),
        pytest.param("one_step", True, marks=pytest.mark.thorough),
        pytest.param("iterative", False, marks=pytest.mark.thorough),
    ],
)
def test_selection_loss_has_finite_gradients_for_equal_patches(batch, form, jit_compile):
    own, candidates, valid, mask = batch
    candidates = tf.repeat(own[:, :1, tf.newaxis], 4, axis=1) + 0 * candidates
    own = tf.repeat(own[:, :1], 4, axis=1)

    @tf.function(jit_compile=jit_compile)
    def gradient(own, candidates):
        with tf.GradientTape() as tape:
            tape.watch([own, candidates])
            loss = selection_loss(
                own, candidates, valid, mask, tf.zeros(5, tf.int32), scale=10.0, form=form
            )
        return loss, tape.gradient(loss, [own, candidates])

    loss, gradients = gradient(own, candidates)
    assert all(np.isfinite(part).all() for part in (loss, *gradients))
    chosen = slice(0 if form == "every_object" else 1, None)  # the anchor is another's object too
    entries = 1 + valid.numpy()[0, chosen].sum(axis=1)
    np.testing.assert_allclose(loss[0], np.log(entries).mean(), rtol=1e-5)


def test_selection_loss_falls_to_zero_when_trained():
    own = tf.Variable(np.random.default_rng(1).normal(size=(2, 3, 4)), dtype=tf.float32)
    others = tf.Variable(np.random.default_rng(2).normal(size=(2, 3, 5, 4)), dtype=tf.float32)
    optimizer = tf.keras.optimizers.Adam(0.1)
    optimizer.build([own, others])

    @tf.function(autograph=False)
    def train(anchors):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(
                selection_loss(
                    own,
                    others,
                    tf.fill([2, 3, 5], True),
                    tf.fill([2, 3], True),
                    anchors,
                    scale=10.0,
                )
            )
        gradients = tape.gradient(loss, [own, others])
        optimizer.apply_gradients(zip(gradients, [own, others], strict=True))
        return loss

    for step in range(150):
        loss = train(tf.constant([step % 3, 0]))
    assert float(loss) < 1e-2


def test_unknown_form_is_refused(batch):
    with pytest.raises(ValueError, match="'both'"):
        selection_loss(*batch, tf.zeros(5, tf.int32), scale=1.0, form="both")


def test_anchors_are_uniform_over_real_objects():
    mask = tf.tile([[True, False, True, True], [False, False, False, False]], [6000, 1])
    anchors = draw_anchors(mask, tf.constant([3, 4])).numpy()
    share = np.bincount(anchors[::2], minlength=4) / 6000
    np.testing.assert_allclose(share, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.03)
    assert not anchors[1::2].any()
    np.testing.assert_array_equal(anchors, draw_anchors(mask, tf.constant([3, 4])))
    assert (anchors != draw_anchors(mask, tf.constant([3, 5])).numpy()).any()


def test_cooccurrence_loss_by_hand():
    weights = tf.constant([[[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]])
    vectors = tf.constant(
        [[[[9.0, 9.0], [0.0, 0.0]], [[3.0, 4.0], [9.0, 9.0]], [[0.0, 8.0], [9.0, 9.0]]]]
    )
    vectors = tf.pad(vectors, [[0, 0], [0, 1], [0, 0], [0, 0]], constant_values=100.0)
    every = tf.constant([[True, True, True, True]])  # the last has no candidate, so no weight
    np.testing.assert_allclose(cooccurrence_loss(weights, vectors, every), [(5 + 8 + 5) / 3])
    two = tf.constant([[True, True, False, False]])
    np.testing.assert_allclose(cooccurrence_loss(weights, vectors, two), [5.0])
    one = tf.constant([[True, False, False, False]])
    np.testing.assert_allclose(cooccurrence_loss(weights, vectors, one), [0.0])


def test_cooccurrence_loss_moves_weights_and_not_the_frozen_embeddings():
    weights = tf.constant([[[1.0, 0.0], [1.0, 0.0]]])
    vectors = tf.constant([[[[0.0], [1.0]], [[1.0], [0.0]]]])
    with tf.GradientTape() as tape:
        tape.watch([weights, vectors])
        loss = cooccurrence_loss(weights, vectors, tf.fill([1, 2], True))
    to_weights, to_vectors = tape.gradient(loss, [weights, vectors])
    # |w0·c0 - w1·c1| = |0·w00 + 1·w01 - (1·w10 + 0·w11)|, at -1
    np.testing.assert_allclose(to_weights, [[[0.0, -1.0], [1.0, 0.0]]])
    assert to_vectors is None


def test_cooccurrence_loss_of_equal_patches_has_a_finite_gradient():
    weights = tf.constant([[[0.5, 0.5], [0.5, 0.5]]])
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss = cooccurrence_loss(weights, tf.ones([1, 2, 2, 3]), tf.fill([1, 2], True))
    assert float(loss[0]) == 0
    assert np.isfinite(tape.gradient(loss, weights)).all()
