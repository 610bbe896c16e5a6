from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.data import pipeline
from rgan_tf.data.pipeline import mirrored_predicates, scene_dataset, scenes_once
from rgan_tf.data.records import read_scenes
from rgan_tf.errors import BadInput
from rgan_tf.retrieval.candidates import CandidateTable
from rgan_tf.storage.image import decode_image, resize_image
from rgan_tf.vocabulary import Vocabulary

K, RELATED = 3, 6


@pytest.fixture
def config():
    data = dataclasses.replace(
        Config().data, image_size=16, crop_size=8, max_objects=6, max_triples=7
    )
    return Config(data=data)


@pytest.fixture
def flipping(config):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, flip=True))


def table(data, split, seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(-1, len(data.bank), [len(data.truth(split)), K]).astype(np.int32)
    related = rng.normal(size=[len(data.bank), RELATED]).astype(np.float32)
    return CandidateTable(ids, related)


def take(dataset, count):
    return [{key: value.numpy() for key, value in batch.items()} for batch in dataset.take(count)]


def assert_same(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def test_batches_hold_the_records(prepared, config):
    scenes = {scene.image_id: scene for scene in read_scenes(prepared.record_paths("val"))}
    batches = take(scene_dataset(prepared, "val", config, batch_size=3, seed=0, repeat=False), 9)
    assert [len(batch["image_id"]) for batch in batches] == [3, 1]
    found = [image_id for batch in batches for image_id in batch["image_id"]]
    assert found == list(scenes)  # in the order of the records
    for batch in batches:
        for row, image_id in enumerate(batch["image_id"]):
            scene = scenes[image_id]
            count, links = len(scene.categories), len(scene.triples)
            assert batch["objects"][row].tolist() == scene.categories.tolist() + [0] * (6 - count)
            np.testing.assert_array_equal(batch["boxes"][row, :count], scene.boxes)
            assert not batch["boxes"][row, count:].any()
            np.testing.assert_array_equal(batch["triples"][row, :links], scene.triples)
            assert (batch["triples"][row, links:] == -1).all()
            np.testing.assert_array_equal(batch["patch_rows"][row, :count], scene.patch_rows)
            assert (batch["patch_rows"][row, count:] == -1).all()
            pixels = resize_image(decode_image(scene.image, "test"), 16)
            np.testing.assert_allclose(
                (batch["image"][row] + 1) * 127.5, pixels.astype(np.float32), atol=1e-3
            )
            assert batch["image"].dtype == np.float32


def test_candidates_are_gathered_from_the_bank(prepared, config):
    candidates = table(prepared, "val")
    (batch,) = take(
        scene_dataset(
            prepared, "val", config, batch_size=4, seed=0, repeat=False, candidates=candidates
        ),
        1,
    )
    bank, own = prepared.bank, prepared.truth("val")
    missing = 0
    for row, column in np.ndindex(4, 6):
        patch = batch["patch_rows"][row, column]
        ids = batch["candidate_ids"][row, column]
        if patch < 0:
            assert (ids == -1).all() and not batch["patch_crops"][row, column].any()
            assert not batch["patch_features"][row, column].any()
        else:
            np.testing.assert_array_equal(ids, candidates.ids[patch])
            np.testing.assert_array_equal(
                batch["patch_crops"][row, column], own.crops_at(np.array(patch), 8)
            )
            np.testing.assert_array_equal(
                batch["patch_features"][row, column], own.features[patch].astype(np.float32)
            )
        for k, candidate in enumerate(ids):
            place = (row, column, k)
            assert batch["candidate_valid"][place] == (candidate >= 0)
            if candidate < 0:
                missing += patch >= 0
                for key in ("crops", "features", "cooccurrence"):
                    assert not batch[f"candidate_{key}"][place].any()
                continue
            np.testing.assert_array_equal(
                batch["candidate_crops"][place], bank.crops_at(candidate, 8)
            )
            np.testing.assert_array_equal(
                batch["candidate_features"][place], bank.features[candidate].astype(np.float32)
            )
            np.testing.assert_array_equal(
                batch["candidate_cooccurrence"][place], candidates.cooccurrence[candidate]
            )
    assert missing > 0  # the case of fewer than K candidates was there


@pytest.mark.parametrize("with_candidates", [False, True])
def test_starting_at_a_step_equals_skipping_to_it(prepared, flipping, with_candidates):
    candidates = table(prepared, "train") if with_candidates else None
    settings = {"batch_size": 4, "seed": 5, "candidates": candidates}
    whole = take(scene_dataset(prepared, "train", flipping, **settings), 8)
    late = take(scene_dataset(prepared, "train", flipping, start_step=5, **settings), 3)
    assert_same(whole[5:], late)
    with pytest.raises(AssertionError):
        assert_same(whole[4:7], late)


def test_shuffled_epochs_follow_each_other_without_a_seam(prepared, config):
    batches = take(scene_dataset(prepared, "train", config, batch_size=4, seed=1), 11)
    order = np.concatenate([batch["image_id"] for batch in batches]).reshape(4, 11)
    for epoch in order:
        assert sorted(epoch) == list(range(1, 12))
    assert len({tuple(epoch) for epoch in order}) == 4
    other = take(scene_dataset(prepared, "train", config, batch_size=4, seed=2), 1)
    assert other[0]["image_id"].tolist() != batches[0]["image_id"].tolist()


def test_a_batch_may_be_larger_than_the_split(prepared, config):
    (batch,) = take(scene_dataset(prepared, "val", config, batch_size=10, seed=0), 1)
    assert len(set(batch["image_id"])) == 4
    assert len(batch["image_id"]) == 10


def test_one_epoch(prepared, config):
    settings = {"batch_size": 4, "seed": 0, "repeat": False}

    def sizes(**others):
        batches = scene_dataset(prepared, "train", config, **settings, **others)
        return [len(batch["image_id"]) for batch in batches]

    assert sizes() == [4, 4, 3]
    assert sizes(start_step=2) == [3]
    assert sizes(start_step=9) == []
    shuffled = take(scenes_once(prepared, "train", config, batch_size=4, order_seed=0), 9)
    ids = np.concatenate([batch["image_id"] for batch in shuffled]).tolist()
    assert ids != sorted(ids) == list(range(1, 12))


def test_static_shapes(prepared, config):
    candidates = table(prepared, "train")
    whole = scene_dataset(prepared, "train", config, batch_size=4, seed=0, candidates=candidates)
    assert all(spec.shape.is_fully_defined() for spec in whole.element_spec.values())
    assert whole.element_spec["candidate_crops"].shape == [4, 6, K, 8, 8, 3]
    assert whole.element_spec["candidate_crops"].dtype == tf.uint8
    assert whole.element_spec["candidate_features"].shape == [4, 6, K, 4]
    part = scene_dataset(prepared, "train", config, batch_size=4, seed=0, repeat=False)
    assert part.element_spec["image"].shape.as_list() == [None, 16, 16, 3]
    even = scene_dataset(prepared, "val", config, batch_size=4, seed=0, repeat=False)
    assert even.element_spec["image"].shape.as_list() == [4, 16, 16, 3]


def test_many_candidates_come_as_ids_only(prepared, config):
    candidates = table(prepared, "train")
    options = dict(batch_size=4, seed=0, candidates=candidates)
    few = dataclasses.replace(
        config, retrieval=dataclasses.replace(config.retrieval, exact_candidates=K - 1)
    )
    whole = scene_dataset(prepared, "train", config, **options)
    lean = scene_dataset(prepared, "train", few, **options)
    missing = {"candidate_crops", "candidate_features", "candidate_cooccurrence"}
    assert set(whole.element_spec) - set(lean.element_spec) == missing
    for one, other in zip(take(whole, 3), take(lean, 3), strict=True):
        for key, value in other.items():
            np.testing.assert_array_equal(value, one[key], err_msg=key)


def test_mirrored_scenes_are_mirrored_in_everything(prepared, config, flipping):
    settings = {"batch_size": 11, "seed": 3, "candidates": table(prepared, "train")}
    plain = take(scene_dataset(prepared, "train", config, **settings), 4)
    mixed = take(scene_dataset(prepared, "train", flipping, **settings), 4)
    names = prepared.vocabulary.predicates
    swap = {"left of": "right of", "right of": "left of"}
    mirrored = 0
    for before, after in zip(plain, mixed, strict=True):
        for row in range(11):
            image, changed = before["image"][row], after["image"][row]
            if np.array_equal(image, changed):
                for key in before:
                    np.testing.assert_array_equal(before[key][row], after[key][row])
                continue
            mirrored += 1
            np.testing.assert_array_equal(image[:, ::-1], changed)
            np.testing.assert_array_equal(
                before["patch_crops"][row][:, :, ::-1], after["patch_crops"][row]
            )
            for old, new, category in zip(
                before["boxes"][row], after["boxes"][row], before["objects"][row], strict=True
            ):
                y0, x0, y1, x1 = old
                expected = [y0, 1 - x1, y1, 1 - x0] if category else [0, 0, 0, 0]
                np.testing.assert_allclose(new, expected, atol=1e-7)
            for old, new in zip(before["triples"][row], after["triples"][row], strict=True):
                if old[1] < 0:
                    assert (new == -1).all()
                    continue
                assert (old[0], old[2]) == (new[0], new[2])
                assert names[new[1]] == swap.get(names[old[1]], names[old[1]])
            for key in ("candidate_ids", "candidate_crops", "patch_features", "objects"):
                np.testing.assert_array_equal(before[key][row], after[key][row])
    assert 12 <= mirrored <= 32  # of 44; the tails are under 0.3 %


def test_held_out_scenes_and_evaluation_are_never_mirrored(prepared, config, flipping):
    for split, others in (("val", {}), ("train", {"augment": False})):
        settings = {"batch_size": 4, "seed": 3, **others}
        assert_same(
            take(scene_dataset(prepared, split, config, **settings), 5),
            take(scene_dataset(prepared, split, flipping, **settings), 5),
        )


def test_mirrored_predicates():
    vocabulary = Vocabulary.from_categories(["cat"], ["to the left of", "on", "to the right of"])
    assert mirrored_predicates(vocabulary).tolist() == [0, 3, 2, 1]
    alone = Vocabulary.from_categories(["cat"], ["left of", "on"])
    assert mirrored_predicates(alone).tolist() == [0, 1, 2]


def test_candidates_of_other_data_are_refused(prepared, config):
    def build(split, candidates):
        return scene_dataset(prepared, split, config, batch_size=2, seed=0, candidates=candidates)

    good = table(prepared, "train")
    with pytest.raises(BadInput, match="they belong to other data"):
        build("val", good)
    with pytest.raises(BadInput, match="they belong to other data"):
        build("train", dataclasses.replace(good, cooccurrence=good.cooccurrence[:-1]))
    with pytest.raises(BadInput, match="they belong to other data"):
        build("train", dataclasses.replace(good, ids=good.ids + len(prepared.bank)))
    with pytest.raises(BadInput, match="batch_size"):
        scene_dataset(prepared, "train", config, batch_size=0, seed=0)


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_any_number_of_workers_makes_the_same_batches(prepared, flipping, cores, monkeypatch):
    settings = {"batch_size": 4, "seed": 5, "candidates": table(prepared, "train")}
    batches = pipeline._Batches
    waiting = threading.Barrier(cores)
    arrays = batches.arrays

    def all_at_once(self, number):
        if number < cores:  # passes only if as many batches are made at the same time
            waiting.wait(timeout=60)
        return arrays(self, number)

    plain = scene_dataset(prepared, "train", flipping, **settings)
    expected = take(plain, 7)
    monkeypatch.setattr(pipeline, "usable_cores", lambda: cores)
    monkeypatch.setattr(batches, "arrays", all_at_once)
    assert_same(take(scene_dataset(prepared, "train", flipping, **settings), 7), expected)


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (5, 5), (500, 16)])
def test_workers_follow_the_cores(cores, workers, monkeypatch):
    monkeypatch.setattr(pipeline, "usable_cores", lambda: cores)
    assert pipeline.worker_count() == workers


