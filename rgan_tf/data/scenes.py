"""All scenes of a split, padded, by position."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rgan_tf.data.records import Scene, read_image_bytes, read_scenes, record_offsets
from rgan_tf.errors import CorruptData
from rgan_tf.graph.fit import fit_graph
from rgan_tf.progress import followed
from rgan_tf.storage.image import decode_image, resize_image

IMAGE_CACHE_BYTES = 2**30  # a split's images are kept in memory if not larger together


class SceneStore:
    """The records of a split, read once and verified.

    Decoded and resized images are kept in memory if they fit; else each is read from its record on
    demand.

    Args:
      paths: the shards, in order.
      expected: number of records.
      image_size: side in px to which images are squashed.
      max_objects: O; of a larger scene, objects in relationships are kept first.
      max_triples: T; further relationships are dropped.
      cache_bytes: memory limit for images.

    Attributes:
      image_ids: [N] int64.
      objects: [N, O] int32, 0 for padding.
      boxes: [N, O, 4] float32, zeros for padding.
      triples: [N, T, 3] int32, -1 for padding.
      patch_rows: [N, O] int32, -1 for padding.
      centres: [N, O, 2] float32, y x, zeros for padding; None if older records lack them.

    Raises:
      CorruptData: if a record is damaged or the number of records is wrong.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        expected: int,
        image_size: int,
        max_objects: int,
        max_triples: int,
        cache_bytes: int = IMAGE_CACHE_BYTES,
    ):
        self.image_size = image_size
        self.image_ids = np.zeros([expected], np.int64)
        self.objects = np.zeros([expected, max_objects], np.int32)
        self.boxes = np.zeros([expected, max_objects, 4], np.float32)
        self.triples = np.full([expected, max_triples, 3], -1, np.int32)
        self.patch_rows = np.full([expected, max_objects], -1, np.int32)
        self.centres: np.ndarray | None = np.zeros([expected, max_objects, 2], np.float32)
        self._places: list[tuple[Path, int, int]] = []
        self._images: np.ndarray | None = None
        if expected * image_size * image_size * 3 <= cache_bytes:
            self._images = np.zeros([expected, image_size, image_size, 3], np.uint8)
        else:
            self._places = [(path, *place) for path in paths for place in record_offsets(path)]
        count = 0
        for scene in followed(read_scenes(paths), "read scenes", expected):
            if count < expected:
                self._add(count, scene)
            count += 1
        if count != expected:
            raise CorruptData(
                f"{paths[0].parent if paths else 'records'}: {count} records, the manifest says "
                f"{expected}; prepare the data again"
            )

    def __len__(self) -> int:
        return len(self.image_ids)

    def images(self, positions: np.ndarray) -> np.ndarray:
        """Images by position: [B] -> uint8 [B, H, W, 3]."""
        if self._images is not None:
            return self._images[positions]
        return np.stack([self._decoded(*self._places[position]) for position in positions])

    def _decoded(self, path: Path, offset: int, length: int) -> np.ndarray:
        data = read_image_bytes(path, offset, length)
        return resize_image(decode_image(data, str(path)), self.image_size)

    def _add(self, position: int, scene: Scene) -> None:
        if self._images is not None:
            image = decode_image(scene.image, f"{scene.image_id} of the records")
            self._images[position] = resize_image(image, self.image_size)
        kept, triples = fit_graph(
            len(scene.categories),
            scene.triples,
            max_objects=self.objects.shape[1],
            max_triples=self.triples.shape[1],
            rng=np.random.default_rng(abs(scene.image_id)),
        )
        self.image_ids[position] = scene.image_id
        self.objects[position, : len(kept)] = scene.categories[kept]
        self.boxes[position, : len(kept)] = scene.boxes[kept]
        self.patch_rows[position, : len(kept)] = scene.patch_rows[kept]
        if scene.centres is None:
            self.centres = None
        elif self.centres is not None:
            self.centres[position, : len(kept)] = scene.centres[kept]
        self.triples[position, : len(triples)] = triples
