"""Turns an annotated dataset into a prepared data folder."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import numbers
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.annotations.annotation import (
    MAX_IMAGE_ID,
    AnnotatedDataset,
    AnnotatedImage,
    AnnotatedObject,
)
from rgan_tf.annotations.json_object import is_text
from rgan_tf.annotations.left_out import BadImages, LeftOut
from rgan_tf.arguments import list_of, path_text, real_number, shown, text_list, whole_number
from rgan_tf.backbones import Backbone, load_backbone
from rgan_tf.bank.graphs import graph_of
from rgan_tf.bank.patch_queue import PATCH_SIZE
from rgan_tf.bank.pieces import Piece, PieceMaker, Sink, bank_writer, cut_pieces, join_pieces
from rgan_tf.data.prepared import (
    BANK,
    DATA,
    RECORDS,
    SPLITS,
    TRUTH,
    VOCABULARY,
    bank_folder,
)
from rgan_tf.data.records import (
    SCHEMA_FILE,
    RecordWriter,
    Scene,
    encode_scene,
    read_records,
    schema_text,
    with_rows_from,
)
from rgan_tf.errors import BadInput
from rgan_tf.spread import HERE, Engine, check_engine
from rgan_tf.storage.files import atomic_folder, write_bytes_atomic, write_json_atomic
from rgan_tf.storage.image import encode_png, resize_image
from rgan_tf.storage.manifest import describe_files
from rgan_tf.vocabulary import Vocabulary, composed

_LOG = logging.getLogger(__name__)
_TOLERANCE = 1e-6  # of a box that was rounded
_PIECES = "pieces"  # in the unfinished folder
_EMPTY = "image: without objects"
_NAMED = 5  # categories in a message
_SCENES = "scenes"  # first part of a name in a piece
_LEVEL = 1  # of compression: half of 6's time, and 4 % more bytes of photographs


def prepare_dataset(
    dataset: AnnotatedDataset | Callable[[Path], AnnotatedDataset],
    out: str | Path,
    *,
    image_size: int = 128,
    backbone: str | Backbone = "mobilenet_v2",
    weights_dir: str | Path | None = None,
    seed: int = 0,
    max_bad: float = 0.0,
    engine: Engine = HERE,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes records, banks and manifest; `out` appears only when it is complete.

    Args:
      dataset: what to prepare, or a function that returns it; the function may write into the
        folder that it is given, which becomes `out`.
      out: the data folder; must not exist, or be empty.
      image_size: side of the stored images in px; the largest that any config will need.
      backbone: network of the patch features, opened or by name: "mobilenet_v2", "resnet50",
        "squeezenet", or one that `register_backbone` added with feature layers.
      weights_dir: where to look for its weights first.
      seed: recorded in the manifest; at least 0.
      max_bad: share of images that may be damaged or missing; these are left out and listed.
      engine: where images are read, cut and embedded; the folder is the same on any.
      progress: report on standard error.

    Returns:
      The manifest, plus `skipped_first` and `renumbered_images` of the dataset (not stored).

    Raises:
      BadInput: if `out` is taken, an argument or what the data set holds is of no use, an input is
        missing, two images of all splits have one number, or weights are missing.
      CorruptData: if more images are damaged than `max_bad` allows.

    Example:
      ```python
      import rgan_tf

      rgan_tf.draw_world("WORLD", images=20, size=64, seed=0)
      rgan_tf.prepare(rgan_tf.read_coco("WORLD"), "DATA_OF_WORLD", image_size=64, progress=False)
      ```
    """
    image_size, seed = whole_number(image_size, "--size"), whole_number(seed, "--seed")
    if not 16 <= image_size <= 1024:
        raise BadInput(f"--size must be in [16, 1024], got {image_size}")
    if seed < 0:
        raise BadInput(f"--seed must be at least 0, got {seed}")
    if not (isinstance(backbone, str) or hasattr(backbone, "features")):
        raise BadInput(f"backbone {shown(backbone)}: must be a name, or what load_backbone returns")
    check_engine(engine)
    bad = BadImages(max_bad)
    with atomic_folder(path_text(out, "--out")) as folder:
        network = load_backbone(backbone, weights_dir) if isinstance(backbone, str) else backbone
        found = dataset(folder) if callable(dataset) else dataset
        found = _checked(found)
        _warn_of_untrained(found)
        manifest = _Preparation(folder, found, network, image_size, bad).run(seed, engine, progress)
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
    ):
        self._folder = folder
        self._dataset = dataset
        self._backbone = backbone
        self._image_size = image_size
        self._vocabulary = Vocabulary.from_categories(
            map(composed, dataset.categories), tuple(map(composed, dataset.predicates))
        )
        self._bad = bad
        self._total = sum(map(len, dataset.splits.values())) + len(dataset.bad_images)
        for line in dataset.bad_images:
            bad.add(line)
        bad.check(self._total)

    def run(self, seed: int, engine: Engine, progress: bool) -> dict[str, Any]:
        for name in (RECORDS, _PIECES):
            (self._folder / name).mkdir()
        write_json_atomic(self._folder / VOCABULARY, self._vocabulary.to_json())
        write_bytes_atomic(self._folder / SCHEMA_FILE, schema_text().encode())
        splits = self._write_splits(engine, progress)
        shutil.rmtree(self._folder / _PIECES)
        files = [
            path.relative_to(self._folder).as_posix()
            for part in (VOCABULARY, SCHEMA_FILE, RECORDS, BANK, TRUTH)
            for path in _files_below(self._folder / part)
        ]
        content = {
            "dataset": self._dataset.kind,
            "relations": "geometric" if self._dataset.geometric else "annotated",
            "seed": seed,
            "image_size": self._image_size,
            "crop_size": PATCH_SIZE,
            "backbone": self._backbone.name,
            "feature_size": self._backbone.feature_size,
            "vocabulary_sha256": self._vocabulary.sha256(),
            "splits": splits,
            "skipped": self._dataset.skipped,
            "bad_images": self._bad.lines,
            "files": describe_files(self._folder, files),
        }
        return DATA.write(self._folder, content)

    def _write_splits(self, engine: Engine, progress: bool) -> dict[str, Any]:
        """Reads each image once: its scene goes to the records, its patches to the bank."""
        maker = _SceneMaker(
            self._backbone,
            self._vocabulary,
            self._bad.max_bad,
            self._total,
            image_size=self._image_size,
        )
        pieces = {
            split: cut_pieces(self._dataset.splits[split], self._folder / _PIECES, f"{split}-")
            for split in SPLITS
        }
        engine.run(maker, sum(pieces.values(), []), "images", shown=progress)
        return {split: self._join(split, pieces[split]) for split in SPLITS}

    def _join(self, split: str, pieces: list[Piece]) -> dict[str, Any]:
        folder = self._folder / bank_folder(split)
        images = objects = relationships = 0
        with (
            bank_writer(folder, self._backbone, self._vocabulary) as bank,
            RecordWriter(self._folder / RECORDS, split) as records,
        ):
            for piece, first_row, counts in join_pieces(pieces, bank, self._bad, self._total):
                for path in sorted(piece.out.glob(f"{_SCENES}-*")):
                    for record in read_records(path):
                        records.write(with_rows_from(record, first_row))
                images += counts["images"]
                relationships += counts["relationships"]
                shutil.rmtree(piece.out)
            objects = bank.rows
        shards = records.finish()
        if not shards:
            first = self._bad.lines[0] if self._bad.lines else "none was annotated"
            raise BadInput(f"no usable image is left for {split}; the first bad one: {first}")
        return {
            "images": images,
            "objects": objects,
            "relationships": relationships,
            "shards": [path.name for path in shards],
        }


