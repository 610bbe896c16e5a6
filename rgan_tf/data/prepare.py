"""Turns an annotated dataset into a prepared data folder."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rgan_tf.backbones import Backbone, load_backbone
from rgan_tf.data.annotation import AnnotatedDataset, AnnotatedImage
from rgan_tf.data.patch_bank import PatchBankWriter, describe_files
from rgan_tf.data.prepared import (
    BANK,
    KIND,
    MANIFEST,
    RECORDS,
    SPLITS,
    TRUTH,
    VERSION,
    VOCABULARY,
    bank_folder,
)
from rgan_tf.data.records import SCHEMA_FILE, Scene, schema_text, write_records
from rgan_tf.errors import BadInput, CorruptData, RganError
from rgan_tf.files import atomic_folder, write_bytes_atomic, write_json_atomic
from rgan_tf.image import encode_png, read_image, resize_image
from rgan_tf.progress import Progress
from rgan_tf.vocabulary import Vocabulary

PATCH_SIZE = 64  # px, side of the crops in a bank

_EMBEDDING_BATCH = 64
_EPSILON = 1e-4  # px; a box that ends on a pixel's edge does not touch the next one
_ASPECT_TOLERANCE = 0.05  # of width over height, between an annotation and its image file


def prepare_dataset(
    dataset: AnnotatedDataset | Callable[[Path], AnnotatedDataset],
    out: str | Path,
    *,
    image_size: int = 128,
    backbone: str | Backbone = "mobilenet_v2",
    weights_dir: str | Path | None = None,
    seed: int = 0,
    max_bad: float = 0.0,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes records, banks and manifest; `out` appears only when all of it is whole.

    Args:
      dataset: what to prepare, or a function that makes it and may write into the folder that it
        is given, which becomes `out`.
      out: the data folder; must not exist, or be empty.
      image_size: side of the stored images in px; at least as large as any config will want.
      backbone: network of the patch features, by name or opened.
      weights_dir: where to look for its weights first.
      seed: recorded in the manifest.
      max_bad: share of images that may be damaged or missing; they are left out and listed.
      progress: report on standard error.

    Returns:
      The manifest.

    Raises:
      BadInput: if `out` is taken, an input is missing or unusable, or weights are missing.
      CorruptData: if images are damaged, more of them than `max_bad` allows.
    """
    if not 16 <= image_size <= 1024:
        raise BadInput(f"--size must be in [16, 1024], got {image_size}")
    if not 0 <= max_bad < 1:
        raise BadInput(f"--max-bad must be a share in [0, 1), got {max_bad}")
    with atomic_folder(out) as folder:
        network = load_backbone(backbone, weights_dir) if isinstance(backbone, str) else backbone
        found = dataset(folder) if callable(dataset) else dataset
        return _Preparation(folder, found, network, image_size, max_bad, progress).run(seed)


class _Preparation:
    def __init__(
        self,
        folder: Path,
        dataset: AnnotatedDataset,
        backbone: Backbone,
        image_size: int,
        max_bad: float,
        progress: bool,
    ):
        self._folder = folder
        self._dataset = dataset
        self._backbone = backbone
        self._image_size = image_size
        self._progress = progress
        self._vocabulary = Vocabulary.from_categories(dataset.categories, dataset.predicates)
        self._bad: list[str] = []
        total = sum(len(images) for images in dataset.splits.values())
        self._bad_allowed = int(max_bad * total)

    def run(self, seed: int) -> dict[str, Any]:
        records = self._folder / RECORDS
        records.mkdir()
        write_json_atomic(self._folder / VOCABULARY, self._vocabulary.to_json())
        write_bytes_atomic(self._folder / SCHEMA_FILE, schema_text().encode())
        splits = {split: self._write_split(split) for split in SPLITS}
        files = [
            path.relative_to(self._folder).as_posix()
            for part in (VOCABULARY, SCHEMA_FILE, RECORDS, BANK, TRUTH)
            for path in _files_below(self._folder / part)
        ]
        manifest = {
            "kind": KIND,
            "version": VERSION,
            "dataset": self._dataset.kind,
            "seed": seed,
            "image_size": self._image_size,
            "crop_size": PATCH_SIZE,
            "backbone": self._backbone.name,
            "feature_size": self._backbone.feature_size,
            "vocabulary_sha256": self._vocabulary.sha256(),
            "splits": splits,
            "skipped": {part: dict(counts) for part, counts in self._dataset.skipped.items()},
            "bad_images": self._bad,
            "files": describe_files(self._folder, files),
        }
        write_json_atomic(self._folder / MANIFEST, manifest)
        return manifest

    def _write_split(self, split: str) -> dict[str, Any]:
        counts: collections.Counter[str] = collections.Counter()
        with PatchBankWriter(
            self._folder / bank_folder(split),
            crop_size=PATCH_SIZE,
            feature_size=self._backbone.feature_size,
            backbone=self._backbone.name,
        ) as bank:
            patches = _PatchQueue(bank, self._backbone)
            paths = write_records(
                self._folder / RECORDS, split, self._scenes(split, patches, counts)
            )
            patches.flush()
        if not paths:
            raise BadInput(f"no usable image is left for {split}")
        return {
            "images": counts["images"],
            "objects": counts["objects"],
            "relationships": counts["relationships"],
            "shards": [path.name for path in paths],
        }

    def _scenes(
        self, split: str, patches: _PatchQueue, counts: collections.Counter[str]
    ) -> Iterator[Scene]:
        images = self._dataset.splits[split]
        progress = Progress(f"{split} images", len(images)) if self._progress else None
        for image in images:
            try:
                pixels = _read_annotated(image)
            except (BadInput, CorruptData) as error:
                self._count_bad(image, error)
            else:
                first_row = counts["objects"]
                counts["images"] += 1
                counts["objects"] += len(image.objects)
                counts["relationships"] += len(image.relationships)
                patches.add(image, pixels, self._vocabulary)
                yield self._scene(image, pixels, first_row)
            if progress is not None:
                progress.advance()
        if progress is not None:
            progress.close()

    def _scene(self, image: AnnotatedImage, pixels: np.ndarray, first_row: int) -> Scene:
        count = len(image.objects)
        return Scene(
            image_id=image.image_id,
            image=encode_png(resize_image(pixels, self._image_size)),
            categories=np.array(
                [self._vocabulary.object_id(item.category) for item in image.objects], np.int32
            ),
            boxes=np.array([item.box for item in image.objects], np.float32).reshape(count, 4),
            patch_rows=np.arange(first_row, first_row + count, dtype=np.int32),
            triples=np.array(
                [
                    (subject, self._vocabulary.predicate_id(predicate), target)
                    for subject, predicate, target in image.relationships
                ],
                np.int32,
            ).reshape(-1, 3),
        )

    def _count_bad(self, image: AnnotatedImage, error: RganError) -> None:
        self._bad.append(f"{image.source}: {error}")
        if len(self._bad) > self._bad_allowed:
            raise error


