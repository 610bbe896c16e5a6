"""Scenes as tf.Example records in TF-GNN's encoding, one per image.

The schema beside the records, `scene_graph.pbtxt`, is all that `tfgnn.parse_example` needs to read
them. Older records lack the objects' centres.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import struct
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_gnn as tfgnn
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from rgan_tf.errors import CorruptData

SCHEMA_FILE = "scene_graph.pbtxt"

_CENTRE = "nodes/object.centre"
_PARSE_BATCH = 64
_HEADER_BYTES = 12  # of a TFRecord: length and its checksum, before the payload
_FOOTER_BYTES = 4  # checksum of the payload


@dataclasses.dataclass(frozen=True)
class Scene:
    """One record.

    Attributes:
      image_id: number of the image in its dataset.
      image: PNG bytes, square.
      categories: [O] int32 object ids, none of them reserved.
      boxes: [O, 4] float32, y0 x0 y1 x1 in [0, 1].
      patch_rows: [O] int32, rows of the objects' own patches in their split's bank.
      triples: [T, 3] int32, subject, predicate id, object.
      centres: [O, 2] float32, y x in [0, 1], of the objects' masks; None in older records.
    """

    image_id: int
    image: bytes
    categories: np.ndarray
    boxes: np.ndarray
    patch_rows: np.ndarray
    triples: np.ndarray
    centres: np.ndarray | None = None


def schema_text() -> str:
    """The GraphSchema of new records as protobuf text."""
    return (resources.files("rgan_tf") / "schema" / SCHEMA_FILE).read_text(encoding="utf-8")


def graph_spec(*, centres: bool = True) -> tfgnn.GraphTensorSpec:
    """The GraphTensor spec of one record, with or without the objects' centres."""
    schema = text_format.Parse(schema_text(), tfgnn.GraphSchema())
    if not centres:
        del schema.node_sets["object"].features["centre"]
    return tfgnn.create_graph_spec_from_schema_pb(schema)


def encode_scene(scene: Scene) -> bytes:
    """Encodes a scene as a tf.Example.

    The bytes equal those of `tfgnn.write_example` for the scene's GraphTensor, without building
    that tensor, which would take longer than the rest of preparing an image.
    """
    features = {
        "context/image": _bytes_feature(scene.image),
        "context/image_id": _integers_feature([scene.image_id]),
        "nodes/object.#size": _integers_feature([len(scene.categories)]),
        "nodes/object.category": _integers_feature(scene.categories),
        "nodes/object.box": _floats_feature(scene.boxes.reshape(-1)),
        "nodes/object.patch_row": _integers_feature(scene.patch_rows),
        "edges/relation.#size": _integers_feature([len(scene.triples)]),
        "edges/relation.#source": _integers_feature(scene.triples[:, 0]),
        "edges/relation.#target": _integers_feature(scene.triples[:, 2]),
        "edges/relation.predicate": _integers_feature(scene.triples[:, 1]),
    }
    if scene.centres is not None:
        features[_CENTRE] = _floats_feature(scene.centres.reshape(-1))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def with_rows_from(record: bytes, first_row: int) -> bytes:
    """The record with its patch rows counted from `first_row` instead of 0."""
    example = tf.train.Example.FromString(record)
    rows = example.features.feature["nodes/object.patch_row"].int64_list.value
    rows[:] = [row + first_row for row in rows]
    return example.SerializeToString(deterministic=True)