@dataclasses.dataclass
class _SceneMaker(PieceMaker):
    """Makes pieces with the records of their images; patch rows count from the piece's first."""

    image_size: int = 0

    @contextlib.contextmanager
    def sink(self, folder: Path) -> Iterator[Sink]:
        with RecordWriter(folder, _SCENES) as records:

            def write(image: AnnotatedImage, pixels: np.ndarray, first_row: int) -> None:
                records.write(encode_scene(self._scene(image, pixels, first_row)))

            yield write
        records.finish()

    def _scene(self, image: AnnotatedImage, pixels: np.ndarray, first_row: int) -> Scene:
        count = len(image.objects)
        graph = graph_of(image, self.vocabulary)
        return Scene(
            image_id=image.image_id,
            image=encode_png(resize_image(pixels, self.image_size), level=_LEVEL),
            categories=graph.objects,
            boxes=np.array([item.box for item in image.objects], np.float32).reshape(count, 4),
            patch_rows=np.arange(first_row, first_row + count, dtype=np.int32),
            triples=graph.triples,
            centres=np.array([item.centre for item in image.objects], np.float32).reshape(count, 2),
        )


def _checked(dataset: AnnotatedDataset) -> AnnotatedDataset:
    """Refuses what a user's own reader may get wrong.

    Returns:
      The data set; what goes into the manifest is of Python's own types.

    Raises:
      BadInput: if it is not a data set; for a split that is missing or not known, an image whose
        number is not one or is that of another image, a name that the data set does not list, a
        box or centre in px, a box without area, a relationship that does not join two objects, a
        value of another type than its class says, or a split without an image that has objects.
    """
    if not isinstance(dataset, AnnotatedDataset):
        raise BadInput(
            f"data set {shown(dataset)}: must be an rgan_tf.AnnotatedDataset; read a folder with "
            "read_coco or read_visual_genome first"
        )
    dataset = _with_plain_lists(dataset)
    name = f"data set {dataset.kind}"
    categories, predicates = (
        set(map(composed, names)) for names in (dataset.categories, dataset.predicates)
    )
    for split in SPLITS:
        if split not in dataset.splits:
            raise BadInput(f"{name}: has no split {split}; give all of {SPLITS}")
    for split in dataset.splits:
        if split not in SPLITS:
            raise BadInput(f"{name}: its split {shown(split)} is not one of {SPLITS}; leave it out")
    places: dict[int, str] = {}
    for split in SPLITS:
        _check_list(dataset.splits[split], f"{name}: {split}", AnnotatedImage, "AnnotatedImage")
        for image in dataset.splits[split]:
            where = f"{name}: image {image.image_id} of {split}"
            own_id = whole_number(image.image_id, f"{where}: image_id")
            if not 0 <= own_id <= MAX_IMAGE_ID:
                raise BadInput(f"{where}: image_id must be in [0, 2^63)")
            if own_id in places:
                # No object is drawn from patches of its own image, which the number tells.
                raise BadInput(
                    f"{where}: an image of {places[own_id]} has this image_id; every image of all "
                    "splits needs one of its own"
                )
            places[own_id] = split
            if not isinstance(image.path, (str, os.PathLike)):
                raise BadInput(f"{where}: path {shown(image.path)}: must name the image file")
            for field in ("licence", "url", "source"):
                _check_text(getattr(image, field), f"{where}: {field}")
            for field in ("width", "height"):
                real_number(getattr(image, field), f"{where}: {field}")
            _check_list(image.objects, f"{where}: objects", AnnotatedObject, "AnnotatedObject")
            for number, item in enumerate(image.objects):
                _check_object(item, categories, f"{where}: object {number}")
            _check_collection(image.relationships, f"{where}: relationships", "triples")
            for relationship in image.relationships:
                _check_relationship(relationship, len(image.objects), predicates, where)
    return _without_empty_images(dataset)


