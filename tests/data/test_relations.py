"""Relationships that training draws anew for every epoch."""

from __future__ import annotations

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from rgan_tf.config import Config
from rgan_tf.data import pipeline, relations
from rgan_tf.data.pipeline import Share, scene_dataset
from rgan_tf.data.prepare import prepare_dataset
from rgan_tf.data.prepared import PreparedData
from rgan_tf.data.records import RecordWriter, encode_scene, read_scenes
from rgan_tf.data.relations import GeometricTriples
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.storage.manifest import describe_files
from rgan_tf.vocabulary import Vocabulary
from training.api import check_data_fits

WORDS = Vocabulary.from_categories(["cat", "dog"])
TRAIN = 11  # training scenes of `prepared`


@pytest.fixture
def config():
    data = dataclasses.replace(Config().data, image_size=16, crop_size=8, max_objects=6)
    return Config(data=data)


def redrawing(config, **others):
    return dataclasses.replace(
        config, data=dataclasses.replace(config.data, redraw_relations=True, **others)
    )


def take(data, config, count, split="train", **options):
    dataset = scene_dataset(data, split, config, **{"batch_size": 4, "seed": 5, **options})
    return [{key: value.numpy() for key, value in batch.items()} for batch in dataset.take(count)]


def triples_of(batches, batch_size):
    """(epoch, image id) -> its relationships."""
    rows = [
        (int(image_id), triples.tolist())
        for batch in batches
        for image_id, triples in zip(batch["image_id"], batch["triples"], strict=True)
    ]
    return {(place // TRAIN, image_id): triples for place, (image_id, triples) in enumerate(rows)}


def named(triples, vocabulary):
    return [(s, vocabulary.predicate_name(p), o) for s, p, o in triples if p >= 0]


def store(boxes, centres, most=16):
    """One scene."""
    return SimpleNamespace(
        objects=np.full([1, len(boxes)], 2),
        boxes=np.array([boxes], np.float32),
        centres=np.array([centres], np.float32),
        triples=np.zeros([1, most, 3]),
    )


def test_two_objects_are_related_by_their_centres_in_either_direction():
    # Boxes side by side; the masks' centroids lie the other way round, as of two long animals.
    scene = store([(0.2, 0, 0.8, 0.6), (0.2, 0.4, 0.8, 1)], [(0.5, 0.7), (0.5, 0.3)])
    drawn = GeometricTriples(scene, WORDS, 0).of(np.arange(200), np.zeros(200, int))
    kinds = [named(triples.tolist(), WORDS) for triples in drawn]
    one, other = (0, "right of", 1), (1, "left of", 0)
    # Each object draws the other one; each direction with probability one half, so both objects
    # agree in half of the epochs.
    counts = [kinds.count([one]), kinds.count([other])]
    counts.append(kinds.count([one, other]) + kinds.count([other, one]))
    assert sum(counts) == 200
    assert all(abs(count - share) < 25 for count, share in zip(counts, (50, 50, 100), strict=True))


def test_containment_is_of_boxes():
    scene = store([(0, 0, 1, 1), (0.4, 0.4, 0.6, 0.6)], [(0.9, 0.9), (0.5, 0.5)])
    drawn = GeometricTriples(scene, WORDS, 0).of(np.arange(9), np.zeros(9, int))
    found = {triple for triples in drawn for triple in named(triples.tolist(), WORDS)}
    assert found == {(0, "surrounding", 1), (1, "inside", 0)}


def test_of_too_many_the_first_stay_and_one_object_has_none():
    row = [(0.4, 0.1 * index, 0.6, 0.1 * index + 0.05) for index in range(6)]
    places = [(0.5, 0.1 * index) for index in range(6)]
    zero = np.zeros(1, int)
    whole = GeometricTriples(store(row, places), WORDS, 3).of(zero, zero)
    short = GeometricTriples(store(row, places, most=2), WORDS, 3).of(zero, zero)
    assert short.shape == (1, 2, 3)
    np.testing.assert_array_equal(short, whole[:, :2])
    alone = GeometricTriples(store(row[:1], places[:1]), WORDS, 3).of(zero, zero)
    assert (alone == -1).all()


def test_every_epoch_has_its_own(prepared, config):
    found = triples_of(take(prepared, redrawing(config), 22), 4)
    assert len(found) == 8 * TRAIN
    changed = 0
    for (_epoch, image_id), triples in found.items():
        pairs = named(triples, prepared.vocabulary)
        # The boxes of these scenes lie in a row, from left to right.
        assert pairs and all(word == ("left of" if s < o else "right of") for s, word, o in pairs)
        changed += triples != found[0, image_id]
        count = 3 + image_id % 3
        assert {end for s, _, o in pairs for end in (s, o)} == set(range(count))
    assert changed > 60  # of 77


def test_prepared_ones_are_the_same_in_every_epoch(prepared, config):
    """The control of the test above."""
    found = triples_of(take(prepared, config, 22), 4)
    assert all(triples == found[0, image_id] for (_, image_id), triples in found.items())


def test_they_depend_on_seed_epoch_and_scene_alone(prepared, config):
    changing = redrawing(config)
    found = triples_of(take(prepared, changing, 11), 4)
    assert triples_of(take(prepared, changing, 4, batch_size=11), 11) == found
    assert triples_of(take(prepared, changing, 4, batch_size=11, shuffle=False), 11) == found
    assert triples_of(take(prepared, changing, 11, seed=6), 4) != found


def test_nothing_but_the_relationships_changes(prepared, config):
    for before, after in zip(
        take(prepared, config, 5), take(prepared, redrawing(config), 5), strict=True
    ):
        for key in before.keys() - {"triples"}:
            np.testing.assert_array_equal(before[key], after[key], err_msg=key)
        assert not np.array_equal(before["triples"], after["triples"])


def test_resuming_sharing_and_workers_change_nothing(prepared, config, monkeypatch):
    changing = redrawing(config, flip=True, incomplete_scenes=0.3)
    whole = [batch["triples"] for batch in take(prepared, changing, 9)]
    late = [batch["triples"] for batch in take(prepared, changing, 4, start_step=5)]
    np.testing.assert_array_equal(whole[5:], late)
    parts = [
        [part["triples"] for part in take(prepared, changing, 9, share=Share(first, 1, 2))]
        for first in (0, 1)
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    for cores in (1, 5):
        monkeypatch.setattr(pipeline, "usable_cores", lambda cores=cores: cores)
        found = [batch["triples"] for batch in take(prepared, changing, 9)]
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize(("split", "others"), [("val", {}), ("train", {"augment": False})])
def test_held_out_scenes_and_evaluation_keep_theirs(prepared, config, split, others):
    plain = take(prepared, config, 5, split, **others)
    for before, after in zip(
        plain, take(prepared, redrawing(config), 5, split, **others), strict=True
    ):
        np.testing.assert_array_equal(before["triples"], after["triples"])


def test_mirrored_scenes_have_mirrored_ones(prepared, config):
    names = prepared.vocabulary.predicates
    lefts = 0
    for batch in take(prepared, redrawing(config, flip=True), 6):
        for boxes, triples in zip(batch["boxes"], batch["triples"], strict=True):
            middle = boxes[:, 1] + boxes[:, 3]
            for subject, predicate, target in triples[triples[:, 1] >= 0]:
                is_left = middle[subject] < middle[target]
                assert names[predicate] == ("left of" if is_left else "right of")
                lefts += int(is_left and subject > target)
    assert lefts > 0  # some scenes were mirrored


def with_centres(dataset, move):
    """The data set with the objects' centres moved."""
    splits = {
        split: tuple(
            dataclasses.replace(
                image,
                objects=tuple(
                    dataclasses.replace(item, centre=move(item.centre)) for item in image.objects
                ),
            )
            for image in images
        )
        for split, images in dataset.splits.items()
    }
    return dataclasses.replace(dataset, splits=splits)


def test_the_prepared_centres_decide(small_dataset, backbone, tmp_path, config):
    moved = with_centres(small_dataset, lambda centre: (centre[0], 1 - centre[1]))
    prepare_dataset(moved, tmp_path / "data", image_size=16, backbone=backbone, progress=False)
    data = PreparedData.open(tmp_path / "data")
    scene, image = next(iter(read_scenes(data.record_paths("train")))), moved.splits["train"][0]
    np.testing.assert_allclose(scene.centres, [item.centre for item in image.objects], rtol=1e-6)
    for triples in triples_of(take(data, redrawing(config), 5), 4).values():
        for subject, word, target in named(triples, data.vocabulary):
            assert word == ("right of" if subject < target else "left of")


@pytest.fixture
def older(prepared, tmp_path):
    """`prepared` as it was written before records held centres."""
    folder = shutil.copytree(prepared.folder, tmp_path / "older")
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["relations"]
    for split, counts in manifest["splits"].items():
        scenes = list(read_scenes(prepared.record_paths(split)))
        (folder / "records" / counts["shards"][0]).unlink()
        with RecordWriter(folder / "records", split) as writer:
            for scene in scenes:
                writer.write(encode_scene(dataclasses.replace(scene, centres=None)))
        writer.finish()
    manifest["files"] = describe_files(folder, list(manifest["files"]))
    path.write_text(json.dumps(manifest))
    return PreparedData.open(folder)


def test_older_data_loads_and_says_what_to_do(older, prepared, config):
    older.verify()
    for before, after in zip(take(prepared, config, 3), take(older, config, 3), strict=True):
        for key in before:
            np.testing.assert_array_equal(before[key], after[key], err_msg=key)
    fitting = redrawing(config)
    for refused in (
        lambda: take(older, fitting, 1),
        lambda: check_data_fits(small_batches(fitting), older),
    ):
        with pytest.raises(BadInput, match="prepare the data again, or set data.redraw_") as caught:
            refused()
        assert "\n" not in str(caught.value)
    check_data_fits(small_batches(config), older)
    take(older, fitting, 1, "val")  # evaluation of a run that redraws needs no centres


def small_batches(config):
    return dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=4))


def test_annotated_relationships_are_not_replaced(small_dataset, backbone, tmp_path, config):
    own = dataclasses.replace(small_dataset, geometric=False)
    prepare_dataset(own, tmp_path / "data", image_size=16, backbone=backbone, progress=False)
    data = PreparedData.open(tmp_path / "data")
    with pytest.raises(BadInput, match="were annotated, .* set data.redraw_relations=false"):
        take(data, redrawing(config), 1)
    take(data, config, 1)


def test_a_manifest_that_promises_too_much(older, config):
    older.manifest["relations"] = "geometric"
    with pytest.raises(CorruptData, match="hold no centres"):
        take(older, redrawing(config), 1)


def test_the_purpose_is_its_own(monkeypatch):
    scene = store([(0.2, 0, 0.8, 0.6), (0.2, 0.4, 0.8, 1)], [(0.5, 0.7), (0.5, 0.3)])
    epochs = np.arange(40)
    drawn = GeometricTriples(scene, WORDS, 0).of(epochs, np.zeros(40, int))
    monkeypatch.setattr(relations, "Purpose", SimpleNamespace(RELATIONS=1))
    other = GeometricTriples(scene, WORDS, 0).of(epochs, np.zeros(40, int))
    assert not np.array_equal(drawn, other)
