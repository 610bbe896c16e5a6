from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_gnn as tfgnn

from rgan_tf.data.records import (
    RecordWriter,
    Scene,
    encode_scene,
    graph_spec,
    read_image_bytes,
    read_scenes,
    record_offsets,
)
from rgan_tf.errors import CorruptData


def make_scene(index: int) -> Scene:
    rng = np.random.default_rng(index)
    objects, triples = index % 5, index % 3 if index % 5 else 0
    ends = rng.integers(0, max(objects, 1), [triples, 3])
    return Scene(
        image_id=2**40 + index,
        image=bytes(rng.integers(0, 256, 50 + index, np.uint8)),
        categories=rng.integers(2, 9, [objects], np.int32),
        boxes=rng.random([objects, 4], np.float32),
        patch_rows=np.arange(objects, dtype=np.int32) + 10 * index,
        triples=ends.astype(np.int32),
        centres=rng.random([objects, 2], np.float32),
    )


def write_records(folder, split, scenes, **options):
    with RecordWriter(folder, split, **options) as writer:
        for scene in scenes:
            writer.write(encode_scene(scene))
    return writer.finish()


def assert_same(found: Scene, expected: Scene):
    assert (found.image_id, found.image) == (expected.image_id, expected.image)
    assert (found.centres is None) == (expected.centres is None)
    names = ("categories", "boxes", "patch_rows", "triples", "centres")
    for name in names[: 4 + (expected.centres is not None)]:
        left, right = getattr(found, name), getattr(expected, name)
        assert (left.shape, left.dtype) == (right.shape, right.dtype), name
        np.testing.assert_array_equal(left, right)


def test_a_folder_whose_name_is_not_text(tmp_path):
    folder = tmp_path / os.fsdecode(b"a\xff")
    folder.mkdir()
    paths = write_records(folder, "val", [make_scene(1)])
    assert_same(next(read_scenes(paths)), make_scene(1))


@pytest.mark.parametrize("count", [1, 3, 64, 70])
def test_what_is_written_is_read(tmp_path, count):
    scenes = [make_scene(index) for index in range(count)]
    paths = write_records(tmp_path, "val", scenes, per_shard=50)
    names = [path.name for path in sorted(tmp_path.iterdir())]
    shards = -(-count // 50)
    assert names == [f"val-{i:05d}-of-{shards:05d}.tfrecord" for i in range(shards)]
    found = list(read_scenes(paths))
    assert len(found) == count
    for left, right in zip(found, scenes, strict=True):
        assert_same(left, right)


def test_scenes_of_equal_sizes_are_read_alike(tmp_path):
    # A batch of equal graphs parses to dense instead of ragged tensors.
    scenes = [make_scene(4 + 15 * index) for index in range(3)]
    for left, right in zip(read_scenes(write_records(tmp_path, "a", scenes)), scenes, strict=True):
        assert_same(left, right)


def test_older_records_lack_centres(tmp_path):
    older = [dataclasses.replace(make_scene(index), centres=None) for index in range(70)]
    paths = write_records(tmp_path, "val", older)
    for left, right in zip(read_scenes(paths), older, strict=True):
        assert_same(left, right)
    assert encode_scene(older[4]) != encode_scene(make_scene(4))
    assert "centre" not in graph_spec(centres=False).node_sets_spec["object"].features_spec


def test_records_of_two_forms_in_one_file_are_refused(tmp_path):
    older = dataclasses.replace(make_scene(3), centres=None)
    (path,) = write_records(tmp_path, "val", [make_scene(4), older])
    with pytest.raises(CorruptData, match="some objects lack a centre"):
        list(read_scenes([path]))


def test_tf_gnn_reads_the_records_by_the_schema(tmp_path):
    scene = make_scene(8)
    (path,) = write_records(tmp_path, "val", [scene])
    (record,) = tf.data.TFRecordDataset(str(path))
    graph = tfgnn.parse_single_example(graph_spec(), record)
    assert graph.node_sets["object"]["box"].shape == (3, 4)
    np.testing.assert_array_equal(graph.node_sets["object"]["category"], scene.categories)
    relation = graph.edge_sets["relation"]
    np.testing.assert_array_equal(relation.adjacency.source, scene.triples[:, 0])
    np.testing.assert_array_equal(relation.adjacency.target, scene.triples[:, 2])
    np.testing.assert_array_equal(relation["predicate"], scene.triples[:, 1])
    assert graph.context["image"].numpy() == [scene.image]


@pytest.mark.parametrize("index", [5, 6, 7, 8, 9])
def test_the_bytes_are_those_of_tf_gnn(index):
    scene = make_scene(index)
    graph = tfgnn.GraphTensor.from_pieces(
        context=tfgnn.Context.from_fields(
            features={"image": [scene.image], "image_id": np.array([scene.image_id])}
        ),
        node_sets={
            "object": tfgnn.NodeSet.from_fields(
                sizes=[len(scene.categories)],
                features={
                    "category": scene.categories,
                    "box": scene.boxes,
                    "centre": scene.centres,
                    "patch_row": scene.patch_rows,
                },
            )
        },
        edge_sets={
            "relation": tfgnn.EdgeSet.from_fields(
                sizes=[len(scene.triples)],
                features={"predicate": scene.triples[:, 1]},
                adjacency=tfgnn.Adjacency.from_indices(
                    ("object", scene.triples[:, 0]), ("object", scene.triples[:, 2])
                ),
            )
        },
    )
    assert graph_spec().relax(num_nodes=True, num_edges=True).is_compatible_with(graph)
    expected = tfgnn.write_example(graph).SerializeToString(deterministic=True)
    assert encode_scene(scene) == expected


@pytest.fixture
def shard(tmp_path):
    (path,) = write_records(tmp_path, "val", [make_scene(index) for index in range(12)])
    return path


def test_every_truncation_is_found_and_placed(shard):
    data = shard.read_bytes()
    places = record_offsets(shard)
    ends = [offset + length + 4 for offset, length in places]
    for size in range(1, len(data), 97):
        if size in ends:
            continue  # whole records; their number is checked by who knows it
        shard.write_bytes(data[:size])
        whole = sum(end <= size for end in ends)
        with pytest.raises(CorruptData, match=rf"{shard.name}: ends inside record {whole};"):
            list(read_scenes([shard]))


def test_every_flipped_byte_is_found(shard):
    data = bytearray(shard.read_bytes())
    for position in range(0, len(data), 53):
        data[position] ^= 0x10
        shard.write_bytes(data)
        with pytest.raises(CorruptData, match=shard.name):
            list(read_scenes([shard]))
        data[position] ^= 0x10


def test_a_damaged_record_is_counted(shard):
    offset, length = record_offsets(shard)[7]
    data = bytearray(shard.read_bytes())
    data[offset + length // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(CorruptData, match="record 7 is damaged"):
        list(read_scenes([shard]))


def test_records_of_something_else_are_refused(tmp_path):
    path = tmp_path / "x.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tf.train.Example().SerializeToString())
    with pytest.raises(CorruptData, match="no scene records"):
        list(read_scenes([path]))
    with pytest.raises(CorruptData, match="is missing"):
        list(read_scenes([tmp_path / "lost.tfrecord"]))


def test_images_are_found_by_their_place(shard):
    places = record_offsets(shard)
    for index in (0, 5, 11):
        assert read_image_bytes(shard, *places[index]) == make_scene(index).image
    with pytest.raises(CorruptData, match="damaged"):
        read_image_bytes(shard, 3, 40)
