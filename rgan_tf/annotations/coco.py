"""Reads COCO 2017 instances with stuff, filtered as in sg2im and its successors.

Layout of a root folder:

    annotations/instances_{train,val}2017.json
    annotations/stuff_{train,val}2017.json or panoptic_{train,val}2017.json
    images/{train,val}2017/

`train` is train2017. The kept images of val2017, in annotation order, are `val` (the first 1024)
and `test` (the next 2048); if fewer than 2048 are kept, the first half is `val` and the second
`test`. Within a split, images are sorted by id.
"""

from __future__ import annotations

import dataclasses
import filecmp
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from rgan_tf.annotations.annotation import (
    MAX_IMAGE_ID,
    AnnotatedDataset,
    AnnotatedImage,
    check_limit,
)
from rgan_tf.annotations.coco_annotations import CocoAnnotations, CocoFilter, read_coco_file
from rgan_tf.annotations.json_object import Claims, JsonObject, whole_number
from rgan_tf.annotations.left_out import BadImages
from rgan_tf.arguments import path_text
from rgan_tf.errors import BadInput
from rgan_tf.near_names import spelled_otherwise
from rgan_tf.progress import followed
from rgan_tf.vocabulary import GEOMETRIC_PREDICATES

VAL_IMAGES = 1024
TEST_IMAGES = 2048

# Options that keep more images or objects, by the beginning of the reason for leaving them out.
_OPTIONS = {
    "image: no stuff": "--allow-missing-stuff",
    "image: under": "a smaller --min-objects",
    "image: over": "a larger --max-objects",
    "object: too small": "a smaller --min-box-share",
}


def read_coco_dataset(
    root: str | Path,
    *,
    keep: CocoFilter | None = None,
    seed: int = 0,
    limit: int | None = None,
    kind: str = "coco",
    max_bad: float = 0.0,
) -> AnnotatedDataset:
    """Reads the three splits of a folder in COCO's layout.

    It holds `annotations/instances_{train,val}2017.json`, `images/{train,val}2017/`, and stuff or
    panoptic files; val2017 is divided into val and test. docs/your_own_data.md says what is read,
    and which programs export it.

    Args:
      root: the folder.
      keep: which objects and images are kept, a
        `rgan_tf.annotations.coco_annotations.CocoFilter`; by default those of the published
        splits. `CocoFilter(require_stuff=False)` also keeps photographs without stuff annotations.
      seed: of the relationships; those of an image depend only on it and the image's id.
      limit: at most this many images per split, the first by id.
      kind: recorded in the result.
      max_bad: share of images whose entry may be unusable.

    Raises:
      BadInput: if a file is missing, not JSON or not in COCO's format, if two entries claim one id
        or name, if an image is in both parts, or for a limit below 1.
      CorruptData: if an image whose size is only in its file is damaged.

    Example:
      ```python
      import rgan_tf

      rgan_tf.draw_world("WORLD", images=20, size=64, seed=0)
      dataset = rgan_tf.read_coco("WORLD")
      print({split: len(images) for split, images in dataset.splits.items()})
      ```
    """
    check_limit(limit)
    keep = keep or CocoFilter()
    bad = BadImages(max_bad)
    root = path_text(root, "root")
    parts = {part: _Folder(Path(root), part, bad) for part in ("train2017", "val2017")}
    images = {part: folder.images(keep, seed) for part, folder in parts.items()}
    bad.check(sum(map(len, images.values())) + len(bad.lines))
    for part, needed in (("train2017", 1), ("val2017", 2)):
        if len(images[part]) < needed:
            message = f"{root}: {part} needs {needed} images, and {len(images[part])} are left"
            raise parts[part].left_out.nothing_left(message, _OPTIONS)
    splits = {"train": images["train2017"], **_divide(images["val2017"])}
    splits, renumbered = _with_unique_ids(splits)
    return AnnotatedDataset(
        kind=kind,
        splits={split: tuple(members[:limit]) for split, members in splits.items()},
        categories=tuple(sorted(set().union(*(part.categories for part in parts.values())))),
        predicates=GEOMETRIC_PREDICATES,
        skipped={part: dict(folder.left_out.counts) for part, folder in parts.items()},
        skipped_first={part: folder.left_out.first for part, folder in parts.items()},
        bad_images=tuple(bad.lines),
        renumbered_images=renumbered,
        geometric=True,
    )


def _with_unique_ids(
    splits: dict[str, list[AnnotatedImage]],
) -> tuple[dict[str, list[AnnotatedImage]], int]:
    """Renumbers images of val2017 whose id is taken by one of train2017; returns how many.

    Annotators number each file from 1, so equal ids do not mean equal images.

    Raises:
      BadInput: if the two are the same image.
    """
    by_id = {image.image_id: image for image in splits["train"]}
    by_name = {image.path.name: image for image in splits["train"]}
    others = [image for split in ("val", "test") for image in splits[split]]
    for image in others:
        for twin in (by_id.get(image.image_id), by_name.get(image.path.name)):
            if twin is not None and _is_same_picture(image.path, twin.path):
                raise BadInput(
                    f"{image.source}: is the same picture as {twin.source}; take it out of "
                    "train2017 or val2017, or models are tested on a training image"
                )
    taken = by_id.keys() | {image.image_id for image in others}
    beyond = max(taken, default=0) + 1
    numbers = itertools.chain(range(beyond, MAX_IMAGE_ID + 1), range(beyond))
    free = (number for number in numbers if number not in taken)
    renumbered = 0
    unique = {"train": splits["train"]}
    for split in ("val", "test"):
        unique[split] = []
        for image in splits[split]:
            if image.image_id in by_id:
                image = dataclasses.replace(image, image_id=next(free))
                renumbered += 1
            unique[split].append(image)
    return unique, renumbered