def _without_empty_images(dataset: AnnotatedDataset) -> AnnotatedDataset:
    """The data set without images that have no object: there is nothing to draw, or to learn."""
    splits = {}
    skipped = {split: dict(reasons) for split, reasons in dataset.skipped.items()}
    first = {split: dict(reasons) for split, reasons in dataset.skipped_first.items()}
    for split, images in dataset.splits.items():
        left_out = LeftOut()
        for image in images:
            if not image.objects:
                left_out.add(_EMPTY, f"image {image.image_id}", image.source)
        splits[split] = tuple(image for image in images if image.objects)
        if not splits[split]:  # said now, not after hours
            named = f" (first: {left_out.first[_EMPTY][0]})" if images else ""
            raise BadInput(
                f"data set {dataset.kind}: {split} has no image with an object{named}; give it "
                "at least one"
            )
        if count := left_out.counts[_EMPTY]:
            own = skipped.setdefault(split, {})
            own[_EMPTY] = own.get(_EMPTY, 0) + count
            first.setdefault(split, {}).setdefault(_EMPTY, left_out.first[_EMPTY])
    return dataclasses.replace(dataset, splits=splits, skipped=skipped, skipped_first=first)


def _warn_of_untrained(dataset: AnnotatedDataset) -> None:
    """Names the categories of val and test that train has no object of."""
    splits = {
        split: collections.Counter(
            composed(item.category) for image in dataset.splits[split] for item in image.objects
        )
        for split in SPLITS
    }
    trained = {name.casefold(): name for name in splits["train"]}
    held_out = splits["val"] + splits["test"]
    missing = [name for name in sorted(held_out) if name not in splits["train"]]
    if missing:
        named = [
            f"{name} ({held_out[name]}"
            + (f"; train has {trained[name.casefold()]})" if name.casefold() in trained else ")")
            for name in missing[:_NAMED]
        ]
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        _LOG.warning(
            "train has no object of these categories of val and test: %s%s; no model learns them, "
            "and they get patches of other categories; are the names spelled the same way?",
            *(", ".join(named), more),
        )