class _PatchQueue:
    """Embeds patches in batches of one size, across images, and appends them to a bank."""

    def __init__(self, bank: PatchBankWriter, backbone: Backbone):
        self._bank = bank
        self._backbone = backbone
        self._crops: list[np.ndarray] = []
        self._rows: list[dict[str, Any]] = []

    def add(self, image: AnnotatedImage, pixels: np.ndarray, vocabulary: Vocabulary) -> None:
        for index, item in enumerate(image.objects):
            self._crops.append(cut_patch(pixels, item.box, PATCH_SIZE))
            self._rows.append(
                {
                    "category": item.category,
                    "category_id": vocabulary.object_id(item.category),
                    "image_id": image.image_id,
                    "object_index": index,
                    "box": [round(edge, 6) for edge in item.box],
                    "licence": image.licence,
                    "url": image.url,
                    "source": image.source,
                    "style": item.style,
                }
            )
            if len(self._crops) == _EMBEDDING_BATCH:
                self.flush()

    def flush(self) -> None:
        if not self._crops:
            return
        crops = np.stack(self._crops)
        # A last batch of another size would build the network again for that size.
        padded = np.zeros((_EMBEDDING_BATCH, *crops.shape[1:]), np.uint8)
        padded[: len(crops)] = crops
        features = np.asarray(self._backbone.features(padded))[: len(crops)]
        self._bank.append(crops, features, self._rows)
        self._crops, self._rows = [], []


def cut_patch(pixels: np.ndarray, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    """Cuts a box out of an image and squashes it to a square, antialiased bilinear.

    Args:
      pixels: uint8 [H, W, 3].
      box: (y0, x0, y1, x1) fractions.
      size: side of the result in px.

    Returns:
      uint8 [size, size, 3].
    """
    height, width = pixels.shape[:2]
    y0, x0, y1, x1 = box
    edges = (x0 * width, y0 * height, x1 * width, y1 * height)
    # Cut first: the filter would reach for pixels beyond the box.
    left, top = math.floor(edges[0] + _EPSILON), math.floor(edges[1] + _EPSILON)
    right, bottom = math.ceil(edges[2] - _EPSILON), math.ceil(edges[3] - _EPSILON)
    part = Image.fromarray(pixels[top:bottom, left:right])
    inner = (
        max(edges[0] - left, 0.0),
        max(edges[1] - top, 0.0),
        min(edges[2] - left, part.width),
        min(edges[3] - top, part.height),
    )
    return np.asarray(part.resize((size, size), Image.Resampling.BILINEAR, box=inner))


def _read_annotated(image: AnnotatedImage) -> np.ndarray:
    pixels = read_image(image.path, apply_orientation=False)
    if image.width and image.height:
        height, width = pixels.shape[:2]
        stretch = width * image.height / (height * image.width)
        if abs(stretch - 1) > _ASPECT_TOLERANCE:
            raise CorruptData(
                f"image {image.path}: is {width}x{height}, its annotation says "
                f"{image.width}x{image.height}; not the annotated image"
            )
    return pixels


def _files_below(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
