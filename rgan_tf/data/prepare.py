"""Turns an annotated dataset into a prepared data folder."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.annotations.annotation import AnnotatedDataset, AnnotatedImage
from rgan_tf.annotations.left_out import BadImages
from rgan_tf.backbones import Backbone, load_backbone
from rgan_tf.bank.patch_queue import PATCH_SIZE, PatchQueue, read_annotated
from rgan_tf.bank.writer import PatchBankWriter
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
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.progress import progress_bar
from rgan_tf.storage.files import (
    atomic_folder,
    describe_files,
    write_bytes_atomic,
    write_json_atomic,
)
from rgan_tf.storage.image import encode_png, resize_image
from rgan_tf.vocabulary import Vocabulary


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
      The manifest, and what is only told: `skipped_first` and `renumbered_images` of the dataset.

    Raises:
      BadInput: if `out` is taken, an input is missing or unusable, or weights are missing.
      CorruptData: if images are damaged, more of them than `max_bad` allows.
    """
    if not 16 <= image_size <= 1024:
        raise BadInput(f"--size must be in [16, 1024], got {image_size}")
    bad = BadImages(max_bad)
    with atomic_folder(out) as folder:
        network = load_backbone(backbone, weights_dir) if isinstance(backbone, str) else backbone
        found = dataset(folder) if callable(dataset) else dataset
        manifest = _Preparation(folder, found, network, image_size, bad, progress).run(seed)
    return {
        **manifest,
        "skipped_first": found.skipped_first,
        "renumbered_images": found.renumbered_images,
    }


class _Preparation:
    def __init__(
        self,
        folder: Path,
        dataset: AnnotatedDataset,
        backbone: Backbone,
        image_size: int,
        bad: BadImages,
        progress: bool,
    ):
        self._folder = folder
        self._dataset = dataset
        self._backbone = backbone
        self._image_size = image_size
        self._progress = progress
        self._vocabulary = Vocabulary.from_categories(dataset.categories, dataset.predicates)
        self._bad = bad
        self._total = sum(map(len, dataset.splits.values())) + len(dataset.bad_images)
        for line in dataset.bad_images:
            bad.add(line)
        bad.check(self._total)

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
            "bad_images": self._bad.lines,
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
            vocabulary=self._vocabulary,
        ) as bank:
            patches = PatchQueue(bank, self._backbone, self._vocabulary)
            paths = write_records(
                self._folder / RECORDS, split, self._scenes(split, patches, counts)
            )
            patches.close()
        if not paths:
            first = self._bad.lines[0] if self._bad.lines else "none was annotated"
            raise BadInput(f"no usable image is left for {split}; the first bad one: {first}")
        return {
            "images": counts["images"],
            "objects": counts["objects"],
            "relationships": counts["relationships"],
            "shards": [path.name for path in paths],
        }

    def _scenes(
        self, split: str, patches: PatchQueue, counts: collections.Counter[str]
    ) -> Iterator[Scene]:
        images = self._dataset.splits[split]
        progress = progress_bar(f"{split} images", len(images)) if self._progress else None
        for image in images:
            try:
                pixels = read_annotated(image)
            except (BadInput, CorruptData) as error:
                self._bad.add(error, image.source)
                self._bad.check(self._total)
            else:
                first_row = counts["objects"]
                counts["images"] += 1
                counts["objects"] += len(image.objects)
                counts["relationships"] += len(image.relationships)
                patches.add(image, pixels)
                yield self._scene(image, pixels, first_row)
            if progress is not None:
                progress.update()
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


def _files_below(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