def test_more_workers_than_cores_do_not_meet(prepared, config, monkeypatch):
    """The control of the barrier above: two workers never reach a third."""
    waiting = threading.Barrier(3)
    monkeypatch.setattr(pipeline, "usable_cores", lambda: 2)
    monkeypatch.setattr(
        pipeline._Batches, "arrays", lambda self, number: waiting.wait(timeout=1) and None
    )
    with pytest.raises(tf.errors.OpError, match="BrokenBarrier"):
        take(scene_dataset(prepared, "train", config, batch_size=4, seed=0), 1)


def test_replicas_share_a_batch(prepared, config):
    plain = take(scene_dataset(prepared, "train", config, batch_size=4, seed=0), 2)
    # No collective runs: the data set alone is distributed.
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    dataset = scene_dataset(prepared, "train", config, batch_size=4, seed=0)
    iterator = iter(strategy.experimental_distribute_dataset(dataset))
    for batch in plain:
        parts = strategy.experimental_local_results(next(iterator)["image_id"])
        assert [len(part) for part in parts] == [2, 2]
        np.testing.assert_array_equal(np.concatenate(parts), batch["image_id"])


def test_incomplete_scenes_lose_objects_and_keep_the_rest(prepared, config):
    settings = {"batch_size": 11, "seed": 3, "candidates": table(prepared, "train")}
    data = dataclasses.replace(config.data, incomplete_scenes=0.5)
    partly = dataclasses.replace(config, data=data)
    whole = take(scene_dataset(prepared, "train", config, **settings), 6)
    fewer = take(scene_dataset(prepared, "train", partly, **settings), 6)
    assert_same(
        fewer[4:], take(scene_dataset(prepared, "train", partly, start_step=4, **settings), 2)
    )
    lost, lost_by = 0, []
    for before, after in zip(whole, fewer, strict=True):
        np.testing.assert_array_equal(before["image"], after["image"])
        for row in range(11):
            old = {int(patch): place for place, patch in enumerate(before["patch_rows"][row])}
            count = int((after["objects"][row] > 0).sum())
            assert count >= 1 and (after["objects"][row, count:] == 0).all()
            assert (after["boxes"][row, count:] == 0).all()
            assert (after["patch_rows"][row, count:] == -1).all()
            assert not after["candidate_valid"][row, count:].any()
            places = [old[int(patch)] for patch in after["patch_rows"][row, :count]]
            assert places == sorted(places)
            for key in ("objects", "boxes", "patch_crops", "candidate_ids", "patch_features"):
                np.testing.assert_array_equal(before[key][row][places], after[key][row][:count])
            expected = [
                (places.index(subject), predicate, places.index(target))
                for subject, predicate, target in before["triples"][row].tolist()
                if predicate >= 0 and subject in places and target in places
            ]
            found = [tuple(each) for each in after["triples"][row].tolist() if each[1] >= 0]
            assert found == expected
            had = int((before["objects"][row] > 0).sum())
            lost += count < had
            lost_by.append(had - count)
    assert 15 <= lost <= 45 and max(lost_by) > 1  # of 66


