"""One file of COCO annotations: images, their objects, licences."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
from pathlib import Path

import numpy as np

from rgan_tf.data.annotation import AnnotatedImage, AnnotatedObject
from rgan_tf.data.bank.format import stored_box
from rgan_tf.data.json_object import JsonObject
from rgan_tf.data.masks import segmentation_centroid
from rgan_tf.data.relations import geometric_relations
from rgan_tf.errors import BadInput
from rgan_tf.files import read_json, safe_join

_LARGEST_ID = 2**63 - 1  # that the columns of a bank hold
_MAX_SIDE = 10**6  # px; no image file that is read comes near
NOT_A_CATEGORY = "other"  # stuff annotations use it for everything that is a thing


@dataclasses.dataclass(frozen=True)
class CocoFilter:
    """Which objects and images are kept; the defaults are those of the published splits.

    Attributes:
      min_box_share: smallest share of the image that an object's box covers, exclusive.
      min_objects, max_objects: kept objects per image.
      require_stuff: leave out images without stuff annotations.
      keep_repeats: keep an object whose image has one of the same category and box before it.
    """

    min_box_share: float = 0.02
    min_objects: int = 3
    max_objects: int = 8
    require_stuff: bool = True
    keep_repeats: bool = True


class CocoAnnotations:
    """A file in the format of COCO's instances_*.json, read once.

    Args:
      path: the file.
      image_folder: of its images.
      prefix: put before their names in `AnnotatedImage.source`.

    Attributes:
      listed: the images of the file, in its order.
      objects: annotations by image id.
      skipped: why images and objects were left out, with counts.

    Raises:
      BadInput: if a file or folder is missing, or not what COCO documents; in one line.
    """

    def __init__(self, path: Path, image_folder: Path, prefix: str = ""):
        self.skipped: collections.Counter[str] = collections.Counter()
        self._image_folder = image_folder
        self._prefix = prefix
        if not image_folder.is_dir():
            raise BadInput(f"{image_folder}: no such folder; it must hold the images")
        instances = JsonObject(read_json(path), path)
        self._categories = category_names(instances)
        self._licences = {
            licence.number("id"): licence.text("name", "")
            for licence in instances.optional_list("licenses")
        }
        self.listed = instances.list("images")
        ids = {image.number("id") for image in self.listed}
        if len(ids) != len(self.listed):
            raise BadInput(f"{path}: an image id is listed twice")
        self.objects: dict[int, list[JsonObject]] = collections.defaultdict(list)
        for annotation in instances.list("annotations"):
            self.objects[annotation.number("image_id")].append(annotation)

    @property
    def categories(self) -> set[str]:
        """Names of all categories."""
        return set(self._categories.values()) - {NOT_A_CATEGORY}

    def count_unlisted(self) -> None:
        """Counts the objects of images that are not listed among the skipped."""
        unlisted = self.objects.keys() - {image.number("id") for image in self.listed}
        if unlisted:
            self.skipped["object: its image is not listed"] = sum(
                len(self.objects[image_id]) for image_id in unlisted
            )

    def annotated(self, image: JsonObject, keep: CocoFilter, seed: int) -> AnnotatedImage | None:
        """An image with its kept objects; None where it is left out.

        Args:
          image: of `listed`.
          keep: which objects and images are kept.
          seed: draws the relationships.
        """
        image_id = image.number("id")
        if not 0 <= image_id <= _LARGEST_ID:
            raise BadInput(f"{image.source}: id {image_id!r:.40} is not in [0, {_LARGEST_ID}]")
        width, height = image.number("width"), image.number("height")
        if not (1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE):
            raise BadInput(
                f"{image.source}: width and height must be in [1, {_MAX_SIDE}], got "
                f"{width!r:.40} and {height!r:.40}"
            )
        style = image.text("style", "")
        objects = []
        for annotation in self.objects.get(image_id, ()):
            kept = self._object(annotation, width, height, keep, style)
            if kept is not None:
                objects.append(kept)
        if not keep.keep_repeats:
            objects = self._without_repeats(objects)
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
            source=f"{self._prefix}{name}",
            width=width,
            height=height,
        )

    def _without_repeats(self, objects: list[AnnotatedObject]) -> list[AnnotatedObject]:
        kept = {}
        for item in objects:
            kept.setdefault((item.category, *stored_box(item.box)), item)
        if len(kept) < len(objects):
            self.skipped["object: annotated twice"] += len(objects) - len(kept)
        return list(kept.values())

    def _object(
        self, annotation: JsonObject, width: int, height: int, keep: CocoFilter, style: str
    ) -> AnnotatedObject | None:
        category_id = annotation.number("category_id")
        if category_id not in self._categories:
            raise BadInput(f"{annotation.source}: category_id {category_id} is not listed")
        category = self._categories[category_id]
        if category == NOT_A_CATEGORY:
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


def category_names(file: JsonObject) -> dict[int, str]:
    """Names of the categories that a file lists, by id."""
    return {item.number("id"): item.text("name").strip() for item in file.list("categories")}


def _box(annotation: JsonObject) -> tuple[float, float, float, float]:
    value = annotation.value.get("bbox")
    is_box = isinstance(value, list) and len(value) == 4
    if is_box and all(isinstance(edge, (int, float)) for edge in value):
        with contextlib.suppress(OverflowError):  # an integer of hundreds of digits
            edges = tuple(float(edge) for edge in value)
            if all(math.isfinite(edge) for edge in edges):
                return edges
    raise BadInput(f"{annotation.source}: 'bbox' must be [x, y, width, height], got {value!r:.60}")
