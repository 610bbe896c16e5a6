"""One file of COCO annotations: images, their objects, licences."""

from __future__ import annotations

import collections
import dataclasses
import logging
import posixpath
from pathlib import Path

import numpy as np

from rgan_tf import arguments
from rgan_tf.annotations.annotation import (
    MAX_IMAGE_ID,
    AnnotatedImage,
    AnnotatedObject,
    annotated_size,
    box_in_image,
    centre_of,
    check_count,
    stored_box,
)
from rgan_tf.annotations.coco_tables import CategoryTable, LicenceTable
from rgan_tf.annotations.json_object import (
    Claims,
    JsonObject,
    StoredObject,
    finite_number,
    is_list,
    is_missing,
    whole_number,
)
from rgan_tf.annotations.left_out import BadImages, LeftOut, Unusable
from rgan_tf.annotations.masks import segmentation_centroid
from rgan_tf.annotations.relations import geometric_relations
from rgan_tf.annotations.stored_lists import ChangedFile, read_stored
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.near_names import spelled_otherwise
from rgan_tf.storage.files import name_inside

_LOG = logging.getLogger(__name__)
_BEYOND = 0.05  # of a side of the image: more than rounding
_CORNERS = 0.25  # of all boxes of a file; this many do not reach out of their images by chance
_COCO_OTHER = (183, "other")  # covers every thing in COCO's stuff files


@dataclasses.dataclass(frozen=True)
class CocoFilter:
    """Which objects and images are kept; by default those of the published splits.

    Attributes:
      min_box_share: share of the image that an object's box must exceed.
      min_objects: kept objects per image, at least.
      max_objects: at most.
      require_stuff: leave out images without stuff annotations.
      keep_repeats: keep an object that repeats category and box of an earlier one.

    Raises:
      BadInput: if a value is not a number, or out of range.
    """

    min_box_share: float = 0.02
    min_objects: int = 3
    max_objects: int = 8
    require_stuff: bool = True
    keep_repeats: bool = True

    def __post_init__(self):
        if not 0 <= arguments.real_number(self.min_box_share, "--min-box-share") < 1:
            raise BadInput(f"--min-box-share must be a share in [0, 1), got {self.min_box_share}")
        for name in ("min_objects", "max_objects"):
            arguments.whole_number(getattr(self, name), f"--{name.replace('_', '-')}")
        if not 1 <= self.min_objects <= self.max_objects:
            raise BadInput(
                "--min-objects must be at least 1 and at most --max-objects, got "
                f"{self.min_objects} and {self.max_objects}"
            )


