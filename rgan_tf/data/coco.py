"""Reads COCO 2017 instances with stuff, filtered the way sg2im and its successors do.

Layout of a root folder:

    annotations/instances_{train,val}2017.json
    annotations/stuff_{train,val}2017.json or panoptic_{train,val}2017.json
    images/{train,val}2017/

`train` is train2017. The kept images of val2017, in annotation order, are `val` (the first 1024)
and `test` (the next 2048); where fewer than 2048 are kept, the first half is `val` and the second
`test`. Within a split images are sorted by id.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rgan_tf.data.annotation import AnnotatedDataset, AnnotatedImage, AnnotatedObject
from rgan_tf.data.json_object import JsonObject
from rgan_tf.data.masks import segmentation_centroid
from rgan_tf.data.relations import geometric_relations
from rgan_tf.errors import BadInput
from rgan_tf.files import read_json, safe_join
from rgan_tf.vocabulary import GEOMETRIC_PREDICATES

SPLITS = ("train", "val", "test")
VAL_IMAGES = 1024
TEST_IMAGES = 2048

_NOT_A_CATEGORY = "other"  # stuff annotations use it for everything that is a thing


@dataclasses.dataclass(frozen=True)
class CocoFilter:
    """Which objects and images are kept; the defaults are those of the published splits.

    Attributes:
      min_box_share: smallest share of the image that an object's box covers, exclusive.
      min_objects, max_objects: kept objects per image.
      require_stuff: leave out images without stuff annotations.
    """

    min_box_share: float = 0.02
    min_objects: int = 3
    max_objects: int = 8
    require_stuff: bool = True


def read_coco(
    root: str | Path,
    *,
    split: str,
    require_stuff: bool = True,
    seed: int = 0,
) -> Iterator[AnnotatedImage]:
    """The kept images of one split; see `read_coco_dataset`."""
    if split not in SPLITS:
        raise BadInput(f"split {split!r}: must be one of {', '.join(SPLITS)}")
    folder = _Folder(Path(root), "train2017" if split == "train" else "val2017")
    images = folder.images(CocoFilter(require_stuff=require_stuff), seed)
    yield from images if split == "train" else _divide(images)[split]


def read_coco_dataset(
    root: str | Path,
    *,
    keep: CocoFilter | None = None,
    seed: int = 0,
    limit: int | None = None,
    kind: str = "coco",
) -> AnnotatedDataset:
    """Reads all three splits.

    Args:
      root: folder in the layout above.
      keep: the filter; by default the published one.
      seed: draws the relationships; each image's depend on it and on the image's id only.
      limit: at most this many images of each split, the first by id.
      kind: recorded in the result.

    Raises:
      BadInput: if a file is missing, not JSON, or not what COCO documents; in one line.
    """
    keep = keep or CocoFilter()
    parts = {part: _Folder(Path(root), part) for part in ("train2017", "val2017")}
    images = {part: folder.images(keep, seed) for part, folder in parts.items()}
    splits = {"train": images["train2017"], **_divide(images["val2017"])}
    for split, members in splits.items():
        if not members:
            advice = "; --allow-missing-stuff keeps more" if keep.require_stuff else ""
            raise BadInput(f"{root}: no image is left for {split} after filtering{advice}")
    return AnnotatedDataset(
        kind=kind,
        splits={split: tuple(members[:limit]) for split, members in splits.items()},
        categories=tuple(sorted(set().union(*(part.categories for part in parts.values())))),
        predicates=GEOMETRIC_PREDICATES,
        skipped={part: dict(folder.skipped) for part, folder in parts.items()},
    )


def _divide(images: list[AnnotatedImage]) -> dict[str, list[AnnotatedImage]]:
    boundary = VAL_IMAGES if len(images) >= 2 * VAL_IMAGES else len(images) // 2
    members = {"val": images[:boundary], "test": images[boundary : boundary + TEST_IMAGES]}
    return {split: sorted(part, key=_image_id) for split, part in members.items()}


def _image_id(image: AnnotatedImage) -> int:
    return image.image_id


class _Folder:
    """The annotations of train2017 or val2017, read once."""

    def __init__(self, root: Path, part: str):
        self.skipped: collections.Counter[str] = collections.Counter()
        self._root = root
        self._part = part
        if not root.is_dir():
            raise BadInput(f"{root}: no such folder; --root is the folder of annotations/, images/")
        self._image_folder = root / "images" / part
        if not self._image_folder.is_dir():
            raise BadInput(f"{self._image_folder}: no such folder; it must hold the images")
        instances_path = root / "annotations" / f"instances_{part}.json"
        instances = JsonObject(read_json(instances_path), instances_path)
        self._categories = _names(instances)
        self._licences = {
            licence.number("id"): licence.text("name", "")
            for licence in instances.optional_list("licenses")
        }
        self._images = instances.list("images")
        listed = {image.number("id") for image in self._images}
        if len(listed) != len(self._images):
            raise BadInput(f"{instances_path}: an image id is listed twice")
        self._objects: dict[int, list[JsonObject]] = collections.defaultdict(list)
        for annotation in instances.list("annotations"):
            self._objects[annotation.number("image_id")].append(annotation)
        self._with_stuff = self._add_stuff()
        unlisted = self._objects.keys() - listed
        if unlisted:
            self.skipped["object: its image is not listed"] = sum(
                len(self._objects[image_id]) for image_id in unlisted
            )

    @property
    def categories(self) -> set[str]:
        return set(self._categories.values()) - {_NOT_A_CATEGORY}

    def images(self, keep: CocoFilter, seed: int) -> list[AnnotatedImage]:
        """The kept images: of train sorted by id, of val in annotation order."""
        if keep.require_stuff and not self._with_stuff:
            raise BadInput(
                f"{self._root}/annotations: stuff_{self._part}.json and panoptic_{self._part}.json "
                "are missing or empty; add one or use --allow-missing-stuff"
            )
        kept = []
        for image in self._images:
            if keep.require_stuff and image.number("id") not in self._with_stuff:
                self.skipped["image: no stuff annotations"] += 1
                continue
            annotated = self._annotated(image, keep, seed)
            if annotated is not None:
                kept.append(annotated)
        if self._part == "train2017":
            kept.sort(key=_image_id)
        return kept

    def _add_stuff(self) -> set[int]:
        """Adds stuff objects; returns the ids of the images that have stuff annotations."""
        folder = self._root / "annotations"
        stuff_path = folder / f"stuff_{self._part}.json"
        panoptic_path = folder / f"panoptic_{self._part}.json"
        if stuff_path.exists():
            stuff = JsonObject(read_json(stuff_path), stuff_path)
            self._merge_categories(stuff)
            covered = set()
            for annotation in stuff.list("annotations"):
                covered.add(annotation.number("image_id"))
                self._objects[annotation.number("image_id")].append(annotation)
            return covered
        if panoptic_path.exists():
            panoptic = JsonObject(read_json(panoptic_path), panoptic_path)
            self._merge_categories(panoptic)
            things = {
                category.number("id")
                for category in panoptic.list("categories")
                if category.number("isthing")
            }
            covered = set()
            for annotation in panoptic.list("annotations"):
                covered.add(annotation.number("image_id"))
                for segment in annotation.list("segments_info"):
                    if segment.number("category_id") not in things:
                        self._objects[annotation.number("image_id")].append(segment)
            return covered
        return set()

    def _merge_categories(self, other: JsonObject) -> None:
        for category_id, name in _names(other).items():
            known = self._categories.setdefault(category_id, name)
            if known != name:
                raise BadInput(
                    f"{other.source}: category {category_id} is {name!r} here and {known!r} in "
                    f"instances_{self._part}.json"
                )

    def _annotated(self, image: JsonObject, keep: CocoFilter, seed: int) -> AnnotatedImage | None:
        image_id = image.number("id")
        if image_id < 0:
            raise BadInput(f"{image.source}: id {image_id} is negative")
        width, height = image.number("width"), image.number("height")
        if width < 1 or height < 1:
            raise BadInput(f"{image.source}: width and height must be at least 1")
        style = image.text("style", "")
        objects = []
        for annotation in self._objects.get(image_id, ()):
            kept = self._object(annotation, width, height, keep, style)
            if kept is not None:
                objects.append(kept)
        if not keep.min_objects <= len(objects) <= keep.max_objects:
            few = len(objects) < keep.min_objects
            reason = f"under {keep.min_objects}" if few else f"over {keep.max_objects}"
            self.skipped[f"image: {reason} objects"] += 1
            return None
        rng = np.random.default_rng([seed, image_id])
        relationships = geometric_relations(
            [item.box for item in objects], [item.centre for item in objects], rng
        )
        name = image.text("file_name")
        return AnnotatedImage(
            image_id=image_id,
            path=safe_join(self._image_folder, name),
            objects=tuple(objects),
            relationships=tuple(relationships),
            licence=self._licences.get(image.number("license", 0), ""),
            url=image.text("flickr_url", "") or image.text("coco_url", ""),
            source=f"images/{self._part}/{name}",
            width=width,
            height=height,
        )

    def _object(
        self, annotation: JsonObject, width: int, height: int, keep: CocoFilter, style: str
    ) -> AnnotatedObject | None:
        category_id = annotation.number("category_id")
        if category_id not in self._categories:
            raise BadInput(f"{annotation.source}: category_id {category_id} is not listed")
        category = self._categories[category_id]
        if category == _NOT_A_CATEGORY:
            self.skipped["object: category other"] += 1
            return None
        if annotation.number("iscrowd", 0):
            self.skipped["object: crowd"] += 1
            return None
        x, y, box_width, box_height = _box(annotation)
        if box_width * box_height <= keep.min_box_share * width * height:
            self.skipped["object: too small"] += 1
            return None
        x0, x1 = (min(max(edge / width, 0.0), 1.0) for edge in (x, x + box_width))
        y0, y1 = (min(max(edge / height, 0.0), 1.0) for edge in (y, y + box_height))
        if x1 - x0 < 1e-3 or y1 - y0 < 1e-3:
            self.skipped["object: outside its image"] += 1
            return None
        box = (y0, x0, y1, x1)
        centre = None
        if annotation.value.get("segmentation") is not None:
            try:
                centre = segmentation_centroid(annotation.value["segmentation"], box, width, height)
            except (TypeError, ValueError, OverflowError) as error:
                raise BadInput(f"{annotation.source}: segmentation: {error}") from error
        return AnnotatedObject(
            category=category,
            box=box,
            centre=centre or ((y0 + y1) / 2, (x0 + x1) / 2),
            style=style,
        )


def _names(file: JsonObject) -> dict[int, str]:
    return {item.number("id"): item.text("name").strip() for item in file.list("categories")}


def _box(annotation: JsonObject) -> tuple[float, float, float, float]:
    value = annotation.value.get("bbox")
    is_box = isinstance(value, list) and len(value) == 4
    if not is_box or not all(isinstance(edge, (int, float)) for edge in value):
        raise BadInput(
            f"{annotation.source}: 'bbox' must be [x, y, width, height], got {value!r:.60}"
        )
    return tuple(float(edge) for edge in value)
