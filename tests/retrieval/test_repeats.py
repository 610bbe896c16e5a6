"""No two objects of a scene get one patch while another is free."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.retrieval.gumbel import gumbel_group_select
from rgan_tf.retrieval.patches import chosen_rows
from rgan_tf.retrieval.repeats import without_taken
from rgan_tf.retrieval.selection import Candidates, Options, nearest_in_turn
from rgan_tf.retrieval.selector import GroupRetrieval

# Two rows of three objects with three candidates each.
IDS = np.array([[[5, 6, 7], [6, 5, 8], [5, -1, -1]]] * 2, np.int32)
VALID = IDS >= 0


def tensors(*arrays):
    return [tf.constant(array) for array in arrays]


def test_taken_patches_are_left_out_by_hand():
    choice = np.array([[0, -1, -1], [-1, -1, -1]], np.int32)
    found = without_taken(*tensors(VALID, IDS, choice)).numpy()
    assert found[0].tolist() == [
        [False, True, True],  # its own patch is taken like any other; it is closed anyway
        [True, False, True],
        [True, False, False],  # has no other: keeps it
    ]
    np.testing.assert_array_equal(found[1], VALID[1])  # nothing is taken, nor by a padded id


def test_rows_of_no_ids_let_patches_repeat():
    choice = np.zeros([2, 3], np.int32)
    found = without_taken(*tensors(VALID, np.full_like(IDS, -1), choice))
    np.testing.assert_array_equal(found, VALID)


def nearest(valid, ids, locked, repeats=False):
    candidates = Candidates(tf.constant(ids), tf.constant(valid), None, embeddings=None)
    options = Options(locked=tf.constant(locked), repeats=repeats)
    return nearest_in_turn(candidates, options).choice.numpy()


def test_nearest_goes_from_object_to_object_and_leaves_locked_ones_out():
    free = np.full([2, 3], -1, np.int32)
    # 5; then 6, which is its nearest; the third has nothing but 5.
    assert nearest(VALID, IDS, free)[0].tolist() == [0, 0, 0]
    free[1, 1] = 1  # the second object is locked to 5: the first leaves it alone
    assert nearest(VALID, IDS, free)[1].tolist() == [1, 1, 0]
    some = tf.constant([False, True])  # patches of the second scene may repeat
    assert nearest(VALID, IDS, free, some).tolist() == [[0, 0, 0], [0, 1, 0]]
    assert nearest(VALID, IDS, free, True).tolist() == [[0, 0, 0], [0, 1, 0]]
    nothing = np.zeros_like(VALID)
    assert nearest(nothing, IDS, free)[0].tolist() == [-1, -1, -1]


def test_the_group_selection_by_hand():
    """One place in the embedding for each patch; without noise the nearest to the query wins."""
    place = {5: 0.0, 6: 1.0, 7: 5.0, 8: 9.0, -1: 0.0}
    features = np.vectorize(place.get)(IDS)[..., np.newaxis].astype(np.float32)  # [B, O, K, 1]
    inputs = tensors(features, VALID, np.zeros([2, 1], np.float32), np.zeros(IDS.shape, np.float32))
    repeating = gumbel_group_select(*inputs)
    assert repeating.choice.numpy()[0].tolist() == [0, 1, 0]  # 5 three times
    found = gumbel_group_select(*inputs, ids=tf.constant(IDS))
    # The first takes 5. The third has no other patch, and is the nearest: 5 again. Then 6.
    assert found.choice.numpy().tolist() == [[0, 0, 0]] * 2
    assert found.order.numpy().tolist() == [[0, 2, 1]] * 2
    assert found.weights.numpy()[0].tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 0]]
    # A patch that is locked for another object is taken from the beginning.
    locked = np.array([[-1, 0, -1]] * 2, np.int32)
    ids = IDS.copy()
    ids[:, 1, 0] = 5
    found = gumbel_group_select(*inputs, locked=tf.constant(locked), ids=tf.constant(ids))
    assert found.choice.numpy()[0].tolist() == [1, 0, 0]


@pytest.fixture(scope="module")
def crowd():
    """16 scenes of six objects of one category that share eight candidates."""
    rng = np.random.default_rng(0)
    bank = rng.normal(size=[8, 4]).astype(np.float32)
    ids = np.stack([rng.permutation(8) for _ in range(16 * 6)]).reshape(16, 6, 8).astype(np.int32)
    return bank[ids], np.ones(ids.shape, bool), ids


@pytest.mark.parametrize("seeded", [True, False])
def test_all_objects_of_a_crowd_differ_and_rows_are_independent(crowd, seeded):
    embeddings, valid, ids = tensors(*crowd)
    seeds = tf.constant(np.random.default_rng(1).integers(0, 99, [16, 2]), tf.int32)
    select = GroupRetrieval()

    def chosen(rows, ids_given):
        parts = [part[rows] for part in (embeddings, valid)]
        given = ids[rows] if ids_given else None
        choice = select(*parts, seeds[rows] if seeded else None, scale=5.0, ids=given).choice
        return chosen_rows(ids[rows], choice).numpy()

    whole = slice(0, 16)
    assert min(len(set(row)) for row in chosen(whole, True).tolist()) == 6
    assert min(len(set(row)) for row in chosen(whole, False).tolist()) < 6
    np.testing.assert_array_equal(chosen(whole, True)[7:9], chosen(slice(7, 9), True))


def test_more_objects_than_patches_use_every_patch_before_one_comes_again(crowd):
    embeddings, valid, ids = (part.copy() for part in crowd)
    valid &= ids < 4  # six objects, four patches
    select = GroupRetrieval()
    found = select(*tensors(embeddings, valid), None, scale=5.0, ids=tf.constant(ids))
    assert {len(set(row)) for row in chosen_rows(ids, found.choice).numpy().tolist()} == {4}


def test_ids_of_one_row_do_not_matter_to_another_and_without_any_nothing_changes(crowd):
    embeddings, valid, ids = crowd
    some = ids.copy()
    some[::2] = -1
    select = GroupRetrieval()
    mixed, all_, none = (
        select(*tensors(embeddings, valid), None, scale=5.0, ids=given)
        for given in (tf.constant(some), tf.constant(ids), None)
    )
    for part in ("choice", "order", "weights"):
        found = getattr(mixed, part).numpy()
        np.testing.assert_array_equal(found[::2], getattr(none, part).numpy()[::2])
        np.testing.assert_array_equal(found[1::2], getattr(all_, part).numpy()[1::2])