def test_held_out_scenes_and_evaluation_are_complete(prepared, config):
    data = dataclasses.replace(config.data, incomplete_scenes=0.9)
    partly = dataclasses.replace(config, data=data)
    settings = {"batch_size": 4, "seed": 3}
    for split, extra in (("val", {}), ("train", {"augment": False})):
        assert_same(
            take(scene_dataset(prepared, split, config, **settings, **extra), 4),
            take(scene_dataset(prepared, split, partly, **settings, **extra), 4),
        )


def halves(config, share):
    retrieval = dataclasses.replace(config.retrieval, half_size_patches=share)
    return dataclasses.replace(config, retrieval=retrieval)


def test_a_share_of_the_patches_has_the_features_of_half_the_size(prepared, config):
    small = -1.0 - np.arange(len(prepared.bank), dtype=np.float16)  # tells row and kind
    small = np.repeat(small[:, None], prepared.bank.feature_size, axis=1)
    settings = {"batch_size": 11, "seed": 3, "candidates": table(prepared, "train")}
    with_halves = {**settings, "half_size": small}
    whole = take(scene_dataset(prepared, "train", config, **settings), 8)
    mixed = take(scene_dataset(prepared, "train", halves(config, 0.4), **with_halves), 8)
    later = scene_dataset(prepared, "train", halves(config, 0.4), start_step=5, **with_halves)
    assert_same(mixed[5:], take(later, 3))
    pairs = (("patch_features", "patch_rows"), ("candidate_features", "candidate_ids"))
    changed = {name: [] for name, _ in pairs}
    for before, after in zip(whole, mixed, strict=True):
        for name, ids in pairs:
            is_small = after[name][..., 0] < 0
            rows = after[ids][is_small]
            assert (rows >= 0).all()
            np.testing.assert_array_equal(after[name][is_small], small[rows])
            np.testing.assert_array_equal(after[name][~is_small], before[name][~is_small])
            changed[name].append(is_small[after[ids] >= 0])
        for name in set(before) - {name for name, _ in pairs}:
            np.testing.assert_array_equal(before[name], after[name])
    for name in changed:
        assert 0.3 < np.concatenate(changed[name]).mean() < 0.5, name
    everything = take(scene_dataset(prepared, "train", halves(config, 1.0), **with_halves), 2)
    for batch in everything:
        assert (batch["candidate_features"][batch["candidate_valid"]] < 0).all()


def test_parts_of_a_batch_have_the_halves_of_the_whole(prepared, config):
    small = np.full([len(prepared.bank), prepared.bank.feature_size], -1, np.float16)
    settings = {"batch_size": 4, "seed": 3, "candidates": table(prepared, "train")}
    settings |= {"half_size": small}
    whole = take(scene_dataset(prepared, "train", halves(config, 0.5), **settings), 3)
    share = pipeline.Share(first=1, count=1, total=2)
    parts = take(scene_dataset(prepared, "train", halves(config, 0.5), share=share, **settings), 3)
    for batch, part in zip(whole, parts, strict=True):
        for name in ("patch_features", "candidate_features"):
            np.testing.assert_array_equal(batch[name][2:], part[name])


def test_patches_of_held_out_scenes_have_their_full_size(prepared, config):
    small = np.full([len(prepared.bank), prepared.bank.feature_size], -1, np.float16)
    for split, extra in (("val", {}), ("train", {"augment": False})):
        settings = {"batch_size": 4, "seed": 3, "candidates": table(prepared, split), **extra}
        assert_same(
            take(scene_dataset(prepared, split, config, **settings), 3),
            take(scene_dataset(prepared, split, halves(config, 1), half_size=small, **settings), 3),
        )
