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

from collections.abc import Iterator
from pathlib import Path

from rgan_tf.data.annotation import AnnotatedDataset, AnnotatedImage
from rgan_tf.data.coco_annotations import CocoAnnotations, CocoFilter, category_names
from rgan_tf.data.json_object import JsonObject
from rgan_tf.errors import BadInput
from rgan_tf.files import read_json
from rgan_tf.vocabulary import GEOMETRIC_PREDICATES

SPLITS = ("train", "val", "test")
VAL_IMAGES = 1024
TEST_IMAGES = 2048


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


class _Folder(CocoAnnotations):
    """The annotations of train2017 or val2017, with those of stuff."""

    def __init__(self, root: Path, part: str):
        if not root.is_dir():
            raise BadInput(f"{root}: no such folder; --root is the folder of annotations/, images/")
        self._root = root
        self._part = part
        super().__init__(
            root / "annotations" / f"instances_{part}.json",
            root / "images" / part,
            f"images/{part}/",
        )
        self._with_stuff = self._add_stuff()
        self.count_unlisted()

    def images(self, keep: CocoFilter, seed: int) -> list[AnnotatedImage]:
        """The kept images: of train sorted by id, of val in annotation order."""
        if keep.require_stuff and not self._with_stuff:
            raise BadInput(
                f"{self._root}/annotations: stuff_{self._part}.json and panoptic_{self._part}.json "
                "are missing or empty; add one or use --allow-missing-stuff"
            )
        kept = []
        for image in self.listed:
            if keep.require_stuff and image.number("id") not in self._with_stuff:
                self.skipped["image: no stuff annotations"] += 1
                continue
            annotated = self.annotated(image, keep, seed)
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
                self.objects[annotation.number("image_id")].append(annotation)
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
                        self.objects[annotation.number("image_id")].append(segment)
            return covered
        return set()

    def _merge_categories(self, other: JsonObject) -> None:
        for category_id, name in category_names(other).items():
            known = self._categories.setdefault(category_id, name)
            if known != name:
                raise BadInput(
                    f"{other.source}: category {category_id} is {name!r} here and {known!r} in "
                    f"instances_{self._part}.json"
                )