def _bytes_feature(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _integers_feature(values) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _floats_feature(values) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


class RecordWriter:
    """Writes the scenes of a split in order into shards.

    Args:
      folder: existing folder for the shards.
      split: first part of the file names.
      per_shard: records in every shard but the last.
    """

    def __init__(self, folder: Path, split: str, *, per_shard: int = 4096):
        self._folder = folder
        self._split = split
        self._per_shard = per_shard
        self._written = 0
        self._paths: list[Path] = []
        self._open = contextlib.ExitStack()  # the current shard

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        self._open.close()

    def write(self, record: bytes) -> None:
        """Adds a record made by `encode_scene`."""
        if self._written % self._per_shard == 0:
            self._open.close()
            self._paths.append(self._folder / f"{self._split}.{len(self._paths)}.partial")
            name = os.fsencode(self._paths[-1])
            self._writer = self._open.enter_context(tf.io.TFRecordWriter(name))
        self._writer.write(record)
        self._written += 1

    def finish(self) -> list[Path]:
        """Renames the shards, e.g. to val-00000-of-00001.tfrecord, and returns their paths."""
        self._open.close()
        count = len(self._paths)
        return [  # the names contain the number of shards, known only now
            path.rename(self._folder / f"{self._split}-{index:05d}-of-{count:05d}.tfrecord")
            for index, path in enumerate(self._paths)
        ]


def read_scenes(paths: Sequence[Path]) -> Iterator[Scene]:
    """Reads records in order and verifies TensorFlow's checksums.

    Raises:
      CorruptData: at the first damaged record, naming the file and the record.
    """
    for path in paths:
        records = []
        for raw in read_records(path):
            records.append(raw)
            if len(records) == _PARSE_BATCH:
                yield from _parse(records, path)
                records = []
        if records:
            yield from _parse(records, path)


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a file, as `encode_scene` made them.

    Raises:
      CorruptData: at the first damaged record, naming the file and the record.
    """
    record_offsets(path)  # TensorFlow does not notice a file that ends inside a header
    read = 0
    try:
        # One by one, so that an error can name the record.
        for raw in tf.data.TFRecordDataset(os.fsencode(path)).as_numpy_iterator():
            read += 1
            yield raw
    except tf.errors.DataLossError as error:
        raise CorruptData(f"{path}: record {read} is damaged; prepare the data again") from error


def record_offsets(path: Path) -> list[tuple[int, int]]:
    """The position of each record's payload in a TFRecord file: (offset, length) in bytes.

    Raises:
      CorruptData: if the file is missing or ends inside a record.
    """
    if not path.is_file():
        raise CorruptData(f"{path}: is missing; prepare the data again")
    size = path.stat().st_size
    places = []
    position = 0
    with open(path, "rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(_HEADER_BYTES)
            length = struct.unpack("<Q", header[:8])[0] if len(header) == _HEADER_BYTES else size
            places.append((position + _HEADER_BYTES, length))
            position += _HEADER_BYTES + length + _FOOTER_BYTES
    if position > size:
        raise CorruptData(f"{path}: ends inside record {len(places) - 1}; prepare the data again")
    return places


def read_image_bytes(path: Path, offset: int, length: int) -> bytes:
    """The PNG bytes of the record with its payload at `offset`."""
    with open(path, "rb") as file:
        file.seek(offset)
        payload = file.read(length)
    try:
        example = tf.train.Example.FromString(payload)
        return example.features.feature["context/image"].bytes_list.value[0]
    except Exception as error:
        raise CorruptData(f"{path}: record at byte {offset} is damaged; prepare again") from error


@functools.cache
def _specs() -> dict[bool, tfgnn.GraphTensorSpec]:
    return {centres: graph_spec(centres=centres) for centres in (False, True)}


def _parse(records: list[bytes], path: Path) -> Iterator[Scene]:
    try:
        first = tf.train.Example.FromString(records[0])  # all of a folder are of one form
        graph = tfgnn.parse_example(
            _specs()[_CENTRE in first.features.feature], tf.constant(records)
        )
    except (tf.errors.InvalidArgumentError, ValueError, DecodeError) as error:
        raise CorruptData(f"{path}: holds no scene records; prepare the data again") from error
    objects = graph.node_sets["object"]
    relations = graph.edge_sets["relation"]
    images = graph.context["image"].numpy().reshape(-1)
    image_ids = graph.context["image_id"].numpy().reshape(-1)
    object_ends = np.cumsum(objects.sizes.numpy().reshape(-1))
    triple_ends = np.cumsum(relations.sizes.numpy().reshape(-1))
    categories, boxes, rows = (_flat(objects[name]) for name in ("category", "box", "patch_row"))
    triples = np.stack(
        [
            _flat(relations.adjacency.source),
            _flat(relations["predicate"]),
            _flat(relations.adjacency.target),
        ],
        axis=-1,
    ).astype(np.int32)
    object_parts = [np.split(part, object_ends[:-1]) for part in (categories, boxes, rows)]
    centres = None
    if "centre" in objects.features:
        flat = _flat(objects["centre"])
        if len(flat) != object_ends[-1]:
            raise CorruptData(f"{path}: some objects lack a centre; prepare the data again")
        centres = np.split(flat, object_ends[:-1])
    for index, own_triples in enumerate(np.split(triples, triple_ends[:-1])):
        own_categories, own_boxes, own_rows = (part[index] for part in object_parts)
        yield Scene(
            image_id=int(image_ids[index]),
            image=bytes(images[index]),
            categories=own_categories.astype(np.int32),
            boxes=own_boxes.astype(np.float32),
            patch_rows=own_rows.astype(np.int32),
            triples=own_triples,
            centres=None if centres is None else centres[index].astype(np.float32),
        )


def _flat(values) -> np.ndarray:
    if isinstance(values, tf.RaggedTensor):
        return values.flat_values.numpy()
    array = values.numpy()  # equal sizes in the whole batch: [B, n, ...]
    return array.reshape((-1, *array.shape[2:]))