class CocoAnnotations:
    """A file in the format of COCO's instances_*.json, read once.

    Args:
      path: the file.
      image_folder: of its images.
      bad: collects unusable images.
      prefix: put before their names in `AnnotatedImage.source`.

    Attributes:
      listed: the images of the file by id, in file order.
      objects: annotations by image id.
      left_out: images and objects.

    Raises:
      BadInput: if a file or folder is missing or not in COCO's format, or two entries claim one id
        or name.
    """

    def __init__(self, path: Path, image_folder: Path, bad: BadImages, prefix: str = ""):
        self.left_out = LeftOut()
        self._bad = bad
        self._image_folder = image_folder
        self._prefix = prefix
        instances = read_coco_file(path)
        if not image_folder.is_dir():
            advice = spelled_otherwise(image_folder) or "; it must hold the images"
            raise BadInput(f"{image_folder}: no such folder{advice}")
        self._categories = CategoryTable()
        self._categories.add(instances)
        self.listed = self._list_images(instances.list("images", on_invalid=bad.add))
        self._licences = LicenceTable(instances, self.listed.values())
        # Outlines and masks of a whole COCO would fill the memory: they stay in the file.
        self._objects: dict[int, list[JsonObject | StoredObject]] = collections.defaultdict(list)
        self._used: set[int] = set()  # categories
        self._path = path
        self._boxes = 0
        self._beyond = 0  # boxes that reach out of their images to the right or below
        self._first_beyond = ""
        self.add_objects(instances)

    @property
    def categories(self) -> set[str]:
        """Names of all categories that a vocabulary can hold, whether used or not."""
        return {
            name
            for category_id, name in self._categories.entries
            if not self._is_coco_other(category_id)
        }

    def add_objects(self, file: JsonObject) -> set[int]:
        """Adds the annotations of a file; returns the ids of their images."""
        ids = Claims("the annotation id")
        covered = set()
        for kept, annotation in file.each("annotations", on_invalid=self._add_invalid):
            number = whole_number(annotation.value.get("id"))
            if number is not None:
                ids.add(number, kept)
            image_id = self.image_of(annotation)
            if image_id is not None:
                covered.add(image_id)
                self.add_object(image_id, kept, annotation)
        return covered

    def add_object(
        self, image_id: int, kept: JsonObject | StoredObject, annotation: JsonObject
    ) -> None:
        """Adds an object to an image.

        Args:
          image_id: of the image.
          kept: what to keep of the annotation until the image is read.
          annotation: of the object.
        """
        self._objects[image_id].append(kept)
        category_id = whole_number(annotation.value.get("category_id"))
        if category_id is not None:
            self._used.add(category_id)

    def image_of(self, annotation: JsonObject) -> int | None:
        """The id of an annotation's image; None if it has none."""
        image_id = whole_number(annotation.value.get("image_id"))
        if image_id is None:
            detail = f"image_id {annotation.value.get('image_id')!r:.40}"
            self.left_out.add("object: its image is not given", annotation, detail)
        return image_id

    def check(self) -> None:
        """Checks the categories; call it after all objects are added and before reading them.

        Raises:
          BadInput: if the category of an object is ambiguous.
        """
        for image_id, own in self._objects.items():
            if image_id not in self.listed:
                for annotation in own:
                    self.left_out.add("object: its image is not listed", annotation)
        self._categories.check(self._used)

    def annotated(self, image_id: int, keep: CocoFilter, seed: int) -> AnnotatedImage | None:
        """An image with its kept objects; None if it is left out or noted as bad.

        Args:
          image_id: a key of `listed`.
          keep: which objects and images are kept.
          seed: of the relationships.

        Raises:
          ChangedFile: if the annotations are changed meanwhile.
        """
        image = self.listed[image_id]
        try:
            return self._annotated(image_id, image, keep, seed)
        except ChangedFile:
            raise
        except (BadInput, CorruptData) as error:
            self._bad.add(error)
        except Unusable as unusable:
            self.left_out.add(unusable.reason, image, image.text_or_empty("file_name"))
        return None

    def warn_of_corners(self) -> None:
        """Says so if boxes look like two corners; call it after all images are read."""
        if self._beyond > _CORNERS * self._boxes:
            _LOG.warning(
                "%s: %d of %d boxes reach out of their images and are cut at the edge, first %s; a "
                "bbox is [x, y, width, height] in px: if yours are two corners [x0, y0, x1, y1], "
                "convert them",
                *(self._path, self._beyond, self._boxes, self._first_beyond),
            )

    def _annotated(
        self, image_id: int, image: JsonObject, keep: CocoFilter, seed: int
    ) -> AnnotatedImage:
        annotations = self._objects.get(image_id, ())
        try:
            size = annotated_size(image, lambda: self._image_folder / self._name(image))
        except (BadInput, CorruptData) as error:
            if len(annotations) < keep.min_objects:  # the image is not needed anyway
                raise Unusable(f"image: under {keep.min_objects} objects") from error
            raise
        style = image.text_or_empty("style")
        objects = []
        for kept in annotations:
            annotation = kept.load()
            try:
                objects.append(self._object(annotation, size, keep, style))
            except Unusable as unusable:
                self.left_out.add(unusable.reason, annotation, unusable.detail)
        if not keep.keep_repeats:
            objects = self._without_repeats(objects, image)
        check_count(len(objects), keep.min_objects, keep.max_objects, "objects")
        rng = np.random.default_rng([seed, image_id])
        relationships = geometric_relations(
            [item.box for item in objects], [item.centre for item in objects], rng
        )
        name = self._name(image)
        return AnnotatedImage(
            image_id=image_id,
            path=(self._image_folder / name).absolute(),  # read later, or by other machines
            objects=tuple(objects),
            relationships=tuple(relationships),
            licence=self._licences.name_of(image),
            url=image.text_or_empty("flickr_url") or image.text_or_empty("coco_url"),
            source=f"{self._prefix}{name}",
            width=size[0],
            height=size[1],
        )

    def _name(self, image: JsonObject) -> str:
        try:
            return name_inside(self._image_folder, image.text("file_name"))
        except BadInput as error:
            where = f"{image.source}: "
            raise BadInput(where + str(error).removeprefix(where)) from error

    def _list_images(self, entries: list[JsonObject]) -> dict[int, JsonObject]:
        listed, ids, names = {}, Claims("the image id"), Claims("the file name")
        for entry in entries:
            try:
                image_id = entry.number("id")
                if not 0 <= image_id <= MAX_IMAGE_ID:
                    raise BadInput(
                        f"{entry.source}: id {image_id!r:.40} is not in [0, {MAX_IMAGE_ID}]"
                    )
            except BadInput as error:
                self._bad.add(error)
                continue
            ids.add(image_id, entry)
            listed[image_id] = entry
            if name := entry.text_or_empty("file_name"):
                names.add(posixpath.normpath(name.replace("\\", "/")), entry)
        return listed

    def _add_invalid(self, line: str) -> None:
        self.left_out.add("object: not an annotation", line)

    def _without_repeats(
        self, objects: list[AnnotatedObject], image: JsonObject
    ) -> list[AnnotatedObject]:
        kept: dict[tuple, AnnotatedObject] = {}
        for item in objects:
            if kept.setdefault((item.category, *stored_box(item.box)), item) is not item:
                self.left_out.add("object: annotated twice", image, item.category)
        return list(kept.values())

    def _object(
        self, annotation: JsonObject, size: tuple[int, int], keep: CocoFilter, style: str
    ) -> AnnotatedObject:
        category_id = whole_number(annotation.value.get("category_id"))
        if category_id is None:
            detail = f"category_id {annotation.value.get('category_id')!r:.40}"
            raise Unusable("object: its category is not listed", detail)
        if self._is_coco_other(category_id):
            raise Unusable("object: category other")
        category = self._categories.name(category_id)
        try:
            is_crowd = annotation.flag("iscrowd")
        except BadInput as error:
            raise Unusable("object: iscrowd is neither 0 nor 1") from error
        if is_crowd:
            raise Unusable("object: crowd")
        x, y, box_width, box_height = _box(annotation)
        if box_width <= 0 or box_height <= 0:
            raise Unusable("object: its box has no area")
        least = keep.min_box_share * size[0] * size[1]
        if box_width * box_height <= least:
            raise Unusable("object: too small")
        self._boxes += 1
        if x + box_width > (1 + _BEYOND) * size[0] or y + box_height > (1 + _BEYOND) * size[1]:
            self._beyond += 1
            self._first_beyond = self._first_beyond or str(annotation)
        box = box_in_image(x, y, box_width, box_height, size)
        if (box[2] - box[0]) * (box[3] - box[1]) * size[0] * size[1] <= least * (1 - 1e-6):
            raise Unusable("object: too small")  # what is inside
        centre = None
        segmentation = annotation.value.get("segmentation")
        if not is_missing(segmentation):
            try:
                centre = segmentation_centroid(segmentation, box, *size)
            except (TypeError, ValueError, OverflowError) as error:
                raise Unusable("object: its segmentation cannot be read", str(error)) from error
        return AnnotatedObject(category, box, centre or centre_of(box), style)

    def _is_coco_other(self, category_id: int) -> bool:
        entry = self._categories.entry(category_id)
        return (
            entry is not None
            and (category_id, entry.text_or_empty("name").strip()) == _COCO_OTHER
            and entry.path.name.startswith(("stuff_", "panoptic_"))
        )


def read_coco_file(path: Path) -> JsonObject:
    """Reads a file in COCO's format.

    Raises:
      BadInput: if it is missing, not JSON, or in another program's format.
    """
    value = read_stored(path)
    if is_list(value) or (isinstance(value, dict) and "images" not in value):
        keys = set(value) if isinstance(value, dict) else set()
        if "shapes" in keys:
            kind = "a file of LabelMe, which writes one per image"
        elif keys & {"_via_img_metadata", "_via_settings"}:
            kind = "a project of VIA; export its annotations in COCO's format"
        elif is_list(value) and value and "annotations" in str(value[0])[:2000]:
            kind = "Label Studio's own format; export in COCO's"
        else:
            kind = ""
        if kind:
            raise BadInput(f"{path}: is {kind}; docs/your_own_data.md lists the readable formats")
    return JsonObject(value, path)


def _box(annotation: JsonObject) -> tuple[float, ...]:
    value = annotation.value.get("bbox")
    edges = tuple(map(finite_number, value)) if isinstance(value, list) else ()
    if len(edges) != 4 or None in edges:
        raise Unusable(
            "object: its box cannot be read",
            f"'bbox' must be [x, y, width, height], got {value!r:.60}",
        )
    return edges
