"""Reads Visual Genome 1.0 to 1.4, filtered as in sg2im and its successors.

Layout of a root folder:

    image_data.json, objects.json, relationships.json
    object_alias.txt, relationship_alias.txt    per line a name and its aliases, comma-separated
    vg_splits.json                              {"train": [image ids], "val": [], "test": []}
    images/VG_100K/, images/VG_100K_2/          as in the urls of image_data.json

All images may also be in one of these folders or in `images/` itself, and VG_100K beside the JSON
files. The files contain no licences: each photograph keeps its author's.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from rgan_tf import arguments
from rgan_tf.annotations.annotation import (
    AnnotatedDataset,
    AnnotatedImage,
    AnnotatedObject,
    annotated_size,
    box_in_image,
    centre_of,
    check_count,
    check_limit,
)
from rgan_tf.annotations.json_object import (
    JsonObject,
    StoredObject,
    TwoClaims,
    is_missing,
    two_claims,
)
from rgan_tf.annotations.left_out import BadImages, LeftOut, Unusable
from rgan_tf.annotations.stored_lists import ChangedFile
from rgan_tf.annotations.visual_genome_files import (
    SPLITS,
    canonical,
    entries_by_image,
    first_number,
    read_aliases,
    read_splits,
)
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.near_names import spelled_otherwise
from rgan_tf.progress import followed
from rgan_tf.storage.files import name_inside
from rgan_tf.vocabulary import RESERVED_OBJECTS, RESERVED_PREDICATES

_FOLDERS = ("VG_100K", "VG_100K_2", ".")  # of the images
_SIDES = (("w", "width"), ("h", "height"))  # the first release spells the words out

# Options that keep more images or objects, by the beginning of the reason for leaving them out.
_OPTIONS = {
    "image: smaller": "a smaller --min-image-size",
    "image: under": "smaller --min-objects or --min-relationships",
    "image: over": "larger --max-objects or --max-relationships",
    "object: rare": "a smaller --min-category-count",
    "object: too small": "a smaller --min-object-size",
    "relationship: rare": "a smaller --min-predicate-count",
}


@dataclasses.dataclass(frozen=True)
class GenomeFilter:
    """Which names, objects and images are kept; by default those of the published split.

    Attributes:
      min_image_size: shorter side of an image in px.
      min_category_count: training objects that a category must have.
      min_predicate_count: training relationships that a predicate must have.
      min_object_size: each side of an object's box in px.
      min_objects: kept objects per image, at least.
      max_objects: at most.
      min_relationships: kept relationships per image, at least.
      max_relationships: at most.

    Raises:
      BadInput: if a value is not a whole number, or out of range.
    """

    min_image_size: int = 200
    min_category_count: int = 2000
    min_predicate_count: int = 500
    min_object_size: int = 32
    min_objects: int = 3
    max_objects: int = 30
    min_relationships: int = 1
    max_relationships: int = 30

    def __post_init__(self):
        for field in dataclasses.fields(self):
            arguments.whole_number(getattr(self, field.name), f"--{field.name.replace('_', '-')}")
        for name in ("min_image_size", "min_category_count", "min_predicate_count"):
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise BadInput(f"--{option} must be at least 1, got {getattr(self, name)}")
        for name, least in (("objects", 1), ("relationships", 0)):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if not least <= low <= high:
                raise BadInput(
                    f"--min-{name} must be at least {least} and at most --max-{name}, got {low} "
                    f"and {high}"
                )


def read_visual_genome_dataset(
    root: str | Path,
    *,
    keep: GenomeFilter | None = None,
    limit: int | None = None,
    max_bad: float = 0.0,
) -> AnnotatedDataset:
    """Reads the three splits of a folder in Visual Genome's layout.

    docs/your_own_data.md shows it, and says what is read.

    Args:
      root: the folder.
      keep: which names, objects and images are kept, a
        `rgan_tf.annotations.visual_genome.GenomeFilter`; by default those of the published split.
      limit: at most this many images per split, the first by id.
      max_bad: share of images whose entry may be unusable.

    Raises:
      BadInput: if a file is missing, not JSON or not in Visual Genome's format, two entries claim
        one id, an image is in two splits, or the limit is below 1.
      CorruptData: if an image whose size is only in its file is damaged.

    Example:
      ```python
      import rgan_tf

      rgan_tf.prepare(rgan_tf.read_visual_genome("VG"), "DATA_OF_VG")
      ```
    """
    check_limit(limit)
    bad = BadImages(max_bad)
    genome = _Genome(Path(arguments.path_text(root, "root")), keep or GenomeFilter(), bad)
    splits = {split: tuple(genome.images(split)) for split in SPLITS}
    bad.check(sum(map(len, splits.values())) + len(bad.lines))
    for split, members in splits.items():
        if not members:
            message = f"{root}: no image is left for {split}"
            raise genome.left_out[split].nothing_left(message, _OPTIONS)
    return AnnotatedDataset(
        kind="visual_genome",
        splits={split: members[:limit] for split, members in splits.items()},
        categories=tuple(sorted(genome.categories)),
        predicates=tuple(sorted(genome.predicates)),
        skipped={split: dict(left_out.counts) for split, left_out in genome.left_out.items()},
        skipped_first={split: left_out.first for split, left_out in genome.left_out.items()},
        bad_images=tuple(bad.lines),
    )


class _Genome:
    """The annotation files; entries of objects and relationships are read when they are needed."""

    def __init__(self, root: Path, keep: GenomeFilter, bad: BadImages):
        if not root.is_dir():
            advice = spelled_otherwise(root) or "; --root holds the Visual Genome JSON files"
            raise BadInput(f"{root}: no such folder{advice}")
        self._root = root
        self._keep = keep
        self._bad = bad
        self._object_names = read_aliases(root / "object_alias.txt")
        self._predicate_names = read_aliases(root / "relationship_alias.txt")
        self._splits = read_splits(root / "vg_splits.json", bad)
        wanted = {image_id for ids in self._splits.values() for image_id in ids}
        images = entries_by_image(root / "image_data.json", wanted, bad)
        self._images = {image_id: entry.load() for image_id, entry in images.items()}
        self._dropped: set[int] = set()  # images whose entry in a file lacks its list
        self._objects = self._with_list(root / "objects.json", wanted, "objects")
        self._relationships = self._with_list(root / "relationships.json", wanted, "relationships")
        bad.check(len(wanted) + len(bad.lines))
        self.left_out = {split: LeftOut() for split in SPLITS}
        train = self._large_training_images()
        self.categories = self._count_categories(train)
        self.predicates = self._count_predicates(train)

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        """The kept images of a split, sorted by id."""
        left_out = self.left_out[split]
        for image_id in followed(sorted(self._splits[split]), f"images of {split}"):
            if image_id in self._dropped:
                continue
            image = self._images.get(image_id)
            try:
                if image is None:
                    raise Unusable("image: not in image_data.json")
                yield self._annotated(image_id, image, left_out)
            except (TwoClaims, ChangedFile):
                raise
            except (BadInput, CorruptData) as error:
                self._bad.add(error)
            except Unusable as unusable:
                left_out.add(unusable.reason, f"image {image_id}", unusable.detail)

    def _with_list(
        self, path: Path, wanted: set[int], key: str
    ) -> dict[int, StoredObject | JsonObject]:
        """The entries of a file; records images whose entry lacks its list as bad."""
        without: list[tuple[int, str]] = []

        def note_missing(image_id: int, entry: JsonObject) -> None:
            if not entry.has_list(key):
                without.append((image_id, entry.source))

        table = entries_by_image(path, wanted, self._bad, note_missing)
        for image_id, source in without:
            self._bad.add(f"{source}: has no list {key!r}")
            self._dropped.add(image_id)
        return table

    def _large_training_images(self) -> list[int]:
        """The images in which names are counted."""
        sizes = {}
        for image_id in self._splits["train"]:
            image = self._images.get(image_id)
            try:
                if image is not None and image_id not in self._dropped:
                    sizes[image_id] = self._size(image)
            except (BadInput, CorruptData):
                continue  # recorded when the image is read
        large = [image_id for image_id, size in sizes.items() if self._is_large(size)]
        if not large:
            raise BadInput(f"{self._root}: {self._why_none_is_large(list(sizes.values()))}")
        return large

    def _why_none_is_large(self, sizes: list[tuple[int, int]]) -> str:
        if sizes:
            width, height = max(sizes, key=min)
            return (
                f"no training image has {self._keep.min_image_size} px on its shorter side (the "
                f"largest: {width}x{height}); lower --min-image-size"
            )
        if any(image_id in self._images for image_id in self._splits["train"]):
            return "no training image has a known size: image_data.json and the files lack it"
        return "no image of train in vg_splits.json is in image_data.json"

    def _is_large(self, size: tuple[int, int]) -> bool:
        return min(size) >= self._keep.min_image_size

    def _size(self, image: JsonObject) -> tuple[int, int]:
        return annotated_size(image, lambda: self._root / self._file(image))

    def _file(self, image: JsonObject) -> str:
        """The file of an image, relative to the root.

        It is where the url says, or else the only file of that name; it may not exist.
        """
        url = image.text("url").replace("\\", "/")
        is_flat = (self._root / "VG_100K").is_dir() and not (self._root / "images").is_dir()
        folder = "." if is_flat else "images"
        try:
            named = name_inside(self._root / folder, "/".join(url.split("/")[-2:]))
        except BadInput as error:
            raise BadInput(f"{image.source}: url: {error}") from error
        base = self._root / folder
        if not (base / named).is_file():
            others = [(Path(other) / Path(named).name).as_posix() for other in _FOLDERS]
            matches = [other for other in others if (base / other).is_file()]
            if len(matches) > 1:
                raise BadInput(
                    f"{image.source}: {base / named} is missing, and both {matches[0]} and "
                    f"{matches[1]} have its name"
                )
            named = matches[0] if matches else named
        return (Path(folder) / named).as_posix()

    def _count_categories(self, image_ids: list[int]) -> set[str]:
        counts: collections.Counter[str] = collections.Counter()
        for image_id in followed(image_ids, "count categories"):
            for item in self._members(self._objects, image_id, "objects"):
                with contextlib.suppress(BadInput):
                    counts.update({canonical(name, self._object_names) for name in _names(item)})
        return _frequent(counts, self._keep.min_category_count, "category", self._root)

    def _count_predicates(self, image_ids: list[int]) -> set[str]:
        counts: collections.Counter[str] = collections.Counter()
        for image_id in followed(image_ids, "count predicates"):
            for item in self._members(self._relationships, image_id, "relationships"):
                counts[canonical(item.text_or_empty("predicate"), self._predicate_names)] += 1
        return _frequent(counts, self._keep.min_predicate_count, "predicate", self._root)

    def _members(
        self,
        table: dict[int, StoredObject | JsonObject],
        image_id: int,
        key: str,
        left_out: LeftOut | None = None,
    ) -> list[JsonObject]:
        """Objects or relationships of an image.

        Args:
          table: of the entries.
          image_id: of the image.
          key: of the list in its entry.
          left_out: collects members that are not objects; None if another call does.
        """

        def on_invalid(line: str) -> None:
            if left_out is not None:
                left_out.add(f"{key[:-1]}: no JSON object", line)

        return table[image_id].load().list(key, on_invalid) if image_id in table else []

    def _annotated(self, image_id: int, image: JsonObject, left_out: LeftOut) -> AnnotatedImage:
        keep = self._keep
        size = self._size(image)
        if not self._is_large(size):
            raise Unusable(f"image: smaller than {keep.min_image_size} px")
        objects: dict[int, AnnotatedObject] = {}
        first: dict[int, JsonObject] = {}
        for item in self._members(self._objects, image_id, "objects", left_out):
            try:
                object_id = _object_id(item)
                if first.setdefault(object_id, item) is not item:
                    if first[object_id].value != item.value:
                        raise two_claims("the object_id", object_id, first[object_id], item)
                    raise Unusable("object: listed twice")
                objects[object_id] = self._object(item, size)
            except Unusable as unusable:
                left_out.add(unusable.reason, item, unusable.detail)
        positions = {object_id: index for index, object_id in enumerate(objects)}
        triples = self._triples(image_id, positions, left_out)
        check_count(len(objects), keep.min_objects, keep.max_objects, "objects")
        check_count(len(triples), keep.min_relationships, keep.max_relationships, "relationships")
        source = self._file(image)
        return AnnotatedImage(
            image_id=image_id,
            path=(self._root / source).absolute(),  # read later, or by other machines
            objects=tuple(objects.values()),
            relationships=tuple(triples),
            licence="",
            url=image.text("url"),
            source=source,
            width=size[0],
            height=size[1],
        )

    def _object(self, item: JsonObject, size: tuple[int, int]) -> AnnotatedObject:
        try:
            names = [canonical(name, self._object_names) for name in _names(item)]
            x, y = item.real("x"), item.real("y")
            w, h = (item.real(key if key in item.value else long) for key, long in _SIDES)
        except BadInput as error:
            raise Unusable("object: its name or box cannot be read", str(error)) from error
        category = next((name for name in names if name in self.categories), None)
        if category is None:
            raise Unusable("object: rare name", ", ".join(names)[:80])
        least = self._keep.min_object_size
        if min(w, h) < least:
            raise Unusable("object: too small")
        box = box_in_image(x, y, w, h, size)
        inside = min((box[2] - box[0]) * size[1], (box[3] - box[1]) * size[0])
        if inside < least * (1 - 1e-6):  # fractions round
            raise Unusable("object: too small")
        return AnnotatedObject(category, box, centre_of(box))

    def _triples(
        self, image_id: int, positions: dict[int, int], left_out: LeftOut
    ) -> list[tuple[int, str, int]]:
        triples: dict[tuple[int, str, int], None] = {}
        for item in self._members(self._relationships, image_id, "relationships", left_out):
            try:
                triples[self._triple(item, positions)] = None
            except Unusable as unusable:
                left_out.add(unusable.reason, item, unusable.detail)
        return list(triples)

    def _triple(self, item: JsonObject, positions: dict[int, int]) -> tuple[int, str, int]:
        try:
            predicate = canonical(item.text("predicate"), self._predicate_names)
            ends = [_object_id(item.child(end)) for end in ("subject", "object")]
        except (BadInput, Unusable) as error:
            raise Unusable("relationship: cannot be read", str(error)) from error
        if predicate not in self.predicates:
            raise Unusable("relationship: rare predicate", predicate)
        if not all(end in positions for end in ends):
            raise Unusable("relationship: of an object that is left out")
        if ends[0] == ends[1]:
            raise Unusable("relationship: of an object with itself")
        return positions[ends[0]], predicate, positions[ends[1]]


def _names(item: JsonObject) -> tuple[str, ...]:
    has_list = not is_missing(item.value.get("names"))
    return item.texts("names") if has_list else (item.text("name"),)


def _object_id(item: JsonObject) -> int:
    object_id = first_number(item, "object_id", "id")
    if object_id is None:
        raise Unusable("object: has no object_id")
    return object_id


def _frequent(counts: collections.Counter[str], at_least: int, kind: str, root: Path) -> set[str]:
    for name in ("", *RESERVED_OBJECTS, *RESERVED_PREDICATES):
        counts.pop(name, None)
    kept = {name for name, count in counts.items() if count >= at_least}
    if not counts:
        raise BadInput(
            f"{root}: the training images have no {kind}; are objects.json and relationships.json "
            "of the same images as vg_splits.json?"
        )
    if not kept:
        most = max(counts.values())
        raise BadInput(
            f"{root}: no {kind} is used {at_least} times in training images (the most frequent: "
            f"{most}); lower --min-{kind}-count"
        )
    return kept