def _is_same_picture(first: Path, second: Path) -> bool:
    try:
        return filecmp.cmp(first, second, shallow=False)
    except OSError:  # a missing file is reported when it is read
        return False


def _divide(images: list[AnnotatedImage]) -> dict[str, list[AnnotatedImage]]:
    boundary = VAL_IMAGES if len(images) >= 2 * VAL_IMAGES else len(images) // 2
    members = {"val": images[:boundary], "test": images[boundary : boundary + TEST_IMAGES]}
    return {split: sorted(part, key=_image_id) for split, part in members.items()}


def _image_id(image: AnnotatedImage) -> int:
    return image.image_id


class _Folder(CocoAnnotations):
    """The annotations of train2017 or val2017, with their stuff."""

    def __init__(self, root: Path, part: str, bad: BadImages):
        if not root.is_dir():
            advice = spelled_otherwise(root) or "; --root is the folder of annotations/, images/"
            raise BadInput(f"{root}: no such folder{advice}")
        self._root = root
        self._part = part
        path = root / "annotations" / f"instances_{part}.json"
        if not path.is_file():
            advice = spelled_otherwise(path) or f"; {_advice(root, part)}"
            raise BadInput(f"{path}: No such file{advice}")
        super().__init__(path, root / "images" / part, bad, f"images/{part}/")
        self._with_stuff = self._add_stuff()
        self.check()

    def images(self, keep: CocoFilter, seed: int) -> list[AnnotatedImage]:
        """The kept images: of train sorted by id, of val in annotation order."""
        if keep.require_stuff and not self._with_stuff:
            raise BadInput(
                f"{self._root}/annotations: stuff_{self._part}.json and panoptic_{self._part}.json "
                "are missing or empty; add one or use --allow-missing-stuff, in Python "
                "keep=CocoFilter(require_stuff=False)"
            )
        kept = []
        for image_id in followed(self.listed, f"images of {self._part}"):
            image = self.listed[image_id]
            if keep.require_stuff and image_id not in self._with_stuff:
                name = image.text_or_empty("file_name")
                self.left_out.add("image: no stuff annotations", image, name)
                continue
            annotated = self.annotated(image_id, keep, seed)
            if annotated is not None:
                kept.append(annotated)
        self.warn_of_corners()
        if self._part == "train2017":
            kept.sort(key=_image_id)
        return kept

    def _add_stuff(self) -> set[int]:
        """Adds stuff objects; returns the ids of the images that have stuff annotations."""
        folder = self._root / "annotations"
        stuff_path = folder / f"stuff_{self._part}.json"
        panoptic_path = folder / f"panoptic_{self._part}.json"
        # A link that leads nowhere does not ask for data without stuff.
        if os.path.lexists(stuff_path):
            stuff = read_coco_file(stuff_path)
            self._categories.add(stuff)
            return self.add_objects(stuff)
        if os.path.lexists(panoptic_path):
            panoptic = read_coco_file(panoptic_path)
            self._categories.add(panoptic)
            return self._add_segments(panoptic)
        return set()

    def _add_segments(self, panoptic: JsonObject) -> set[int]:
        is_thing = _is_thing(panoptic)
        images = Claims("the panoptic image_id")
        covered = set()
        for kept, annotation in panoptic.each("annotations", on_invalid=self._add_invalid):
            image_id = self.image_of(annotation)
            if image_id is None:
                continue
            images.add(image_id, kept)
            try:
                segments = annotation.list("segments_info", on_invalid=self._add_invalid)
            except BadInput as error:
                self._add_invalid(str(error))
                continue
            covered.add(image_id)
            ids = Claims("the segment id")
            for segment in segments:
                number = whole_number(segment.value.get("id"))
                if number is not None:
                    ids.add(number, segment)
                thing = is_thing.get(whole_number(segment.value.get("category_id")), False)
                if thing is None:
                    self.left_out.add("object: its category does not say isthing", segment)
                elif not thing:
                    self.add_object(image_id, segment, segment)
        return covered


def _is_thing(panoptic: JsonObject) -> dict[int | None, bool | None]:
    """Whether the instances already contain a category; None if the file does not say."""
    table = {}
    for category in panoptic.list("categories", on_invalid=lambda line: None):
        value = category.value.get("isthing")
        number = value if isinstance(value, bool) else whole_number(value)
        table[whole_number(category.value.get("id"))] = None if number is None else number != 0
    return table


def _advice(root: Path, part: str) -> str:
    """How to rearrange existing files into COCO's layout."""
    found: Sequence[Path] = sorted(
        path
        for pattern in ("*.json", "annotations/*.json", "*/_annotations.coco.json")
        for path in root.glob(pattern)
    )
    existing = f" ({found[0].relative_to(root)} exists)" if found else ""
    return (
        f"put the annotations there and the images into images/{part}/{existing}; "
        "docs/your_own_data.md shows how, for exports of Label Studio, VIA, CVAT and Roboflow"
    )