def _with_plain_lists(dataset: AnnotatedDataset) -> AnnotatedDataset:
    """The data set with names, counts and lines that a manifest can hold, hours later."""
    _check_text(dataset.kind, "data set: kind")
    name = f"data set {dataset.kind}"
    if not isinstance(dataset.splits, Mapping):
        raise BadInput(f"{name}: splits must map names to images, got {shown(dataset.splits)}")
    names = {
        field: list_of(getattr(dataset, field), f"{name}: {field}", str, "names")
        for field in ("categories", "predicates")
    }
    skipped: dict[str, dict[str, int]] = {}
    counts = dataset.skipped if isinstance(dataset.skipped, Mapping) else {"": None}
    for split, reasons in counts.items():
        if not isinstance(reasons, Mapping):
            raise BadInput(
                f"{name}: skipped must count by split and reason, got {shown(dataset.skipped)}"
            )
        skipped[str(split)] = {
            str(reason): whole_number(count, f"{name}: skipped: {split}: {reason}")
            for reason, count in reasons.items()
        }
    bad_images = text_list(dataset.bad_images, f"{name}: bad_images")
    return dataclasses.replace(dataset, **names, skipped=skipped, bad_images=bad_images)


def _check_list(values: Any, where: str, kind: type, called: str) -> None:
    """Refuses a value that is not a collection of one type."""
    _check_collection(values, where, called)
    list_of(values, where, kind, called)


def _check_collection(values: Any, where: str, called: str) -> None:
    """Refuses what is not a collection, such as a generator, which can be read only once."""
    if not isinstance(values, Collection):
        raise BadInput(f"{where}: must be a tuple of {called}, got {shown(values)}")


def _check_text(text: Any, where: str) -> None:
    if not isinstance(text, str) or not is_text(text):
        raise BadInput(f"{where} {shown(text)}: must be text, empty if unknown")


def _check_relationship(relationship: Any, objects: int, predicates: set[str], where: str) -> None:
    def refused(why: str) -> BadInput:
        return BadInput(f"{where}: relationship {shown(relationship)}: {why}")

    if not isinstance(relationship, Collection) or len(relationship) != 3:
        raise refused("must be (subject, predicate, object)")
    subject, predicate, target = relationship
    ends = [whole_number(end, f"{where}: relationship: position") for end in (subject, target)]
    if not all(0 <= end < objects for end in ends):
        raise refused(f"must be of two of its {objects} objects, counted from 0")
    if subject == target:
        raise refused("is of an object to itself; leave it out")
    if not isinstance(predicate, str) or composed(predicate) not in predicates:
        raise refused("is not one of the data set's predicates; list it there")


def _check_object(item: AnnotatedObject, categories: set[str], where: str) -> None:
    if not isinstance(item.category, str) or composed(item.category) not in categories:
        raise BadInput(
            f"{where}: category {shown(item.category)} is not one of the data set's categories; "
            "list it there"
        )
    box = list_of(item.box, f"{where}: box", numbers.Real, "four numbers")
    low, high = -_TOLERANCE, 1 + _TOLERANCE
    if len(box) != 4 or not (low <= box[0] < box[2] <= high and low <= box[1] < box[3] <= high):
        raise BadInput(
            f"{where}: box {item.box} must be (y0, x0, y1, x1) as fractions of the image, y0 < y1 "
            "and x0 < x1"
        )
    centre = list_of(item.centre, f"{where}: centre", numbers.Real, "two numbers")
    if len(centre) != 2 or not all(low <= place <= high for place in centre):
        raise BadInput(f"{where}: centre {item.centre} must be (y, x) as fractions of the image")
    _check_text(item.style, f"{where}: style")


def _files_below(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
